"""What the cancellation service returns, and how a result is built from what the source and the ledger say."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import structlog

from facade.cancellation import stored_request
from facade.cancellation.states import State
from facade.config_tables import SOURCE_IDENTIFIER_SYSTEM
from facade.errors import Cause, OutcomeUnknown, SourceError
from facade.fhir import reasons, validation
from facade.fhir.appointment import ELEMENTS, Identity, complete, identifiers, order_elements
from facade.fhir.operation_outcome import WHY
from facade.fhir.proposed_explanation import why_proposed
from facade.fhir.validation import allows_reason
from facade.ledger.tables import Row
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest, default_identifier_system

log = structlog.get_logger()

STATE_EXTENSION = "urn:fhir-facade:extension:cancellation-state"
FIRST_VERSION = 1
"""The version of the first recorded response; 0 is an appointment without one."""

# Causes of the ledger's own: the client received an error instead of an Appointment, or the attempt lost its owner.
NOT_FOUND, STALE_IF_MATCH, OWNER_LOST = "not-found", "stale-if-match", "owner-lost"
ALREADY, REPEAT, NOT_READABLE = "already", "repeat", "not-readable"

# What an operator's resolution decides. Everything else stays as the owner of the attempt recorded it.
_RESOLVED = {"id", "identifier", "status", "cancelationReason", "contained", "supportingInformation", "text", "_status"}


class Outcome(StrEnum):
    """How a request ended, as logs, audit and ledger name it."""

    CANCELLED = "cancelled"
    NOT_EXECUTED = "not-executed"
    IN_DOUBT = "in-doubt"
    READ = "read"


@dataclass(frozen=True)
class CancelResult:
    """An Appointment to send and its version; for the log the outcome, its cause and a detail."""

    appointment: Appointment = field(repr=False)
    outcome: str
    cause: str = ""
    version: int = 0
    detail: str = ""


def cancelled(
    source: ConfiguredSource, request: CancelRequest, evidence: Appointment, *, by_us: bool, version: int
) -> CancelResult:
    """Build the result of a cancel that the source's own ``evidence`` proves.

    It contains the client's reason only where the native write of this request was made (``by_us``).
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
    return CancelResult(appointment, Outcome.CANCELLED, "" if by_us else ALREADY, version)


def expected_elements(source: ConfiguredSource, request: CancelRequest) -> Appointment:
    """Return the identifiers and the reason of a cancelled response, which the source cannot change.

    They are stored with the request, so that an operator can resolve doubt without the source's plugin.
    """
    reason = reasons.cancelation_reason(
        request.codings, request.text, sent=request.native_reason, recorded=None, mapping=source.mapping
    )
    found: Appointment = {"identifier": identifiers([], source.identity, request.appointment_id)}
    return {**found, **({"cancelationReason": reason} if reason else {})}


def recorded(row: Row, cause: str = REPEAT) -> CancelResult:
    """Return the recorded result; its Appointment is the same, byte for byte, as in the first response."""
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
    """Build the result of a cancel that nothing proves. ``known`` is what was read of the appointment, if anything."""
    absent = "unknown" if known is not None else error.cause.absent_reason
    why = why_proposed(error, text, known=known is not None, readable=source.readable) if explain else None
    appointment = _complete(source, appointment_id, known, status="proposed", absent=absent, why=why)
    outcome = Outcome.IN_DOUBT if isinstance(error, OutcomeUnknown) else Outcome.NOT_EXECUTED
    return CancelResult(appointment, outcome, error.cause.code, detail=error.detail)


def as_read(source: ConfiguredSource, appointment_id: str, native: Appointment, row: Row | None) -> CancelResult:
    """Build the result of a read: the native state now, and the recorded cancellation state as an extension.

    Where the source reports the reason that this facade sent, the recorded reason replaces it. Raises OutcomeUnknown
    for a native status that has no FHIR status.
    """
    status = native.get("status")
    if not isinstance(status, str):
        raise OutcomeUnknown(Cause.UNREADABLE, "the native status has no FHIR status configured")
    reason = None
    if allows_reason(status):
        ours = row is not None and status == row.state == State.CANCELLED and may_be_ours(row)
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
    return CancelResult(appointment, Outcome.READ, "", version)


