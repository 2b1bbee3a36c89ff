"""Examples for the description, each made by the code that makes the real thing."""

from collections.abc import Callable, Mapping
from typing import Any

from flask import Flask, g, request

from facade.cancellation.attempt import NOT_KNOWN, NOT_THIS_VERSION
from facade.cancellation.results import cancellation_state
from facade.cancellation.service import NOT_READABLE
from facade.cancellation.states import State
from facade.config import Client
from facade.errors import (
    Cause,
    NotExecuted,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    PreconditionFailed,
    RequestError,
    Unavailable,
)
from facade.fhir import concept_map as concept_maps
from facade.fhir import ids, reasons
from facade.fhir import request as cancel_request
from facade.fhir.appointment import Identity, complete
from facade.fhir.operation_outcome import of_source_error
from facade.ledger.backend import NOT_NOW
from facade.plugin.contract import Coding, NativeReason, NativeReasons
from facade.web import preconditions
from facade.web.auth import authenticate, check_is_local
from facade.web.content_negotiation import answer_type, check_sent
from facade.web.request_lifecycle import reachable_source
from facade.web.routes import MAX_BODY, late, limited_body, parse, permit
from facade.web.webhooks import not_signed

_SOURCE, _ID = "example", "apt_1"
_MOVED = NativeReason("moved")
_CHANGED_AT = 1_796_117_400.0  # 2026-12-01T09:30:00Z, when the example's appointment was cancelled
_NATIVE = {
    "status": "booked",
    "start": "2026-12-03T09:00:00Z",
    "end": "2026-12-03T10:00:00Z",
    "serviceType": [{"text": "Blood test"}],
    "participant": [{"actor": {"reference": "Patient/p_101"}, "status": "accepted"}],
}


def requests() -> dict[str, Any]:
    """Cancel requests by name: as schedulers send them, and with no more than is needed."""
    reason = {"coding": [{"system": reasons.SYSTEM, "code": "pat-mv"}]}
    bare = {"resourceType": "Appointment", "status": "cancelled"}
    return {"withReason": {**bare, "id": _ID, "cancelationReason": reason}, "bare": bare}


def concept_map() -> dict[str, Any]:
    """A ConceptMap as a source has it in force."""
    return {**_mapping().resource, "id": _SOURCE}


def cancel_answers() -> dict[str, Any]:
    """What a cancel is answered with, by name: proven, surely not done, in doubt."""
    reason = reasons.cancelation_reason((Coding(reasons.SYSTEM, "pat-mv"),), "", _MOVED, None, _mapping())
    refused = of_source_error(NotExecuted(Cause.REFUSED), known=True)
    in_doubt = of_source_error(OutcomeUnknown(Cause.TIMEOUT), known=False)
    return {
        "cancelled": _appointment(_NATIVE, status="cancelled", reason=reason, version=1),
        "refused": _appointment(_NATIVE, status="proposed", why=refused),
        "inDoubt": _appointment(None, status="proposed", why=in_doubt, absent=Cause.TIMEOUT.absent_reason),
    }


def read_answers() -> dict[str, Any]:
    """What a read is answered with, by name: never asked to cancel, cancelled through this facade."""
    told = {"coding": [_mapping().native_coding(_MOVED.code)]}
    reason = reasons.cancelation_reason((), "", None, told, _mapping())
    native = {**_NATIVE, "extension": [cancellation_state(State.CANCELLED, _CHANGED_AT)]}
    return {
        "booked": _appointment(_NATIVE, status="booked"),
        "cancelled": _appointment(native, status="cancelled", reason=reason, version=1),
    }


