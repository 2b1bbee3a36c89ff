"""``facade sandbox time``: show or set the simulators' clock."""

from typing import Any

import click

from facade.cli.common.sandbox_client import call, url_option
from facade.cli.common.terminal import show


@click.command()
@click.option("--now", metavar="INSTANT", help="Set the clock, for example to 2026-12-01T09:00:00Z.")
@click.option("--advance", type=float, metavar="SECONDS", help="Move the clock forward, or back by a negative number.")
@click.option("--real", is_flag=True, help="Return to the real time.")
@url_option
def time(now: str | None, advance: float | None, real: bool, url: str) -> None:
    """Show or set the sandbox's clock; the seeded appointments' times follow it at the next reset."""
    bodies: list[dict[str, Any]] = [{"now": now}] if now is not None else []
    bodies += [{"advance": advance}] if advance is not None else []
    bodies += [{}] if real else []
    if len(bodies) > 1:
        raise click.UsageError("give one of --now, --advance and --real")
    show(call(url, *(("PUT", "/time", bodies[0]) if bodies else ("GET", "/time")))["now"])
