"""``facade sandbox new``: create an appointment."""

import click

from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.sandbox_client import call, url_option
from facade.cli.common.terminal import show


@click.command(cls=TakesId)
@click.argument("source")
@click.option("--like", metavar="ID", help="The appointment to copy. By default an ordinary one.")
@click.option("--id", "id", metavar="ID", help="The id of the new appointment. By default an unused one.")
@url_option
def new(source: str, like: str | None, id: str | None, url: str) -> None:  # noqa: A002 - click passes by name
    """Create an appointment in SOURCE, of which no facade has a record yet, and print its id."""
    body = {name: value for name, value in (("like", like), ("id", id)) if value}
    show(call(url, "POST", "/{source}/appointments", body, source=source)["id"])
