"""How a command finds the record that a person names: by its key, or as clients see the appointment."""

import json

import click

from facade.cancellation.known_sources import command
from facade.ledger.maintenance import Maintenance
from facade.ledger.store import Ledger
from facade.ledger.tables import Row


def find_row(found: Ledger, source: str, appointment_id: str) -> Row:
    """The record of this key, or whose recorded answer has this official identifier or this id.

    No plugin is asked for the canonical form of the id. Raises ClickException where there is none, or several.
    """
    row = found.find((source, appointment_id))
    if row is not None:
        return row
    rows = [row for row in Maintenance(found).answered(source, appointment_id) if _is_seen_as(row, appointment_id)]
    if len(rows) == 1:
        return rows[0]
    if rows:
        keys = ", ".join(row.appointment_id for row in rows)
        raise click.ClickException(f"{source} {appointment_id} may be any of the ledger's {keys}; name one of them")
    raise click.ClickException(_why_not(found, source, appointment_id))


def _is_seen_as(row: Row, appointment_id: str) -> bool:
    answer = json.loads(row.response or "{}")
    # The facade's own identifiers are the first ones of an answer, and one of them is official.
    official = [each.get("value") for each in answer.get("identifier", []) if each.get("use") == "official"][:1]
    return appointment_id in (*official, answer.get("id"))


def _why_not(found: Ledger, source: str, appointment_id: str) -> str:
    known = Maintenance(found).sources().get(source)
    if known is not None and known.renamed_to is not None:
        new = known.renamed_to
        show = command(found.option, "show", new, appointment_id)
        return f"the ledger's records of {source} were moved to the name {new}; see {show}"
    rows = command(found.option, "list", options=("--source", source))
    if known is not None and known.id_form != 0:
        return (
            f"the ledger has no record of {source} {appointment_id} under this spelling: it has each id in the "
            f"canonical form of its source, and as the source spells it in an answer; look for it with {rows}"
        )
    return (
        f"the ledger has no record of {source} {appointment_id}: it was not cancelled through this facade, or its "
        f"record was purged; see {rows}"
    )
