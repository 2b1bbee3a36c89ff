"""``facade sandbox arm``: arm a fault."""

import click

from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.sandbox_client import call, url_option
from facade.cli.common.terminal import show
from facade.config_messages import nearest
from facade.testing.simulator.faults import FAULTS


@click.command(cls=TakesId)
@click.argument("source")
@click.argument("id")
@click.argument("fault")
@click.option("--times", type=click.IntRange(1), help="For how many requests. Without it, for all.")
@url_option
def arm(source: str, id: str, fault: str, times: int | None, url: str) -> None:  # noqa: A002 - click passes by name
    """Arm FAULT for requests about the appointment ID of SOURCE; `faults` lists all faults."""
    if fault not in FAULTS:
        raise click.UsageError(f"there is no fault {fault}; {nearest(fault, FAULTS)}")
    body = {"appointment": id, "fault": fault, **({"times": times} if times else {})}
    armed = call(url, "POST", "/{source}/faults", body, source=source)
    often = "always" if times is None else "once" if times == 1 else f"{times} times"
    show(f"{source} {id}: {fault}, {often}. {armed['description']}")