def refusals(app: Flask) -> dict[str, dict[str, RequestError]]:
    """Every kind of refusal with its errors by name: each check is shown a request that is wrong in every respect."""
    wrong = {"Host": "rebound.example", "Accept": "text/html", "Content-Type": "text/plain", "If-Match": "1"}
    appointment = {"resourceType": "Appointment"}
    mode = app.extensions["facade"].config.auth_mode
    ledger = Unavailable(NOT_NOW)
    length = {"CONTENT_LENGTH": str(MAX_BODY + 1)}
    with app.test_request_context("/", method="POST", headers=wrong, environ_overrides=length):
        g.client = Client("", "", frozenset(), frozenset())
        not_known = {"unknownSource": _raised(lambda: reachable_source(""))}
        return {
            "BadRequest": {
                "notJson": _raised(lambda: parse(b"{")),
                "notAnAppointment": _raised(lambda: cancel_request.parse({}, _ID)),
                "anotherId": _raised(lambda: cancel_request.parse({**appointment, "id": "apt_2"}, _ID)),
                "malformedIfMatch": _raised(lambda: preconditions.if_match(request)),
            },
            "UnreadableWebhook": {"notJson": _raised(lambda: parse(b"{", "webhook"))},
            "Unauthenticated": {"noKey": _raised(lambda: authenticate(request, mode, ()))},
            "UnsignedWebhook": {"notSigned": not_signed()},
            "Forbidden": {"cancel": _raised(lambda: permit("cancel")), "read": _raised(lambda: permit("read"))},
            "NotLocal": {"host": _raised(lambda: check_is_local(request, ()))},
            "UnknownSource": not_known,
            "NotFound": {
                **not_known,
                "impossibleId": _raised(lambda: ids.resolve(".", ".*")),
                "unknownAppointment": NotFound(NOT_KNOWN),
            },
            "NotAcceptable": {"html": _raised(lambda: answer_type(request))},
            "RequestTimeout": {"lateBody": late()},
            "PreconditionFailed": {"stale": PreconditionFailed(NOT_THIS_VERSION)},
            "ContentTooLarge": {"tooLarge": _raised(limited_body)},
            "UnsupportedMediaType": {"plainText": _raised(lambda: check_sent(request))},
            "UnprocessableContent": {
                "noStatus": _raised(lambda: cancel_request.parse(appointment, _ID)),
                "noSuchStatus": _raised(lambda: cancel_request.parse({**appointment, "status": "gone"}, _ID)),
                "wrongType": _raised(lambda: cancel_request.parse({**appointment, "comment": 1}, _ID)),
            },
            "NotSupported": {"notReadable": NotSupported(NOT_READABLE)},
            "Unavailable": {"ledger": ledger},
            "SourceUnavailable": {
                "ledger": ledger,
                "source": Unavailable(Cause.SERVER_ERROR.text, cause=Cause.SERVER_ERROR),
            },
        }


def _raised(check: Callable[[], object]) -> RequestError:
    try:
        check()
    except RequestError as error:
        return error
    raise AssertionError("an example of a refusal is not refused")


def _appointment(native: Mapping[str, Any] | None, **facts: Any) -> dict[str, Any]:
    identity = Identity(
        source=_SOURCE,
        source_system="urn:fhir-facade:source-system",
        native_system=lambda kind: f"urn:fhir-facade:{_SOURCE}:{kind}",
        lacks=frozenset({"slot"}),
    )
    appointment, _ = complete(dict(native) if native else None, identity=identity, appointment_id=_ID, **facts)
    return appointment


def _mapping() -> reasons.ReasonMap:
    codes = {"moved": "Patient moved away", "other": "Another reason"}
    uri = f"urn:fhir-facade:{_SOURCE}:reasonCode"
    both_ways = [
        _group(reasons.SYSTEM, uri, {"pat-mv": "moved", "other": "other"}),
        _group(uri, reasons.SYSTEM, {"moved": "pat-mv", "other": "other"}),
    ]
    resource = {"resourceType": "ConceptMap", "status": "active", "group": both_ways}
    native = NativeReasons(name="reasonCode", codes=codes, concept_map=resource, fallback="other")
    return concept_maps.load(resource, native, plugin=_SOURCE, code_systems={}, fallback=None)


def _group(source: str, target: str, codes: Mapping[str, str]) -> dict[str, Any]:
    elements = [
        {"code": code, "target": [{"code": other, "equivalence": "equivalent"}]} for code, other in codes.items()
    ]
    return {"source": source, "target": target, "element": elements}
