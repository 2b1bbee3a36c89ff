"""Translate between Paper and FHIR with pure functions: a cancel request out, an appointment in."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from facade import Appointment, CancelRequest, Cause, NotExecuted, SourceConfig

from facade_paper import codes


def to_native(request: CancelRequest, note_max_length: int) -> dict[str, str]:
    """Return the body of a cancel. Raises NotExecuted."""
    if request.native_reason is None:
        raise NotExecuted(Cause.NO_REASON, "Paper accepts no cancel without a reason")
    body = {"reason": request.native_reason.code}
    return {**body, "note": request.note[:note_max_length]} if request.note else body


def to_fhir(native: Mapping[str, Any], config: SourceConfig) -> Appointment:
    """Return the appointment as FHIR R4 with raw native ids. What Paper does not state is absent."""
    start, end = _instant(native, "starts"), _instant(native, "ends")
    service, kind = _text(native, "service"), _text(native, "kind")
    elements: Appointment = {
        "resourceType": "Appointment",
        "id": _text(native, "id"),
        "status": codes.STATUSES.get(_text(native, "state")),
        "cancelationReason": _reason(native, config),
        "serviceType": [_concept(config.code_system("service"), service)] if service else None,
        "appointmentType": _concept(config.code_system("kind"), kind) if kind else None,
        "start": start if start and end else None,
        "end": end if start and end else None,
        "participant": [
            # Paper states who takes part, not who accepted.
            {"actor": {"reference": f"{role}/{native_id}"}, "status": "needs-action"}
            for role, native_id in (
                ("Patient", _text(native, "patient")),
                ("Practitioner", _text(native, "practitioner")),
            )
            if native_id
        ],
    }
    return {name: value for name, value in elements.items() if value}


def _text(native: Mapping[str, Any], name: str) -> str:
    """Return a text of the record; empty if it is absent or of another type."""
    value = native.get(name)
    return value if isinstance(value, str) else ""


def _instant(native: Mapping[str, Any], name: str) -> str:
    """Return a time with its zone as a FHIR instant; empty if it is not one."""
    try:
        parsed = datetime.fromisoformat(_text(native, name))
    except ValueError:
        return ""
    return parsed.isoformat() if parsed.tzinfo else ""


def _reason(native: Mapping[str, Any], config: SourceConfig) -> dict[str, Any]:
    cancellation = native.get("cancellation")
    if not isinstance(cancellation, dict):
        return {}
    code, note = _text(cancellation, "reason"), _text(cancellation, "note")
    reason = {**(_concept(config.code_system("reason"), code) if code else {}), "text": note}
    return {name: value for name, value in reason.items() if value}


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}
