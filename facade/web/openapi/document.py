"""Builds the OpenAPI 3.1 document of one application from the declarations of its operations."""

from collections import defaultdict
from collections.abc import Mapping
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from flask import Flask

from facade.web.openapi import components, schemas
from facade.web.operation import Operation

if TYPE_CHECKING:
    from facade.app import Facade

_ABOUT = """\
Cancels appointments in their source systems. No second native call is made while the first may have been executed.

An Appointment is `cancelled` only when the source system itself proves it. Every other valid request returns
`proposed`, with a contained OperationOutcome that states the cause. A repeated request does not cancel twice. Every
error is an OperationOutcome. The responses for a source system that does not exist and for one that the client may not
reach are the same.
"""


def describe(app: Flask) -> dict[str, Any]:
    """Return the document of this application. It names no configured source."""
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
    paths: dict[str, list[Operation]] = defaultdict(list)
    for operation in app.extensions["facade_operations"].values():
        if operation.documented and (facade.single_source is not None or not operation.single_source):
            paths[operation.under(facade.config.base_path) + operation.path].append(operation)
    for path, operations in paths.items():
        methods = frozenset[str]().union(*(operation.methods for operation in operations))
        shared = {"405": components.method_not_allowed(methods), "500": "Failed"}
        if facade.authenticator.forbidden_response is not None:
            # It replaces the operation's own 403: the one client of such a mode may use every operation.
            shared["403"] = facade.authenticator.forbidden_response[0]
        described = {}
        for operation in operations:
            responses = {str(operation.status): operation.response}
            responses |= {statuses[name]: name for name in _errors(operation)}
            described[operation.method.lower()] = _described(app, operation, {**responses, **shared})
        spec.path(path, operations=described)
    return spec.to_dict()


def _errors(operation: Operation) -> list[str]:
    """Return the names of the error responses: what follows from the declaration, then what it names."""
    errors = ["Unauthenticated"] if operation.credentials == "client" else []
    errors += ["Forbidden"] if operation.requires is not None else []
    return [*errors, *operation.errors]


def _described(app: Flask, operation: Operation, responses: Mapping[str, Any]) -> dict[str, Any]:
    facade: Facade = app.extensions["facade"]
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "tags": [operation.tag],
        "parameters": [*operation.path_parameters, *operation.parameters, "requestId", "correlationId"],
        "responses": dict(sorted(responses.items())),
        "security": [],
    }
    if operation.body:
        described["requestBody"] = components.body(operation.body)
    # Without authentication there are no schemes: a client that asks its user for a key would only confuse.
    if operation.credentials == "client":
        described["security"] = [{name: []} for name in facade.authenticator.security_schemes]
    elif operation.credentials == "signature":
        described["security"] = [{components.SIGNATURE: []}]
    return described
