"""``facade sandbox move``: move an appointment in time."""

import math

import click

from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.sandbox_client import call, url_option
from facade.cli.common.terminal import show_json


@click.command(cls=TakesId)
@click.argument("source")
@click.argument("id")
@click.option("--hours", type=float, required=True, help="How much later. A negative number moves it earlier.")
@url_option
def move(source: str, id: str, hours: float, url: str) -> None:  # noqa: A002 - click passes by name
    """Move every time of the appointment ID of SOURCE: inside or outside 24 hours, or into the past.

    The facade uses the real time, so move the appointment to test what depends on how soon it starts.
    """
    if not math.isfinite(hours):
        raise click.UsageError("--hours must be a number")
    native = call(url, "POST", "/{source}/appointments/{id}/move", {"seconds": hours * 3600}, source=source, id=id)
    show_json(native)
