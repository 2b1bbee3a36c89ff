"""Translates with pure functions: cancel requests to the server's FHIR, its Appointments to those of the plugin API."""

import re
from collections.abc import Mapping
from typing import Any

from facade import APPOINTMENT_STATUSES, Appointment, CancelRequest, Cause, OutcomeUnknown, hl7_reasons

_ETAG = re.compile(r'(?:W/)?"[\x21\x23-\x7e]{1,64}"')


def to_fhir(resource: Any, etag: str, appointment_id: str) -> Appointment:
    """Return the server's resource, with the whole entity tag to send as ``If-Match`` as its ``meta.versionId``.

    The tag is the ETag as received: a server may compare a strong one strongly (RFC 9110, section 13.1.1). Without an
    ETag it is the server's ``meta.versionId`` as a weak tag: http://hl7.org/fhir/R4/http.html#versioning.
    A status that is not an R4 code is left out. Raises OutcomeUnknown for anything but this Appointment.
    """
    if not isinstance(resource, dict) or resource.get("resourceType") != "Appointment":
        raise OutcomeUnknown(Cause.UNREADABLE, "the response is not an Appointment")
    if resource.get("id") != appointment_id:
        raise OutcomeUnknown(Cause.UNREADABLE, "the response is another Appointment")
    given = resource.get("meta")
    meta = dict(given) if isinstance(given, dict) else {}
    version = meta.pop("versionId", None)
    tags = (etag.strip(" \t"), f'W/"{version}"' if isinstance(version, str) else "")
    if tag := next(filter(_ETAG.fullmatch, tags), None):
        meta["versionId"] = tag
    appointment: Appointment = {**resource, "meta": meta}
    status = appointment.get("status")
    if not (isinstance(status, str) and status in APPOINTMENT_STATUSES):
        appointment.pop("status", None)
    return appointment


def entity_tag(appointment: Appointment) -> str | None:
    """Return what to send as ``If-Match``; None where the server reported no version."""
    tag: str | None = appointment.get("meta", {}).get("versionId")
    return tag


def obstacle(appointment: Appointment, settings: Mapping[str, Any]) -> str:
    """Return the reason why the server would reject a cancel; empty where there is none."""
    if appointment.get("status") not in settings["cancellable_statuses"]:
        return "its status is not one of cancellable_statuses"
    if _is_modified(appointment):
        return "it has a modifier extension or implicit rules, which may reverse its meaning"
    extensions = appointment.get("extension")
    for extension in extensions if isinstance(extensions, list) else ():
        is_meant = isinstance(extension, dict) and extension.get("url") == settings["is_cancelable_extension"]
        if is_meant and extension.get("valueBoolean") is False:
            return "the server states that it is not cancelable"
    return ""


def _is_modified(appointment: Appointment) -> bool:
    """Whether it has a modifier extension or implicit rules.

    http://hl7.org/fhir/R4/extensibility.html#modifierExtension, resource.html#implicitRules
    """
    participants = appointment.get("participant")
    elements = [appointment, *(participants if isinstance(participants, list) else [])]
    modified = any(isinstance(one, dict) and one.get("modifierExtension") for one in elements)
    return modified or bool(appointment.get("implicitRules"))


def to_patch(request: CancelRequest) -> list[dict[str, Any]]:
    """Return the JSON Patch (RFC 6902) of a cancel; ``add`` also replaces an existing reason."""
    return [
        {"op": "replace", "path": "/status", "value": "cancelled"},
        {"op": "add", "path": "/cancelationReason", "value": {"coding": [_coding(request)]}},
    ]


def to_update(resource: Mapping[str, Any], request: CancelRequest) -> dict[str, Any]:
    """Return the resource with another status and reason; everything else is unchanged."""
    reason: dict[str, Any] = {"coding": [_coding(request)]}
    if request.note:
        reason["text"] = request.note
    return {**resource, "status": "cancelled", "cancelationReason": reason}


def _coding(request: CancelRequest) -> dict[str, str]:
    assert request.native_reason is not None  # noqa: S101 - the declaration has reasons, so the facade set one
    reasons, code = hl7_reasons(), request.native_reason.code
    return {"system": reasons.system, "code": code, "display": reasons.codes[code]}
