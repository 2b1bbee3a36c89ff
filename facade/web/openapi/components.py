"""The components that operations share: headers, parameters, bodies and responses, each with its examples."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from flask import Flask

from facade.config_tables import NAME
from facade.errors import RequestError
from facade.fhir.operation_outcome import of_failure, of_request_error
from facade.web import request_lifecycle
from facade.web.content_negotiation import FORMATS
from facade.web.openapi import examples
from facade.web.operations.metadata import capabilities
from facade.web.preconditions import ENTITY_TAGS
from facade.web.request_body import MAX_BODY

if TYPE_CHECKING:
    from facade.app import Facade

OPENAPI = "3.1.0"
SIGNATURE = "webhookSignature"
"""The security scheme of a webhook."""
_LIMIT = f"{MAX_BODY // 1024} KiB"
_FHIR = ("application/fhir+json", "application/json")
_JSON = ("application/json",)
_ETAG = r'^W/"[0-9]+"$'
_TEXT: dict[str, Any] = {"type": "string"}
_COMMON = ("X-Request-Id", "X-Correlation-Id", "Cache-Control")

_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": ("The request's, if it is 1 to 128 of `A-Z a-z 0-9 . _ : -`, else a new one.", {"minLength": 1}),
    "X-Correlation-Id": ("The request's, if it has the form of an `X-Request-Id`.", {}),
    "Cache-Control": ("Clients must not store a response.", {"const": "no-store"}),
    "ETag": ("The version of the facade's record; 0 while there is none.", {"pattern": _ETAG}),
    "WWW-Authenticate": ("The authentication scheme that the client must use.", {"minLength": 1}),
    "Allow": ("The methods of this path.", {"minLength": 1}),
    "Retry-After": ("The seconds to wait before a retry.", {"type": "integer", "minimum": 1}),
}
_PARAMETERS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "sourceSystem": ("path", "sourceSystem", "The source system's name.", {"pattern": f"^{NAME}$"}),
    "id": ("path", "id", "The native appointment id, raw or as a FHIR id.", {"minLength": 1, "maxLength": 64}),
    "format": (
        "query",
        "_format",
        "The format of the response; takes precedence over `Accept` if not empty.",
        {"enum": ["", *sorted(FORMATS)]},
    ),
    "ifMatch": (
        "header",
        "If-Match",
        "The expected version, as an `ETag` gave it; `*` for any. A repeated cancel may name an old one.",
        {"anyOf": [{"const": "*"}, {"pattern": f"^{ENTITY_TAGS.pattern}$"}]},
    ),
    "requestId": ("header", "X-Request-Id", "Returned in the response, if it is valid.", {}),
    "correlationId": ("header", "X-Correlation-Id", "Returned in the response, if it is valid.", {}),
}
_SIGNATURE_SCHEME = {
    "type": "apiKey",
    "in": "header",
    "name": "webhook-signature",
    "description": "A signature by Standard Webhooks, with `webhook-id` and `webhook-timestamp`. The operator may "
    "configure other header names, or an HMAC of the body alone.",
}
_ERRORS = {
    "BadRequest": "Malformed or ambiguous JSON, not an Appointment with this id, or a malformed `If-Match`.",
    "UnreadableWebhook": "Malformed or ambiguous JSON.",
    "Unauthenticated": "No credentials, or unknown credentials.",
    "UnsignedWebhook": "Not signed with the secret of a source system; also if there is no such source system.",
    "Forbidden": "The client may reach the source system, but may not use this operation.",
    "UnknownSource": "The source system does not exist, or the client may not reach it.",
    "NotFound": "An unknown source system, an id that it cannot have, or an appointment that it does not know.",
    "NotAcceptable": "`Accept` or `_format` asks for a format other than FHIR R4 JSON.",
    "RequestTimeout": "The body did not arrive in time.",
    "PreconditionFailed": "`If-Match` names another version, and the appointment is not cancelled yet.",
    "ContentTooLarge": f"A body over {_LIMIT}.",
    "UnsupportedMediaType": "The `Content-Type` of the body is not FHIR R4 JSON.",
    "UnprocessableContent": "`status` is absent or no R4 code, a known element has a wrong JSON type, or there are too "
    "many members.",
    "Unavailable": "The ledger is not available; nothing was sent to the source system.",
    "NotSupported": "The source system has no read, and the facade has no record of this appointment.",
    "SourceUnavailable": "The ledger or the source system is not available, and no cancellation is recorded.",
}


def body(name: str) -> dict[str, Any]:
    """Return the request body of this name: ``CancelRequest`` or ``Webhook``."""
    if name == "CancelRequest":
        shown = {name: {"value": value} for name, value in examples.requests().items()}
        text = f"A partial Appointment, at most {_LIMIT}. If it has an `id`, this is the path's, raw or encoded."
        content = {kind: {"schema": name, "examples": shown} for kind in _FHIR}
    else:
        text = f"JSON as the source system sends it, at most {_LIMIT}. The facade believes nothing in it."
        content = {kind: {"schema": name} for kind in _JSON}
    return {"required": True, "description": text, "content": content}


def register(spec: APISpec, app: Flask) -> dict[str, str]:
    """Add everything but the schemas to the components. Returns the status of each error response, by its name."""
    facade: Facade = app.extensions["facade"]
    for name, (text, schema) in _HEADERS.items():
        optional = name == "X-Correlation-Id"
        header = {"description": text, "required": not optional, "schema": {**_TEXT, **schema}}
        spec.components.header(name, header)
    for name, (place, written, text, schema) in _PARAMETERS.items():
        parameter = {"name": written, "description": text, "required": place == "path", "schema": {**_TEXT, **schema}}
        spec.components.parameter(name, place, parameter)
    for name, scheme in {**facade.authenticator.security_schemes, SIGNATURE: _SIGNATURE_SCHEME}.items():
        spec.components.security_scheme(name, dict(scheme))
    for name, response in _responses(app).items():
        spec.components.response(name, response)
    errors = examples.errors(app)
    own = facade.authenticator.forbidden_response
    descriptions = {**_ERRORS, **({own[0]: own[1]} if own is not None else {})}
    for name, found in errors.items():
        spec.components.response(name, _error_response(descriptions[name], found))
    failed = {"failed": of_failure()}
    spec.components.response("Failed", _response("A bug in the facade.", "OperationOutcome", failed))
    return {name: str(next(iter(found.values())).status) for name, found in errors.items()}


def method_not_allowed(allowed: Iterable[str]) -> dict[str, Any]:
    """Return the response of a path to a method that is not among these."""
    error = request_lifecycle.method_not_allowed(allowed)
    return _error_response("Another method; `Allow` names the methods of this path.", {"anotherMethod": error})


def _error_response(text: str, errors: Mapping[str, RequestError]) -> dict[str, Any]:
    """Return the response of errors that have the same status and the same headers."""
    outcomes = {name: of_request_error(error) for name, error in errors.items()}
    return _response(text, "OperationOutcome", outcomes, headers=next(iter(errors.values())).headers)


def _responses(app: Flask) -> dict[str, Any]:
    cancelled = "Cancelled, as the source system itself proves, else proposed with an OperationOutcome for the cause."
    as_read = "The appointment as the source system has it now, with the recorded cancellation."
    shortened = {"openapi": OPENAPI, "info": {"title": "fhir-facade", "version": "1"}, "paths": {}}
    return {
        "CancelResponse": _response(cancelled, "CancelResponse", examples.cancel_responses(), headers=["ETag"]),
        "Appointment": _response(as_read, "Appointment", examples.read_responses(), headers=["ETag"]),
        "ConceptMap": _response("The mapping in force.", "ConceptMap", {"conceptMap": examples.concept_map()}),
        "CapabilityStatement": _response("The statement.", "CapabilityStatement", {"statement": capabilities(app)}),
        "Accepted": _response("A signed hint, whether or not the facade knows its appointment."),
        "Live": _response("The process answers.", "Health", {"live": {"status": "live"}}, types=_JSON),
        "Ready": _response("The ledger can be written.", "Health", {"ready": {"status": "ready"}}, types=_JSON),
        "Description": _response("This document.", "OpenAPI", {"shortened": shortened}, types=_JSON),
    }


def _response(
    text: str,
    schema: str = "",
    bodies: Mapping[str, Any] | None = None,
    *,
    headers: Iterable[str] = (),
    types: Iterable[str] = _FHIR,
) -> dict[str, Any]:
    """Return a response with these bodies as its examples, or without a body if there are none."""
    response: dict[str, Any] = {"description": text, "headers": {name: name for name in (*_COMMON, *headers)}}
    if bodies:
        shown = {name: {"value": body} for name, body in bodies.items()}
        response["content"] = {kind: {"schema": schema, "examples": shown} for kind in types}
    return response
