"""What the document's operations share: headers, parameters, bodies, and the answers, each with its examples."""

from collections.abc import Iterable, Mapping
from typing import Any

from apispec import APISpec
from flask import Flask

from facade.config import NAME
from facade.errors import RequestError
from facade.fhir.operation_outcome import of_failure, of_request_error
from facade.web import request_lifecycle
from facade.web.content_negotiation import WORDS
from facade.web.openapi import examples
from facade.web.preconditions import LIST
from facade.web.routes import MAX_BODY, capabilities

OPENAPI = "3.1.0"
_LIMIT = f"{MAX_BODY // 1024} KiB"
_FHIR = ("application/fhir+json", "application/json")
_JSON = ("application/json",)
_ETAG = r'^W/"[0-9]+"$'
_TEXT: dict[str, Any] = {"type": "string"}
_COMMON = ("X-Request-Id", "X-Correlation-Id", "Cache-Control")

_HEADERS: dict[str, tuple[str, dict[str, Any]]] = {
    "X-Request-Id": ("The request's, if it is 1 to 128 of `A-Z a-z 0-9 . _ : -`, else made here.", {"minLength": 1}),
    "X-Correlation-Id": ("The request's, if one was sent and is sane.", {}),
    "Cache-Control": ("Never to be stored.", {"const": "no-store"}),
    "ETag": ("The version of what is recorded; 0 while nothing is.", {"pattern": _ETAG}),
    "WWW-Authenticate": ("How to authenticate.", {"minLength": 1}),
    "Allow": ("The methods of this path.", {"minLength": 1}),
    "Retry-After": ("Seconds.", {"type": "integer", "minimum": 1}),
}
_PARAMETERS: dict[str, tuple[str, str, str, dict[str, Any]]] = {
    "sourceSystem": ("path", "sourceSystem", "The source system's name.", {"pattern": f"^{NAME}$"}),
    "id": ("path", "id", "The native appointment id, raw or as a FHIR id.", {"minLength": 1, "maxLength": 64}),
    "format": (
        "query",
        "_format",
        "The format of the answer; wins over `Accept` if not empty.",
        {"enum": ["", *sorted(WORDS)]},
    ),
    "ifMatch": (
        "header",
        "If-Match",
        "The version that is meant, as it came in an `ETag`; `*` for any. A repeat of a cancel may carry an old one.",
        {"anyOf": [{"const": "*"}, {"pattern": f"^{LIST.pattern}$"}]},
    ),
    "requestId": ("header", "X-Request-Id", "Echoed, if it is sane.", {}),
    "correlationId": ("header", "X-Correlation-Id", "Echoed, if it is sane.", {}),
}
_SECURITY = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "The client's API key."},
    "webhookSignature": {
        "type": "apiKey",
        "in": "header",
        "name": "webhook-signature",
        "description": "As Standard Webhooks has it, with `webhook-id` and `webhook-timestamp`; a source may be "
        "configured for headers of other names, or for a bare HMAC of the body.",
    },
}
_REFUSALS = {
    "BadRequest": "Not JSON that means one thing, not an Appointment of this id, or a malformed `If-Match`.",
    "UnreadableWebhook": "Not JSON that means one thing.",
    "Unauthenticated": "No credentials, or none that are known.",
    "UnsignedWebhook": "Not signed with the secret of a source system; also if there is no such source system.",
    "Forbidden": "A source system within reach, an operation that is not allowed to this client.",
    "NotLocal": "A `Host` that is not loopback, an `Origin` that is not allowed, or a proxy's header.",
    "UnknownSource": "A source system that does not exist, or that this client may not know of.",
    "NotFound": "An unknown source system, an id that it cannot have, or an appointment that it does not know.",
    "NotAcceptable": "`Accept` or `_format` asks for something other than FHIR R4 as JSON.",
    "RequestTimeout": "The body did not come in time.",
    "PreconditionFailed": "`If-Match` names another version, and the appointment is not cancelled already.",
    "ContentTooLarge": f"A body over {_LIMIT}.",
    "UnsupportedMediaType": "A body that is not said to be FHIR R4 as JSON.",
    "UnprocessableContent": "`status` absent or not R4's, a known element of a wrong JSON type, or too many members.",
    "Unavailable": "The ledger cannot be used; nothing was sent to the source system.",
    "NotSupported": "The source system cannot be read, and nothing of this appointment is recorded.",
    "SourceUnavailable": "The ledger or the source system cannot be read, and no cancellation is recorded.",
}


