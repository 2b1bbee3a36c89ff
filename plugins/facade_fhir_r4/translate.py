"""FHIR as a server has it ↔ FHIR at the seam, pure functions: a cancel request out, an appointment in."""

import re
from collections.abc import Mapping
from typing import Any

from facade import Appointment, CancelRequest, Cause, OutcomeUnknown, hl7_reasons

# http://hl7.org/fhir/R4/valueset-appointmentstatus.html
_STATUSES = frozenset(
    "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in waitlist".split()
)
_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{1,64}"')


def to_fhir(resource: Any, etag: str, appointment_id: str) -> Appointment:
    """The resource as the server has it; ``meta.versionId`` is the whole entity tag to send as ``If-Match``.

    That is the ETag as it came, because servers may compare a strong one strongly (RFC 9110, section 13.1.1), or
    else the server's ``meta.versionId`` as a weak tag, FHIR's form: http://hl7.org/fhir/R4/http.html#versioning.
    A status that is no R4 code is absent. Raises OutcomeUnknown for anything but this Appointment.
    """
    if not isinstance(resource, dict) or resource.get("resourceType") != "Appointment":
        raise OutcomeUnknown(Cause.UNREADABLE, "the answer is no Appointment")
    if resource.get("id") != appointment_id:
        raise OutcomeUnknown(Cause.UNREADABLE, "the answer is another Appointment")
    told = resource.get("meta")
    meta = dict(told) if isinstance(told, dict) else {}
    version = meta.pop("versionId", None)
    tags = (etag.strip(" \t"), f'W/"{version}"' if isinstance(version, str) else "")
    if tag := next(filter(_ETAG.fullmatch, tags), None):
        meta["versionId"] = tag
    appointment: Appointment = {**resource, "meta": meta}
    status = appointment.get("status")
    if not (isinstance(status, str) and status in _STATUSES):
        appointment.pop("status", None)
    return appointment


def entity_tag(appointment: Appointment) -> str | None:
    """What to send as ``If-Match``; None where the server told no version."""
    tag: str | None = appointment.get("meta", {}).get("versionId")
    return tag


def why_not(appointment: Appointment, settings: Mapping[str, Any]) -> str:
    """Why the server would not take a cancel; empty where nothing speaks against it."""
    if appointment.get("status") not in settings["cancellable_statuses"]:
        return "its status is not one to cancel from"
    if _is_modified(appointment):
        return "it holds a modifier extension or implicit rules, which may turn its meaning round"
    extensions = appointment.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        is_meant = isinstance(extension, dict) and extension.get("url") == settings["is_cancelable_extension"]
        if is_meant and extension.get("valueBoolean") is False:
            return "the server says that it is not cancelable"
    return ""


def _is_modified(appointment: Appointment) -> bool:
    """http://hl7.org/fhir/R4/extensibility.html#modifierExtension, resource.html#implicitRules"""
    participants = appointment.get("participant")
    elements = [appointment, *(participants if isinstance(participants, list) else [])]
    modified = any(isinstance(one, dict) and one.get("modifierExtension") for one in elements)
    return modified or bool(appointment.get("implicitRules"))


def to_patch(request: CancelRequest) -> list[dict[str, Any]]:
    """The JSON Patch (RFC 6902) of a cancel; ``add`` replaces a reason that is there."""
    return [
        {"op": "replace", "path": "/status", "value": "cancelled"},
        {"op": "add", "path": "/cancelationReason", "value": {"coding": [_coding(request)]}},
    ]


def to_update(resource: Mapping[str, Any], request: CancelRequest) -> dict[str, Any]:
    """The same resource with another status and reason; the rest goes back as it came."""
    reason: dict[str, Any] = {"coding": [_coding(request)]}
    if request.note:
        reason["text"] = request.note
    return {**resource, "status": "cancelled", "cancelationReason": reason}


def _coding(request: CancelRequest) -> dict[str, str]:
    assert request.native_reason is not None  # noqa: S101 - the declaration has reasons, so the facade set one
    reasons, code = hl7_reasons(), request.native_reason.code
    return {"system": reasons.system, "code": code, "display": reasons.codes[code]}
