"""Derive the JSON type, the cardinality and the codes of each R4 element from the models of ``fhir.resources``.

``fhir.resources`` has no R4 package since 7.0; R4B's Appointment is R4's, element by element.
"""

import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from fhir_core.types import FhirBase

_NUMBERS = {bool: (bool,), int: (int,), Decimal: (int, float)}


@dataclass(frozen=True)
class Element:
    """One element of an R4 type.

    ``repeats``: its JSON value is an array. ``json_types`` are the Python types of a primitive's JSON value, empty for
    a complex element. ``model`` is the model class of a complex element. ``codes`` are the codes of a required value
    set, empty if any value is allowed.
    """

    repeats: bool
    json_types: tuple[type, ...] = ()
    model: Any = None
    codes: frozenset[str] = frozenset()


def model_of(resource: Any) -> Any:
    """Return the model class of a resource's type; None for a value that is not an R4 resource."""
    kind = resource.get("resourceType") if isinstance(resource, dict) else None
    try:
        return get_fhir_model_class(kind) if isinstance(kind, str) else None
    except (KeyError, ValueError):
        return None


@cache
def elements(model: Any) -> Mapping[str, Element]:
    """Return a type's elements by name, including ``resourceType`` and the extensions of primitives (``_name``)."""
    found = {name: _element(field) for name, field in _fields(model)}
    return {**found, "resourceType": Element(False, (str,))} if hasattr(model, "get_resource_type") else found


def _fields(model: Any) -> list[tuple[str, Any]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items() if name != "fhir_comments"]


def _element(field: Any) -> Element:
    kind, repeats = _unwrap(field.annotation)
    facts = field.json_schema_extra if isinstance(field.json_schema_extra, Mapping) else {}
    codes = frozenset(facts.get("enum_values") or ())
    if "mime" in codes:
        codes = frozenset()  # CapabilityStatement.format: the models list example MIME types, and R4 allows any
    if isinstance(kind, type) and issubclass(kind, FhirBase):
        return Element(repeats, model=kind.get_model_klass())
    return Element(repeats, next((found for base, found in _NUMBERS.items() if kind is base), (str,)), codes=codes)


def _unwrap(annotation: Any) -> tuple[Any, bool]:
    """Remove Optional, List and Annotated; return the type of one value, and whether the element repeats."""
    repeats = False
    while True:
        origin, inside = typing.get_origin(annotation), typing.get_args(annotation)
        if origin in (typing.Union, types.UnionType):
            annotation = next(kind for kind in inside if kind is not type(None))
        elif origin is list:
            annotation, repeats = inside[0], True
        elif hasattr(annotation, "__metadata__"):
            annotation = annotation.__origin__
        else:
            return annotation, repeats
