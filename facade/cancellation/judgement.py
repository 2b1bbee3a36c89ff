"""A person's verdict on what reading could not settle."""

from typing import Literal

from facade.cancellation import answer, wish
from facade.cancellation.records import Records
from facade.cancellation.states import DOUBTFUL, Event
from facade.contract import Can
from facade.errors import Cause, NotDone
from facade.ledger.store import Audit
from facade.ledger.tables import Row
from facade.source import Source


def judge(
    records: Records,
    source: Source,
    row: Row,
    verdict: Literal["cancelled", "not-applied"] | str,
    because: str,
    who: str,
) -> bool:
    """Record the verdict, journalled with its reason. False where the row is not in doubt, or no longer.

    ``cancelled`` records an answer like evidence would; ``not-applied`` lets the next request try again.
    """
    if row.state not in DOUBTFUL:
        return False
    audit = Audit(who=f"operator {who}", action="resolve", outcome=verdict)
    if verdict == "cancelled":
        request = wish.from_json(row.appointment_id, row.wish)
        given = answer.cancelled(source, request, {"id": row.appointment_id}, by_us=True, version=1)
        return records.judged(row, Event.JUDGED_CANCELLED, given, audit, because)
    given = answer.proposed(source, row.appointment_id, NotDone(Cause.UNPROVEN), None, explain=True)
    return records.judged(row, Event.JUDGED_NOT_APPLIED, given, audit, because)


def undo(records: Records, source: Source, row: Row, because: str, who: str) -> bool:
    """Take a verdict back, journalled with its reason; a person must look again.

    False once it had consequences: a client was told "cancelled", or a new request has begun.
    """
    audit = Audit(who=f"operator {who}", action="resolve", outcome="undone")
    return records.undone(row, audit, because, readable=source.system.capabilities.read is Can.YES)
