"""JSON Schemas: the cancel request from its marshmallow schema, the responses from what the facade promises."""

from collections.abc import Iterable
from typing import Any

from apispec import APISpec
from apispec.ext.marshmallow import MarshmallowPlugin
from marshmallow import fields

from facade.fhir.appointment import REQUIRED_ELEMENTS
from facade.fhir.appointment_status import APPOINTMENT_STATUSES
from facade.fhir.request import CancelRequestSchema, TypedField

_JSON_TYPES = {str: "string", int: "integer", bool: "boolean", dict: "object"}
_TEXT = {"type": "string", "minLength": 1}


def register(spec: APISpec, marshmallow: MarshmallowPlugin) -> None:
    """Add every schema to the components. ``marshmallow`` is the spec's own plugin."""
    assert marshmallow.converter is not None  # noqa: S101 - the spec has set it
    marshmallow.converter.add_attribute_function(_json_type)  # type: ignore[no-untyped-call]  # apispec's own
    spec.components.schema("CancelRequest", schema=CancelRequestSchema)
    request = spec.components.schemas["CancelRequest"]
    # The function that parses a request checks these, because they decide between 400 and 422.
    request["required"] = ["resourceType", "status"]
    request["properties"] |= {"resourceType": {"const": "Appointment"}, "status": {"enum": list(APPOINTMENT_STATUSES)}}
    spec.components.schema("CancelResponse", _appointment(["cancelled", "proposed"]))
    spec.components.schema("Appointment", _appointment(APPOINTMENT_STATUSES))
    spec.components.schema("OperationOutcome", _resource("OperationOutcome", {"issue": _listed(_ISSUE)}))
    spec.components.schema("ConceptMap", _resource("ConceptMap", {"id": _TEXT, "status": _TEXT, "group": _listed({})}))
    capabilities = {"status": _TEXT, "fhirVersion": {"const": "4.0.1"}, "rest": _listed({})}
    spec.components.schema("CapabilityStatement", _resource("CapabilityStatement", capabilities))
    spec.components.schema("Health", {"type": "object", "required": ["status"], "properties": {"status": _TEXT}})
    spec.components.schema("OpenAPI", {"type": "object", "required": ["openapi", "info", "paths", "components"]})
    spec.components.schema("Webhook", {"description": "Any JSON that the source system sends."})


def _json_type(_: Any, field: fields.Field[Any], **__: Any) -> dict[str, Any]:
    """Return the type of a field that accepts one JSON type, or null."""
    return {"type": [_JSON_TYPES[field.kind], "null"]} if isinstance(field, TypedField) else {}


def _appointment(statuses: Iterable[str]) -> dict[str, Any]:
    """Return the elements that a scheduler needs to map a response; every other R4 element may be present too."""
    version = {"type": "object", "required": ["versionId"], "properties": {"versionId": {"pattern": "^[0-9]+$"}}}
    identified = {"required": ["system", "value"], "properties": {"system": _TEXT, "value": _TEXT}}
    # The source system's name and the native id; the source system may have given other identifiers.
    identifiers = {**_listed({}), "contains": identified, "minContains": 2}
    required = {name: {"type": "object"} if name == "appointmentType" else _listed({}) for name in REQUIRED_ELEMENTS}
    participant = {"type": "object", "required": ["status"], "anyOf": [{"required": ["actor"]}, {"required": ["type"]}]}
    return _resource(
        "Appointment",
        {
            "id": {"type": "string", "pattern": r"^[A-Za-z0-9\-.]{1,64}$"},
            "meta": version,
            "identifier": identifiers,
            "status": {"enum": list(statuses)},
            **dict(sorted(required.items())),
            "participant": _listed(participant),
        },
    )


def _resource(kind: str, elements: dict[str, Any]) -> dict[str, Any]:
    properties = {"resourceType": {"const": kind}, **elements}
    return {"type": "object", "required": list(properties), "properties": properties}


def _listed(item: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": {"type": "object", **item}}


_ISSUE = {
    "required": ["severity", "code", "details"],
    "properties": {
        "severity": {"enum": ["error", "warning"]},
        "code": _TEXT,
        "details": {"type": "object", "required": ["text"], "properties": {"text": _TEXT}},
    },
}
