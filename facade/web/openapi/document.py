"""The OpenAPI 3.1 document of one application: its routes, and what each takes and answers."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask
from werkzeug.routing import Rule

from facade.app import Facade
from facade.web.openapi import components, schemas

_ABOUT = """\
Cancels appointments in their source systems, with at most one native call each.

`cancelled` is said only on the source system's own evidence; everything else that was understood is `proposed`, with a
contained OperationOutcome that says why. A repeat is the same wish. Every error is an OperationOutcome. A source system
that does not exist and one that the client may not know of are told the same.
"""


@dataclass(frozen=True, kw_only=True)
class _Operation:
    """What a view's signature does not tell; answer, refusals, parameters, body and security are components' names."""

    tag: str
    answer: str
    status: str = "200"
    refusals: Iterable[str] = ()
    parameters: Iterable[str] = ()
    body: str = ""
    security: str = ""


_CANCEL = _Operation(
    tag="Appointment",
    answer="CancelAnswer",
    refusals=(
        "BadRequest Unauthenticated Forbidden NotFound NotAcceptable RequestTimeout PreconditionFailed "
        "ContentTooLarge UnsupportedMediaType UnprocessableContent Unavailable"
    ).split(),
    parameters="format ifMatch".split(),
    body="CancelRequest",
    security="bearer",
)
_READ = _Operation(
    tag="Appointment",
    answer="Appointment",
    refusals="Unauthenticated Forbidden NotFound NotAcceptable NotSupported SourceUnavailable".split(),
    parameters=["format"],
    security="bearer",
)
_OPERATIONS = {
    "fhir.cancel": _CANCEL,
    "fhir.cancel_in_single_source": _CANCEL,
    "fhir.read": _READ,
    "fhir.read_in_single_source": _READ,
    "fhir.concept_map": _Operation(
        tag="Appointment",
        answer="ConceptMap",
        refusals="Unauthenticated UnknownSource NotAcceptable".split(),
        parameters=["format"],
        security="bearer",
    ),
    "webhooks.receive": _Operation(
        tag="Webhook",
        answer="Accepted",
        status="202",
        refusals="UnreadableWebhook UnsignedWebhook RequestTimeout ContentTooLarge Unavailable".split(),
        body="Webhook",
        security="webhookSignature",
    ),
    "fhir.metadata": _Operation(
        tag="Facade", answer="CapabilityStatement", refusals=["NotAcceptable"], parameters=["format"]
    ),
    "openapi.description": _Operation(tag="Facade", answer="Description"),
    "health.live": _Operation(tag="Facade", answer="Live"),
    "health.ready": _Operation(tag="Facade", answer="Ready", refusals=["Unavailable"]),
}
FOR_PEOPLE = {"openapi.docs", "openapi.docs_page", "openapi.docs_file"}
"""Endpoints that serve pages, and are not described."""

_SINGLE_SOURCE = {"fhir.cancel_in_single_source", "fhir.read_in_single_source"}
_METHODS = ("get", "post")
_PARAMETERS = {"source_system": "sourceSystem", "appointment_id": "id"}


def describe(app: Flask) -> dict[str, Any]:
    """The document for this application when all its routes are registered. It names no source system."""
    facade: Facade = app.extensions["facade"]
    marshmallow = MarshmallowPlugin()
    spec = APISpec(
        title="fhir-facade",
        version=version("fhir-facade"),
        openapi_version=components.OPENAPI,
        info={"description": _ABOUT},
        plugins=[marshmallow],
        servers=[{"url": "/"}],
        tags=[{"name": "Appointment"}, {"name": "Webhook"}, {"name": "Facade"}],
    )
    schemas.register(spec, marshmallow)
    statuses = components.register(spec, app)
    left_out = FOR_PEOPLE if facade.single_source is not None else FOR_PEOPLE | _SINGLE_SOURCE
    paths: dict[str, list[Rule]] = defaultdict(list)
    for rule in app.url_map.iter_rules():
        if rule.endpoint not in left_out:
            paths[rule.rule].append(rule)
    for template, rules in paths.items():
        methods = {method for rule in rules for method in rule.methods or ()}
        shared = {"405": components.another_method(methods), "500": "Failed"}
        if facade.config.auth_mode == "none":
            shared["403"] = "NotLocal"  # its one client may do everything
        operations: dict[str, Any] = {}
        for rule in rules:
            operation = _OPERATIONS[rule.endpoint]
            responses = {operation.status: operation.answer} | {statuses[name]: name for name in operation.refusals}
            described = _described(app, rule, operation, {**responses, **shared})
            operations |= {method: described for method in _METHODS if method.upper() in (rule.methods or ())}
        path = re.sub(r"<(\w+)>", lambda match: f"{{{_PARAMETERS[match[1]]}}}", template)
        spec.path(path, operations=operations)
    return spec.to_dict()


def _described(app: Flask, rule: Rule, operation: _Operation, responses: Mapping[str, Any]) -> dict[str, Any]:
    view = app.view_functions[rule.endpoint]
    in_path = [name for argument, name in _PARAMETERS.items() if argument in rule.arguments]
    described: dict[str, Any] = {
        "operationId": view.__name__,
        "summary": (view.__doc__ or "").partition("\n")[0].rstrip("."),
        "tags": [operation.tag],
        "parameters": [*in_path, *operation.parameters, "requestId", "correlationId"],
        "responses": dict(sorted(responses.items())),
        "security": [],
    }
    if operation.body:
        described["requestBody"] = components.body(operation.body)
    # Without keys there is nothing to send, and a client that asks for one would only irritate.
    if operation.security and (operation.security != "bearer" or app.extensions["facade"].config.auth_mode != "none"):
        described["security"] = [{operation.security: []}]
    return described
