"""A person's verdict on what reading could not settle; needs the ledger only, neither the source nor its plugin."""

import json
from typing import Any, Literal

from facade.cancellation import stored_request
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.results import CancelResult
from facade.cancellation.states import DOUBTFUL, Event, State
from facade.config import SOURCE_IDENTIFIER_SYSTEM
from facade.errors import Cause, NotExecuted
from facade.fhir import check, reasons
from facade.fhir.appointment import Identity, complete, in_order
from facade.fhir.operation_outcome import WHY, of_source_error
from facade.ledger.store import AuditRecord
from facade.ledger.tables import Row
from facade.plugin.contract import Appointment, default_identifier_system

_VERSION = 1
_JUDGED = (Event.RESOLVED_CANCELLED, Event.RESOLVED_NOT_APPLIED)
# What the verdict decides; everything else stays as the owner of the attempt answered it.
_DECIDED = {"id", "identifier", "status", "cancelationReason", "contained", "supportingInformation", "text", "_status"}


def judge(
    repository: CancellationRepository,
    row: Row,
    verdict: Literal["cancelled", "not-applied"] | str,
    because: str,
    who: str,
) -> bool:
    """Record the verdict, journalled with its reason. False where the row is not in doubt, or no longer.

    ``cancelled`` records an answer like evidence would, made of what the row holds; ``not-applied`` lets the next
    request try again.
    """
    if row.state not in DOUBTFUL:
        return False
    audit = AuditRecord(who=f"operator {who}", action="resolve", outcome=verdict)
    if verdict == "cancelled":
        given = CancelResult(_of_row(row, "cancelled"), "cancelled", "", _VERSION)
        return repository.judged(row, Event.RESOLVED_CANCELLED, given, audit, because)
    error = NotExecuted(Cause.UNPROVEN)
    why = of_source_error(error, known=False)
    given = CancelResult(_of_row(row, "proposed", why), "not-executed", error.cause.word)
    return repository.judged(row, Event.RESOLVED_NOT_APPLIED, given, audit, because)


def undo(repository: CancellationRepository, row: Row, because: str, who: str, *, readable: bool) -> bool:
    """Take a verdict back, journalled with its reason; a person must look again.

    False once it had consequences: a client was told "cancelled", or a new request has begun. ``readable`` says whether
    the source can be read.
    """
    audit = AuditRecord(who=f"operator {who}", action="resolve", outcome="undone")
    return repository.undone(row, audit, because, readable=readable)


def why_not_undone(repository: CancellationRepository, row: Row) -> str:
    """Why ``undo`` refuses this row, for the person who asked for it."""
    events = [line["event"] for line in repository.ledger.timeline(row.key)]
    last = max((place for place, event in enumerate(events) if event in _JUDGED), default=None)
    since = events[last + 1 :] if last is not None else []
    if last is None or Event.UNDO in since:
        return f"it is {row.state}, and no verdict of a person stands to be undone"
    if Event.CLAIM in since:
        return f"a new request has begun since the verdict; it is {row.state}"
    if Event.PROOF in since:
        return "the source system itself has shown since the verdict that it is cancelled"
    if row.state == State.CANCELLED:
        return 'a client was told "cancelled" since the verdict, and cancelled never becomes anything else'
    return f"it is {row.state} now"


def _of_row(row: Row, status: str, why: dict[str, Any] | None = None) -> Appointment:
    """The answer that the row itself makes possible: what was answered last, with the verdict's status and reason."""
    request = stored_request.from_json(row.appointment_id, row.cancel_request)
    stated = stored_request.stated(row.cancel_request)
    reason = stated.get("cancelationReason") or reasons.cancelation_reason(
        request.codings, request.text, sent=request.native_reason, recorded=None, mapping=None
    )
    answered = json.loads(row.response) if row.response is not None else {}
    facts: dict[str, Any] = {
        "identity": _identity(row, answered.get("identifier") or stated.get("identifier") or []),
        "appointment_id": row.appointment_id,
        "status": status,
        "version": _VERSION if status == "cancelled" else row.version,
        "why": why,
    }
    bare, _ = complete(None, **facts, reason=reason)
    kept = {name: value for name, value in answered.items() if name not in _DECIDED}
    appointment = {**bare, **kept, **{name: bare[name] for name in ("resourceType", "status")}}
    appointment["meta"] = {**kept.get("meta", {}), **bare["meta"]}
    for name in ("id", "identifier"):
        appointment[name] = answered.get(name, bare[name])
    for name, ours in (("contained", _is_why), ("supportingInformation", _is_about_why)):
        others = [one for one in answered.get(name, []) if not ours(one)]
        if members := [*others, *bare.get(name, [])]:
            appointment[name] = members
    if check.problems(appointment):
        return {**bare, "meta": appointment["meta"]}
    return in_order(appointment)


def _is_why(resource: Any) -> bool:
    return resource.get("resourceType") == "OperationOutcome" and str(resource.get("id", "")).startswith(WHY)


def _is_about_why(reference: Any) -> bool:
    return str(reference.get("reference", "")).startswith(f"#{WHY}")


def _identity(row: Row, identifiers: list[Any]) -> Identity:
    """Which systems the source's identifiers have: those it was answered with, or the default ones."""
    systems = [identifier.get("system") for identifier in identifiers[:2]]
    ours, native = systems if len(systems) == 2 and all(systems) else (None, None)
    return Identity(
        source=row.source,
        source_system=ours or SOURCE_IDENTIFIER_SYSTEM,
        native_system=lambda kind: native or default_identifier_system(row.source, kind),
    )
