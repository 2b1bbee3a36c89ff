"""An independent check of R4: the model of ``fhir.resources``, and the rules of R4 that the model does not check.

It shares no code with the facade's check of its own responses. The model accepts ``"5"`` as a number and any word as a
code, and allows empty objects. R4B's model equals R4's for the resources that a facade returns.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from pydantic import BaseModel, ValidationError

from facade.verify import narrative
from facade.verify.hl7 import FHIR_ID

Place = tuple[str | int, ...]


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


ISSUE_TYPES = _words(
    "invalid structure required value invariant security login unknown expired forbidden suppressed processing "
    "not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly "
    "business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational"
)
"""http://hl7.org/fhir/R4/valueset-issue-type.html"""
_PUBLICATION = _words("draft active retired unknown")
# Required bindings of the elements in a facade's responses, by the model's class and the element.
_CODES: Mapping[tuple[str, str], frozenset[str]] = {
    ("Appointment", "status"): _words(
        "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in waitlist"
    ),
    ("AppointmentParticipant", "status"): _words("accepted declined tentative needs-action"),
    ("AppointmentParticipant", "required"): _words("required optional information-only"),
    ("Identifier", "use"): _words("usual official temp secondary old"),
    ("HumanName", "use"): _words("usual official temp nickname anonymous old maiden"),
    ("ContactPoint", "system"): _words("phone fax email pager url sms other"),
    ("ContactPoint", "use"): _words("home work temp old mobile"),
    ("Address", "use"): _words("home work temp old billing"),
    ("Narrative", "status"): _words("generated extensions additional empty"),
    ("OperationOutcomeIssue", "severity"): _words("fatal error warning information"),
    ("OperationOutcomeIssue", "code"): ISSUE_TYPES,
    ("ConceptMap", "status"): _PUBLICATION,
    ("ConceptMapGroupElementTarget", "equivalence"): _words(
        "relatedto equivalent equal wider subsumes narrower specializes inexact unmatched disjoint"
    ),
    ("ConceptMapGroupUnmapped", "mode"): _words("provided fixed other-map"),
    ("CapabilityStatement", "status"): _PUBLICATION,
    ("CapabilityStatement", "kind"): _words("instance capability requirements"),
    ("CapabilityStatement", "fhirVersion"): _words(
        "0.01 0.05 0.06 0.11 0.0.80 0.0.81 0.0.82 0.4.0 0.5.0 1.0.0 1.0.1 1.0.2 1.1.0 1.4.0 1.6.0 1.8.0 3.0.0 3.0.1 "
        "3.3.0 3.5.0 4.0.0 4.0.1"
    ),
    ("CapabilityStatementRest", "mode"): _words("client server"),
    ("CapabilityStatementRestResource", "versioning"): _words("no-version versioned versioned-update"),
    ("CapabilityStatementRestResourceInteraction", "code"): _words(
        "read vread update patch delete history-instance history-type create search-type"
    ),
}


def problems(resource: Mapping[str, Any]) -> list[str]:
    """Return the places of a resource that are not valid R4, without values and without an Appointment's invariants."""
    kind = resource.get("resourceType")
    try:
        parsed = get_fhir_model_class(kind).model_validate(dict(resource))
    except ValidationError as error:
        return [_path(e["loc"]) for e in error.errors(include_url=False, include_context=False, include_input=False)]
    except Exception:  # noqa: BLE001 - the library may raise anything for an unknown resource type
        return ["resourceType"]
    again = json.loads(parsed.model_dump_json(by_alias=True, exclude_none=True))
    found = [*_other_types(resource, again, ()), *_empty(resource, ()), *_wrong_codes(parsed, resource, ())]
    found += [*_wrong_extensions(resource, ()), *_wrong_references(resource)]
    found += [*_wrong_contained(resource), *_wrong_types(parsed, resource, ())]
    if kind == "CapabilityStatement":
        found += _wrong_statement(resource)
    return list(dict.fromkeys(map(_path, found)))


