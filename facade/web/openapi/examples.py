"""Examples for the OpenAPI document. The code that serves requests makes each of them."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from flask import Flask, g, request

from facade.cancellation.attempt import NOT_KNOWN, NOT_THIS_VERSION
from facade.cancellation.results import cancellation_state
from facade.cancellation.service import NOT_READABLE, READ_LATER
from facade.cancellation.states import State
from facade.config import Client
from facade.config_tables import CLIENT_OPERATIONS
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
from facade.fhir.proposed_explanation import why_proposed
from facade.ledger.backend import NOT_NOW
from facade.plugin.contract import Coding, NativeReason, NativeReasons
from facade.web import preconditions
from facade.web.auth.authenticator import Authenticator
from facade.web.content_negotiation import check_content_type, response_type
from facade.web.request_body import MAX_BODY, late, parse_json, read_body
from facade.web.request_lifecycle import check_permission, reachable_source
from facade.web.webhook_signatures import not_signed

if TYPE_CHECKING:
    from facade.app import Facade

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
    """Return cancel requests by name: as schedulers send them, and with the required elements only."""
    reason = {"coding": [{"system": reasons.SYSTEM, "code": "pat-mv"}]}
    bare = {"resourceType": "Appointment", "status": "cancelled"}
    return {"withReason": {**bare, "id": _ID, "cancelationReason": reason}, "bare": bare}


def concept_map() -> dict[str, Any]:
    """Return a ConceptMap as a source may have it in force."""
    return {**_mapping().resource, "id": _SOURCE}


def cancel_responses() -> dict[str, Any]:
    """Return the responses to a cancel, by name: proven, not executed, in doubt."""
    reason = reasons.cancelation_reason((Coding(reasons.SYSTEM, "pat-mv"),), "", _MOVED, None, _mapping())
    refused = why_proposed(NotExecuted(Cause.REFUSED), known=True)
    in_doubt = why_proposed(OutcomeUnknown(Cause.TIMEOUT), known=False)
    return {
        "cancelled": _appointment(_NATIVE, status="cancelled", reason=reason, version=1),
        "refused": _appointment(_NATIVE, status="proposed", why=refused),
        "inDoubt": _appointment(None, status="proposed", why=in_doubt, absent=Cause.TIMEOUT.absent_reason),
    }


def read_responses() -> dict[str, Any]:
    """Return the responses to a read, by name: no cancel was requested, cancelled through this facade."""
    native_reason = {"coding": [_mapping().native_coding(_MOVED.code)]}
    reason = reasons.cancelation_reason((), "", None, native_reason, _mapping())
    native = {**_NATIVE, "extension": [cancellation_state(State.CANCELLED, _CHANGED_AT)]}
    return {
        "booked": _appointment(_NATIVE, status="booked"),
        "cancelled": _appointment(native, status="cancelled", reason=reason, version=1),
    }


def errors(app: Flask) -> dict[str, dict[str, RequestError]]:
    """Return the errors of every error response, by name: each check gets a request that is wrong in every respect."""
    wrong = {"Host": "rebound.example", "Accept": "text/html", "Content-Type": "text/plain", "If-Match": "1"}
    appointment = {"resourceType": "Appointment"}
    facade: Facade = app.extensions["facade"]
    ledger = Unavailable(NOT_NOW)
    length = {"CONTENT_LENGTH": str(MAX_BODY + 1)}
    with app.test_request_context("/", method="POST", headers=wrong, environ_overrides=length):
        g.client = Client("", "", frozenset(), frozenset())
        unknown_source = {"unknownSource": _raised(lambda: reachable_source(""))}
        return {
            "BadRequest": {
                "notJson": _raised(lambda: parse_json(b"{")),
                "notAnAppointment": _raised(lambda: cancel_request.parse({}, _ID)),
                "anotherId": _raised(lambda: cancel_request.parse({**appointment, "id": "apt_2"}, _ID)),
                "malformedIfMatch": _raised(lambda: preconditions.if_match(request)),
            },
            "UnreadableWebhook": {"notJson": _raised(lambda: parse_json(b"{", "webhook"))},
            "Unauthenticated": {"noKey": _raised(lambda: facade.authenticator.authenticate(request))},
            "UnsignedWebhook": {"notSigned": not_signed()},
            "Forbidden": {name: _raised(partial(check_permission, name)) for name in CLIENT_OPERATIONS},
            **_forbidden_response(facade.authenticator),
            "UnknownSource": unknown_source,
            "NotFound": {
                **unknown_source,
                "impossibleId": _raised(lambda: ids.parse(".", ".*")),
                "unknownAppointment": NotFound(NOT_KNOWN),
            },
            "NotAcceptable": {"html": _raised(lambda: response_type(request))},
            "RequestTimeout": {"lateBody": late()},
            "PreconditionFailed": {"stale": PreconditionFailed(NOT_THIS_VERSION)},
            "ContentTooLarge": {"tooLarge": _raised(read_body)},
            "UnsupportedMediaType": {"plainText": _raised(lambda: check_content_type(request))},
            "UnprocessableContent": {
                "noStatus": _raised(lambda: cancel_request.parse(appointment, _ID)),
                "noSuchStatus": _raised(lambda: cancel_request.parse({**appointment, "status": "gone"}, _ID)),
                "wrongType": _raised(lambda: cancel_request.parse({**appointment, "comment": 1}, _ID)),
            },
            "NotSupported": {"notReadable": NotSupported(NOT_READABLE)},
            "Unavailable": {"ledger": ledger},
            "SourceUnavailable": {
                "ledger": ledger,
                "source": Unavailable(f"{Cause.SERVER_ERROR.text} {READ_LATER}", cause=Cause.SERVER_ERROR),
            },
        }


def _forbidden_response(authenticator: Authenticator) -> dict[str, dict[str, RequestError]]:
    if authenticator.forbidden_response is None:
        return {}
    return {authenticator.forbidden_response[0]: {"host": _raised(lambda: authenticator.check_request(request))}}


def _raised(check: Callable[[], object]) -> RequestError:
    try:
        check()
    except RequestError as error:
        return error
    raise AssertionError("the request of an example was not rejected")


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