def body(name: str) -> dict[str, Any]:
    """The request body of this name: ``CancelRequest`` or ``Webhook``."""
    if name == "CancelRequest":
        shown = {name: {"value": value} for name, value in examples.requests().items()}
        text = f"A partial Appointment, at most {_LIMIT}. An `id` must be the path's, raw or encoded."
        content = {kind: {"schema": name, "examples": shown} for kind in _FHIR}
    else:
        text = f"JSON as the source system sends it, at most {_LIMIT}. Nothing in it is believed."
        content = {kind: {"schema": name} for kind in _JSON}
    return {"required": True, "description": text, "content": content}


def register(spec: APISpec, app: Flask) -> dict[str, str]:
    """Add everything but the schemas to the components; the status of each kind of refusal."""
    for name, (text, schema) in _HEADERS.items():
        optional = name == "X-Correlation-Id"
        header = {"description": text, "required": not optional, "schema": {**_TEXT, **schema}}
        spec.components.header(name, header)
    for name, (place, written, text, schema) in _PARAMETERS.items():
        parameter = {"name": written, "description": text, "required": place == "path", "schema": {**_TEXT, **schema}}
        spec.components.parameter(name, place, parameter)
    for name, scheme in _SECURITY.items():
        spec.components.security_scheme(name, scheme)
    for name, answer in _answers(app).items():
        spec.components.response(name, answer)
    refusals = examples.refusals(app)
    for name, errors in refusals.items():
        spec.components.response(name, _refusal(_REFUSALS[name], errors))
    failed = {"failed": of_failure()}
    spec.components.response("Failed", _response("A bug of the facade's.", "OperationOutcome", failed))
    return {name: str(next(iter(errors.values())).status) for name, errors in refusals.items()}


def another_method(allowed: Iterable[str]) -> dict[str, Any]:
    """The response of a path to a method that is not among these."""
    error = request_lifecycle.another_method(allowed)
    return _refusal("Another method; `Allow` names those of this path.", {"anotherMethod": error})


def _refusal(text: str, errors: Mapping[str, RequestError]) -> dict[str, Any]:
    """The response of errors that have their status and their headers in common."""
    outcomes = {name: of_request_error(error) for name, error in errors.items()}
    return _response(text, "OperationOutcome", outcomes, headers=next(iter(errors.values())).headers)


def _answers(app: Flask) -> dict[str, Any]:
    answered = "Cancelled on the source system's own evidence, else proposed with an OperationOutcome that says why."
    as_read = "As the source system has it now, with what is recorded of its cancellation."
    shortened = {"openapi": OPENAPI, "info": {"title": "fhir-facade", "version": "1"}, "paths": {}}
    return {
        "CancelAnswer": _response(answered, "CancelAnswer", examples.cancel_answers(), headers=["ETag"]),
        "Appointment": _response(as_read, "Appointment", examples.read_answers(), headers=["ETag"]),
        "ConceptMap": _response("The mapping in force.", "ConceptMap", {"conceptMap": examples.concept_map()}),
        "CapabilityStatement": _response("What is done.", "CapabilityStatement", {"statement": capabilities(app)}),
        "Accepted": _response("A signed hint, whether or not its appointment is known here."),
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
    """A response with these bodies as its examples; with none, one without a body."""
    response: dict[str, Any] = {"description": text, "headers": {name: name for name in (*_COMMON, *headers)}}
    if bodies:
        shown = {name: {"value": body} for name, body in bodies.items()}
        response["content"] = {kind: {"schema": schema, "examples": shown} for kind in types}
    return response
