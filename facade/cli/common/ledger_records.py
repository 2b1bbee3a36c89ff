"""How the ledger's commands find a record, and how they print its name and its times."""

import json
from datetime import UTC, datetime

import click

from facade.cancellation.known_sources import command
from facade.ledger.maintenance import Maintenance
from facade.ledger.store import Ledger
from facade.ledger.tables import Row


def find_row(ledger: Ledger, source: str, appointment_id: str) -> Row:
    """Find a record by its key, or by the official identifier or the id in its recorded response.

    No plugin is loaded for the canonical form of the id. Raises ClickException if no record matches, or several do.
    """
    row = ledger.find((source, appointment_id))
    if row is not None:
        return row
    rows = [
        row
        for row in Maintenance(ledger).find_by_response_text(source, appointment_id)
        if _is_shown_as(row, appointment_id)
    ]
    if len(rows) == 1:
        return rows[0]
    if rows:
        keys = ", ".join(row.appointment_id for row in rows)
        raise click.ClickException(f"{source} {appointment_id} may be any of the ledger's {keys}; name one of them")
    raise click.ClickException(_why_not_found(ledger, source, appointment_id))


def name_of(row: Row) -> str:
    """Return the source and the appointment of a record, as the commands print them."""
    return f"{row.source} {row.appointment_id}"


def format_time(seconds: float) -> str:
    """Format a Unix time in UTC, with milliseconds."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _is_shown_as(row: Row, appointment_id: str) -> bool:
    response = json.loads(row.response or "{}")
    # The facade's own identifiers are the first ones in a response, and one of them is official.
    official = [each.get("value") for each in response.get("identifier", []) if each.get("use") == "official"][:1]
    return appointment_id in (*official, response.get("id"))


def _why_not_found(ledger: Ledger, source: str, appointment_id: str) -> str:
    known = Maintenance(ledger).sources().get(source)
    if known is not None and known.renamed_to is not None:
        new = known.renamed_to
        show = command(ledger.option, "show", new, appointment_id)
        return f"the ledger's records of {source} were moved to the name {new}; see {show}"
    rows = command(ledger.option, "list", options=("--source", source))
    if known is not None and known.id_form != 0:
        return (
            f"the ledger has no record of {source} {appointment_id} under this spelling: it stores each id in the "
            f"canonical form of its source, and as the source spells it in a response; search the list: {rows}"
        )
    return (
        f"the ledger has no record of {source} {appointment_id}: it was not cancelled through this facade, or its "
        f"record was purged; see {rows}"
    )
