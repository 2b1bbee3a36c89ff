"""What the use case gives back, and how one is made from what the source said."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from facade.cancellation import stored_request
from facade.cancellation.states import State
from facade.errors import Cause, OutcomeUnknown, SourceError
from facade.fhir import reasons
from facade.fhir.appointment import ELEMENTS, complete, identifiers, in_order
from facade.fhir.check import may_have_a_reason
from facade.fhir.operation_outcome import of_source_error
from facade.ledger.tables import Row
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest

log = structlog.get_logger()

STATE_EXTENSION = "urn:fhir-facade:extension:cancellation-state"


@dataclass(frozen=True)
class CancelResult:
    """An Appointment to send, its version, and for the log: the outcome's word, its cause's, and a detail."""

    appointment: Appointment = field(repr=False)
    outcome: str
    cause: str = ""
    version: int = 0
    detail: str = ""


def cancelled(
    source: ConfiguredSource, request: CancelRequest, evidence: Appointment, *, by_us: bool, version: int
) -> CancelResult:
    """The answer to a cancel that the source's own ``evidence`` proves.

    The requester's reason stands in it only where this request's native call was made (``by_us``).
    """
    reason = reasons.cancelation_reason(
        request.codings,
        request.text,
        sent=request.native_reason if by_us else None,
        recorded=evidence.get("cancelationReason"),
        mapping=source.mapping,
    )
    appointment = _complete(
        source, request.appointment_id, evidence, status="cancelled", reason=reason, version=version
    )
    return CancelResult(appointment, "cancelled", "" if by_us else "already", version)


def stated(source: ConfiguredSource, request: CancelRequest) -> Appointment:
    """The identifiers and the reason of a cancelled answer, as far as they do not depend on what the source says."""
    reason = reasons.cancelation_reason(
        request.codings, request.text, sent=request.native_reason, recorded=None, mapping=source.mapping
    )
    found: Appointment = {"identifier": identifiers([], source.identity, request.appointment_id)}
    return {**found, **({"cancelationReason": reason} if reason else {})}


def recorded(row: Row, cause: str = "repeat") -> CancelResult:
    """The answer that the ledger has, byte for byte as it was given first. ``row.response`` is there."""
    return CancelResult(json.loads(row.response or "null"), row.outcome or "", cause, row.version)


def proposed(
    source: ConfiguredSource,
    appointment_id: str,
    error: SourceError,
    known: Appointment | None,
    *,
    explain: bool,
    text: str = "",
) -> CancelResult:
    """The answer to a cancel that nothing proves; ``known`` is what was read of the appointment."""
    absent = "unknown" if known is not None else error.cause.absent_reason
    why = of_source_error(error, text, known=known is not None, readable=source.readable) if explain else None
    appointment = _complete(source, appointment_id, known, status="proposed", absent=absent, why=why)
    return CancelResult(
        appointment,
        "in-doubt" if isinstance(error, OutcomeUnknown) else "not-executed",
        error.cause.word,
        detail=error.detail,
    )


def as_read(source: ConfiguredSource, appointment_id: str, native: Appointment, row: Row | None) -> CancelResult:
    """The answer to a read: the native state now, and the recorded cancellation state as an extension.

    Where the source tells the reason that this facade sent, the reason is the recorded one, as it was answered.
    Raises OutcomeUnknown for a native status that has no FHIR word.
    """
    status = native.get("status")
    if not isinstance(status, str):
        raise OutcomeUnknown(Cause.UNREADABLE, "the native status has no FHIR status configured")
    reason = None
    if may_have_a_reason(status):
        ours = row is not None and status == row.state == State.CANCELLED and was_ours(row)
        request = stored_request.from_json(appointment_id, row.cancel_request if row is not None and ours else {})
        reason = reasons.cancelation_reason(
            request.codings,
            request.text,
            sent=request.native_reason,
            recorded=native.get("cancelationReason"),
            mapping=source.mapping,
        )
    version = row.version if row is not None else 0
    if row is not None:
        native = {**native, "extension": [*native.get("extension", []), cancellation_state(row.state, row.changed_at)]}
    appointment = _complete(source, appointment_id, native, status=status, reason=reason, version=version)
    return CancelResult(appointment, "read", "", version)


def as_recorded(source: ConfiguredSource, row: Row) -> CancelResult:
    """The answer to a read of a source that cannot be read: what was answered last, and the recorded state."""
    known = json.loads(row.response) if row.response is not None else None
    if known is None:
        known = _complete(source, row.appointment_id, None, status="proposed", version=row.version)
    state = cancellation_state(row.state, row.changed_at)
    appointment = {**known, "extension": [*known.get("extension", []), state]}
    return CancelResult(in_order(appointment), "read", "", row.version)


def was_ours(row: Row) -> bool:
    """Whether the recorded cancellation may be this facade's doing."""
    return row.sending_at is not None and row.cause != "already"


def cancellation_state(state: str, changed_at: float) -> dict[str, Any]:
    """The recorded state as an extension: ``state``, and ``since``, an instant; ``changed_at`` is in Unix seconds."""
    since = datetime.fromtimestamp(changed_at, UTC).isoformat(timespec="milliseconds")
    parts = [{"url": "state", "valueCode": state}, {"url": "since", "valueInstant": since}]
    return {"url": STATE_EXTENSION, "extension": parts}


def _complete(source: ConfiguredSource, appointment_id: str, native: Appointment | None, **facts: Any) -> Appointment:
    identity = source.identity
    if native is not None:
        appointment_id = native.get("id", appointment_id)  # in the source's own spelling
    try:
        appointment, rejected = complete(native, identity=identity, appointment_id=appointment_id, **facts)
    except Exception as error:  # noqa: BLE001 - whatever a source decorates its answer with, the verdict is told
        log.error("not-completed", source=source.name, error=type(error).__name__, where=where(error))
        facts = {**facts, "reason": None}
        appointment, rejected = complete(None, identity=identity, appointment_id=appointment_id, **facts)
    if rejected:
        # R4's names only: a source may have put anything into the name of a member of its own.
        elements = sorted(ELEMENTS.intersection(rejected))
        log.warning(
            "native-elements-left-out", source=source.name, elements=elements, others=len(rejected) - len(elements)
        )
    return appointment
