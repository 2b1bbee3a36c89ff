"""``facade sandbox log``: show the requests that a simulator received."""

import click

from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.sandbox_client import about, call, url_option
from facade.cli.common.terminal import show, show_json


@click.command(cls=TakesId)
@click.argument("source")
@click.argument("id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything, bodies included.")
@url_option
def log(source: str, id: str | None, as_json: bool, url: str) -> None:  # noqa: A002 - click passes by name
    """Show every request that SOURCE received, about the appointment ID or about all.

    This is the simulator's log, not the facade's.
    """
    found = call(url, "GET", "/{source}/log" + about(id), source=source, id=id)
    if as_json:
        show_json(found)
        return
    for entry in found["entries"]:
        facts = (
            "changed its state" if entry["changed"] else "",
            f"fault {entry['fault']}" if entry["fault"] else "",
            "" if entry["operation"] == "late-commit" else f"response {entry['status'] or 'none'}",
        )
        what = f"{entry['operation'] or 'other':<12}{entry['appointment'] or entry['path'] or ''}"
        show(f"{entry['number']:>5}  {entry['time'][11:23]}  {what}: {', '.join(filter(None, facts))}")
    show(f"native cancels: {found['cancels']}, reads: {found['reads']}")