def broken_invariants(appointment: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each of R4's invariants that an Appointment breaks, and the place."""
    for number, participant in enumerate(appointment.get("participant", [])):
        if not (participant.get("type") or participant.get("actor")):
            yield "app-1", f"participant.{number}"
    there = [name in appointment or f"_{name}" in appointment for name in ("start", "end")]
    if there[0] is not there[1]:
        yield "app-2", "start, end"
    status = appointment.get("status")
    if not all(there) and status not in ("proposed", "cancelled", "waitlist"):
        yield "app-3", "start, end"
    if "cancelationReason" in appointment and status not in ("cancelled", "noshow"):
        yield "app-4", "cancelationReason"


def _path(place: Place) -> str:
    return ".".join(map(str, place)) or "resourceType"


def _other_types(value: Any, again: Any, place: Place) -> Iterator[Place]:
    """Yield the places where the model reads another JSON type than was written, for example a number in quotes."""
    if isinstance(value, dict) and isinstance(again, dict):
        for name in value.keys() & again.keys():
            yield from _other_types(value[name], again[name], (*place, name))
    elif isinstance(value, list) and isinstance(again, list):
        if len(value) == len(again):
            for number, pair in enumerate(zip(value, again, strict=True)):
                yield from _other_types(*pair, (*place, number))
    elif _json_type(value) != _json_type(again):
        yield place


def _json_type(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number"
    return type(value).__name__


def _empty(value: Any, place: Place) -> Iterator[Place]:
    """Check ele-1 and http://hl7.org/fhir/R4/json.html: no empty texts, arrays or objects; null only in arrays."""
    if value in ("", [], {}):
        yield place
    elif isinstance(value, dict):
        for name, member in value.items():
            if member is None:
                yield (*place, name)
            yield from _empty(member, (*place, name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _empty(member, (*place, number))


def _wrong_codes(parsed: BaseModel, value: Any, place: Place) -> Iterator[Place]:
    """Check the required value sets, by the model's class for each element."""
    for name, field in type(parsed).model_fields.items():
        written = field.alias or name
        member, inside = (value.get(written) if isinstance(value, dict) else None), getattr(parsed, name, None)
        codes = _CODES.get((type(parsed).__name__, written))
        if codes is not None and member is not None and member not in codes:
            yield (*place, written)
        if isinstance(inside, BaseModel):
            yield from _wrong_codes(inside, member, (*place, written))
        elif isinstance(inside, list) and isinstance(member, list):
            for number, (one, its) in enumerate(zip(inside, member, strict=False)):
                if isinstance(one, BaseModel):
                    yield from _wrong_codes(one, its, (*place, written, number))


def _wrong_extensions(value: Any, place: Place) -> Iterator[Place]:
    """Check ext-1: an extension has either a value or extensions."""
    if isinstance(value, dict):
        for name, member in value.items():
            if name in {"extension", "modifierExtension"} and isinstance(member, list):
                for number, one in enumerate(member):
                    has_value = any(key.lstrip("_").startswith("value") for key in one)
                    if has_value is ("extension" in one):
                        yield (*place, name, number)
            yield from _wrong_extensions(member, (*place, name))
    elif isinstance(value, list):
        for number, member in enumerate(value):
            yield from _wrong_extensions(member, (*place, number))


def _wrong_references(resource: Mapping[str, Any]) -> Iterator[Place]:
    """Check ref-1: a ``#`` reference names a contained resource. A relative reference ends in an id."""
    contained = [one for one in resource.get("contained", []) if isinstance(one, dict)]
    known = {"#", *(f"#{one.get('id')}" for one in contained)}
    for place, reference in _references(resource, ()):
        kind, _, rest = reference.partition("/")
        ids = rest.split("/_history/")
        relative = kind.isalpha() and kind[:1].isupper() and rest != ""
        if (reference.startswith("#") and reference not in known) or (
            relative and not all(map(FHIR_ID.fullmatch, ids))
        ):
            yield place


def _wrong_contained(resource: Mapping[str, Any]) -> Iterator[Place]:
    """Check dom-2: a contained resource contains no other. dom-4, dom-5: it has no version and no security label.

    Also check that its id is unique, because a reference to it would be ambiguous.
    """
    ids: set[Any] = set()
    for number, one in enumerate(one for one in resource.get("contained", []) if isinstance(one, dict)):
        if "contained" in one:
            yield ("contained", number, "contained")
        for name in ("versionId", "lastUpdated", "security"):
            if name in one.get("meta", {}):
                yield ("contained", number, "meta", name)
        if one.get("id") in ids:
            yield ("contained", number, "id")
        ids.add(one.get("id"))


def _wrong_types(parsed: BaseModel, value: Any, place: Place) -> Iterator[Place]:
    """Check per-1, txt-1 and txt-2 wherever the model has such a type."""
    if not isinstance(value, dict):
        return
    kind = type(parsed).__name__
    if kind == "Period" and narrative.ends_before_it_starts(value):
        yield place
    if kind == "Narrative" and not narrative.is_allowed(value.get("div")):
        yield (*place, "div")
    for name, field in type(parsed).model_fields.items():
        written = field.alias or name
        inside, member = getattr(parsed, name, None), value.get(written)
        if isinstance(inside, BaseModel):
            yield from _wrong_types(inside, member, (*place, written))
        elif isinstance(inside, list) and isinstance(member, list):
            for number, (one, its) in enumerate(zip(inside, member, strict=False)):
                if isinstance(one, BaseModel):
                    yield from _wrong_types(one, its, (*place, written, number))


def _references(value: Any, place: Place) -> Iterator[tuple[Place, str]]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield (*place, "reference"), value["reference"]
        value = value.items()
    elif isinstance(value, list):
        value = enumerate(value)
    else:
        return
    for name, member in value:
        yield from _references(member, (*place, name))


def _wrong_statement(statement: Mapping[str, Any]) -> Iterator[Place]:
    """Check cpb-1, cpb-2, cpb-9 and cpb-14: http://hl7.org/fhir/R4/capabilitystatement.html"""
    if not any(name in statement for name in ("rest", "messaging", "document")):
        yield ("rest",)
    if not any(name in statement for name in ("description", "software", "implementation")):
        yield ("software",)
    if statement.get("kind") == "instance" and "implementation" not in statement:
        yield ("implementation",)
    for number, rest in enumerate(statement.get("rest", [])):
        types = [resource.get("type") for resource in rest.get("resource", [])]
        if len(types) != len(set(types)):
            yield ("rest", number, "resource")