def as_recorded(source: ConfiguredSource, row: Row) -> CancelResult:
    """Build the result of a read of a source that cannot be read: the last response and the recorded state."""
    known = json.loads(row.response) if row.response is not None else None
    if known is None:
        known = _complete(source, row.appointment_id, None, status="proposed", version=row.version)
    state = cancellation_state(row.state, row.changed_at)
    appointment = {**known, "extension": [*known.get("extension", []), state]}
    return CancelResult(order_elements(appointment), Outcome.READ, "", row.version)


def resolved(row: Row, status: str, why: dict[str, Any] | None = None) -> Appointment:
    """Build the Appointment of an operator's resolution from the row alone, without the source and its plugin.

    It is the last response with the resolved ``status`` and the reason of the cancel request. ``why`` is the
    OperationOutcome to contain.
    """
    request = stored_request.from_json(row.appointment_id, row.cancel_request)
    expected = stored_request.expected_elements(row.cancel_request)
    reason = expected.get("cancelationReason") or reasons.cancelation_reason(
        request.codings, request.text, sent=request.native_reason, recorded=None, mapping=None
    )
    last = json.loads(row.response) if row.response is not None else {}
    facts: dict[str, Any] = {
        "identity": _recorded_identity(row, last.get("identifier") or expected.get("identifier") or []),
        "appointment_id": row.appointment_id,
        "status": status,
        "version": FIRST_VERSION if status == "cancelled" else row.version,
        "why": why,
    }
    bare, _ = complete(None, **facts, reason=reason)
    kept = {name: value for name, value in last.items() if name not in _RESOLVED}
    appointment = {**bare, **kept, **{name: bare[name] for name in ("resourceType", "status")}}
    appointment["meta"] = {**kept.get("meta", {}), **bare["meta"]}
    for name in ("id", "identifier"):
        appointment[name] = last.get(name, bare[name])
    for name, is_ours in (("contained", _is_why), ("supportingInformation", _refers_to_why)):
        others = [one for one in last.get(name, []) if not is_ours(one)]
        if members := [*others, *bare.get(name, [])]:
            appointment[name] = members
    if validation.find_problems(appointment):
        return {**bare, "meta": appointment["meta"]}
    return order_elements(appointment)


def may_be_ours(row: Row) -> bool:
    """Return whether this facade may have caused the recorded cancellation."""
    return row.sending_at is not None and row.cause != ALREADY


def cancellation_state(state: str, changed_at: float) -> dict[str, Any]:
    """Build the extension with the recorded state: ``state``, and ``since``, an instant.

    ``changed_at`` is in seconds since 1970.
    """
    since = datetime.fromtimestamp(changed_at, UTC).isoformat(timespec="milliseconds")
    parts = [{"url": "state", "valueCode": state}, {"url": "since", "valueInstant": since}]
    return {"url": STATE_EXTENSION, "extension": parts}


def _complete(source: ConfiguredSource, appointment_id: str, native: Appointment | None, **facts: Any) -> Appointment:
    identity = source.identity
    if native is not None:
        appointment_id = native.get("id", appointment_id)  # in the source's own spelling
    try:
        appointment, rejected = complete(native, identity=identity, appointment_id=appointment_id, **facts)
    except Exception as error:  # noqa: BLE001 - nothing that a source adds may cost the client the outcome
        log.error("not-completed", source=source.name, error=type(error).__name__, where=where(error))
        facts = {**facts, "reason": None}
        appointment, rejected = complete(None, identity=identity, appointment_id=appointment_id, **facts)
    if rejected:
        # R4's names only: the name of a source's own member may contain anything.
        elements = sorted(ELEMENTS.intersection(rejected))
        log.warning(
            "native-elements-left-out", source=source.name, elements=elements, others=len(rejected) - len(elements)
        )
    return appointment


def _is_why(resource: Any) -> bool:
    return resource.get("resourceType") == "OperationOutcome" and str(resource.get("id", "")).startswith(WHY)


def _refers_to_why(reference: Any) -> bool:
    return str(reference.get("reference", "")).startswith(f"#{WHY}")


def _recorded_identity(row: Row, recorded_identifiers: list[Any]) -> Identity:
    """Return the identifier systems of the last response, else the default ones."""
    systems = [identifier.get("system") for identifier in recorded_identifiers[:2]]
    ours, native = systems if len(systems) == 2 and all(systems) else (None, None)
    return Identity(
        source=row.source,
        source_system=ours or SOURCE_IDENTIFIER_SYSTEM,
        native_system=lambda kind: native or default_identifier_system(row.source, kind),
    )
