"""``facade sandbox disarm``: disarm faults."""

import click

from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.sandbox_client import about, call, url_option
from facade.cli.common.terminal import show


@click.command(cls=TakesId)
@click.argument("source")
@click.argument("id", required=False)
@url_option
def disarm(source: str, id: str | None, url: str) -> None:  # noqa: A002 - click passes by name
    """Disarm the faults of the appointment ID of SOURCE, or of all its appointments."""
    left = call(url, "DELETE", "/{source}/faults" + about(id), kind=list, source=source, id=id)
    show(f"{source}: {len(left)} faults armed")
