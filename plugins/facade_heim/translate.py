"""Translates between Heim and FHIR with pure functions: cancel requests to Heim, appointments to FHIR."""

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from facade import Appointment, CancelRequest, SourceConfig, chargeability
from facade_heim import codes
from facade_heim.schemas import NativeAppointment

ENTITIES = "urn:fhir-facade:heim:cancellation"
# "less than 24 hours before the Estimated Time Of Arrival": not at exactly 24 (guide, Overview).
CHARGEABLE_WITHIN = timedelta(hours=24)

_WITH_A_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d")


def to_native(request: CancelRequest, settings: Mapping[str, Any]) -> dict[str, str]:
    """Return the cancellation object to send. ``request.native_reason`` is set."""
    assert request.native_reason is not None  # noqa: S101 - the declaration has reasons, so the facade set one
    reason = request.native_reason
    cancelling = reason.properties.get("cancellingEntity", "organisation")
    if "cancellingEntity" not in reason.explicit:
        cancelling = settings.get("cancelling_entity", cancelling)
    body = {
        "causingEntity": reason.properties.get("causingEntity", codes.causing_entity(reason.code)),
        "cancellingEntity": cancelling,
        "reasonCode": reason.code,
    }
    note = _shorten(request.note, settings["note_max_length"])
    return {"note": note, **body} if note else body


def to_fhir(native: NativeAppointment, config: SourceConfig, *, reference_time: datetime | None = None) -> Appointment:
    """Return the appointment as FHIR R4 with raw ids. An element that Heim does not report is absent.

    ``reference_time`` is the time of a cancel, or the current time for an appointment that can still be cancelled. With
    it, the chargeability extension is added.
    """
    zone: ZoneInfo | None = config.settings["timezone"]
    start, end = _instant(native.start, zone), _instant(native.end, zone)
    elements: Appointment = {
        "resourceType": "Appointment",
        "id": native.id,
        "status": config.settings["statuses"].get(native.status),
        "extension": [
            *(_chargeability(native, zone, reference_time) if reference_time is not None else []),
            *_entities(native),
        ],
        "identifier": _external_reference(native, config),
        "cancelationReason": _reason(native, config),
        "serviceType": [_concept(config.code_system("task"), native.task)] if native.task else None,
        "appointmentType": _concept(config.code_system("appointmentType"), native.type) if native.type else None,
        "start": start.isoformat() if start and end else None,
        "end": end.isoformat() if start and end else None,
        "slot": [{"reference": f"Slot/{native.window}"}] if native.window else None,
        "participant": [
            # Heim reports who takes part, not who has accepted.
            {"actor": {"reference": f"{kind}/{native_id}"}, "status": "needs-action"}
            for kind, native_id in (("Patient", native.patient), ("Practitioner", native.practitioner))
            if native_id
        ],
    }
    return {name: value for name, value in elements.items() if value}


def _instant(text: str | None, zone: ZoneInfo | None) -> datetime | None:
    """Parse a time. Without an offset it gets the configured zone; None where it is unusable.

    A date alone is unusable. So is a local time that the zone has twice or never: the plugin does not guess.
    """
    try:
        parsed = datetime.fromisoformat(text.upper() if text and _WITH_A_TIME.match(text) else "")
    except ValueError:
        return None
    if parsed.tzinfo is None:
        parsed = parsed.replace(tzinfo=zone)
        if parsed.utcoffset() != parsed.replace(fold=1).utcoffset():
            return None  # the clocks change: https://peps.python.org/pep-0495/
    offset = parsed.utcoffset()
    # An offset in FHIR is in whole minutes.
    return None if offset is None or offset % timedelta(minutes=1) else parsed


def _chargeability(native: NativeAppointment, zone: ZoneInfo | None, reference_time: datetime) -> list[dict[str, Any]]:
    eta = _instant(native.eta, zone)
    # An ETA that is present and unusable may be near.
    may_be = eta - reference_time < CHARGEABLE_WITHIN if eta is not None else bool(native.eta)
    return [chargeability(may_be=may_be, eta=eta.isoformat() if eta is not None else None)]


def _entities(native: NativeAppointment) -> list[dict[str, Any]]:
    """Return the extension with the causing and cancelling entities. Heim Operations may revise them later."""
    entities = {"causingEntity": native.causing_entity, "cancellingEntity": native.cancelling_entity}
    parts = [{"url": name, "valueCode": code} for name, code in entities.items() if code]
    return [{"url": ENTITIES, "extension": parts}] if parts else []


def _external_reference(native: NativeAppointment, config: SourceConfig) -> list[dict[str, str]] | None:
    if not native.external_reference:
        return None
    return [{"system": config.identifier_system("externalReference"), "value": native.external_reference}]


def _reason(native: NativeAppointment, config: SourceConfig) -> dict[str, Any]:
    reason: dict[str, Any] = {}
    if native.cancellation_reason:
        coding = {"system": config.code_system("reasonCode"), "code": native.cancellation_reason}
        display = codes.REASONS.get(native.cancellation_reason)
        reason["coding"] = [{**coding, "display": display} if display else coding]
    if native.cancellation_note:
        reason["text"] = native.cancellation_note
    return reason


def _concept(system: str, code: str) -> dict[str, Any]:
    return {"coding": [{"system": system, "code": code}]}


def _shorten(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1].rstrip() + "…"
