"""Validate R4 resources before they are sent: with the ``fhir.resources`` model, and beyond what the model checks.

The model only checks a resource. It never produces what is sent, because its serializer rewrites instants. It accepts
``"5"`` as a number and any text as a code, so JSON types and codes are checked here, by tables derived from it.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fhir.resources.R4B.appointment import Appointment, AppointmentParticipant
from fhir.resources.R4B.narrative import Narrative
from fhir.resources.R4B.period import Period
from fhir.resources.R4B.resource import Resource
from pydantic import ValidationError

from facade.fhir import narrative, period
from facade.fhir.appointment_status import APPOINTMENT_STATUSES
from facade.fhir.elements import Element, elements, model_of

Place = tuple[str | int, ...]

PARTICIPATION_STATUSES = elements(AppointmentParticipant)["status"].codes
"""The codes of http://hl7.org/fhir/R4/valueset-participationstatus.html."""
_MINIMAL = {
    "resourceType": "Appointment",
    "status": "proposed",
    "participant": [{"actor": {"display": "x"}, "status": "needs-action"}],
}


def find_resource_problems(resource: Mapping[str, Any]) -> list[str]:
    """Return the paths of invalid elements of a resource of any type, for example ``participant.0.status``.

    The result never contains values.
    """
    model = model_of(resource)
    if model is None:
        return ["resourceType"]
    found = [*_check_members(resource, model, ()), *_find_rejected(model, resource)]
    return [".".join(map(str, place)) or "resourceType" for place in dict.fromkeys(found)]


def find_problems(appointment: Mapping[str, Any]) -> list[str]:
    """Return every problem of an Appointment: structure, required value sets, ids, references, R4's invariants.

    Each problem is a path, followed by the invariant in parentheses if one is violated. It never contains values.
    """
    found = find_resource_problems(appointment)
    status = appointment.get("status")
    if status not in APPOINTMENT_STATUSES:
        found.append("status")
    if not str(appointment.get("id", "x")).strip("."):
        found.append("id")
    for position, participant in enumerate(appointment.get("participant", [])):
        if not participant.get("actor") and not participant.get("type"):
            found.append(f"participant.{position} (app-1)")
    times = [f"{name}" in appointment or f"_{name}" in appointment for name in ("start", "end")]
    if times[0] != times[1]:
        found.append("start, end (app-2)")
    if requires_times(str(status)) and not all(times):
        found.append("start, end (app-3)")
    if "cancelationReason" in appointment and not allows_reason(str(status)):
        found.append("cancelationReason (app-4)")
    return found


def requires_times(status: str) -> bool:
    """Return whether an appointment of this status needs start and end: all but three statuses do (app-3)."""
    return status not in {"proposed", "cancelled", "waitlist"}


def allows_reason(status: str) -> bool:
    """Return whether an appointment of this status may have a ``cancelationReason`` (app-4)."""
    return status in {"cancelled", "noshow"}


def find_json_errors(found: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the places of invalid JSON in elements of an Appointment.

    These are: a wrong JSON type, an unknown code, an extension with both a value and extensions or with neither
    (ext-1), a period that ends before it begins (per-1), and a narrative that is not plain XHTML (txt-1, txt-2).
    """
    return _check_members(found, Appointment, ())


def find_model_errors(found: Mapping[str, Any]) -> list[Place]:
    """Return the places in elements of an Appointment that the R4 model rejects."""
    places = _find_rejected(Appointment, {**_MINIMAL, **found})
    if all(places):
        return places
    # For some invalid input the library raises an error without a place, so each element is checked alone.
    alone = ({key: found[key] for key in (name, f"_{name}") if key in found} for name in found if name[0] != "_")
    return [(next(iter(one)),) for one in alone if _find_rejected(Appointment, {**_MINIMAL, **one})]


def _find_rejected(model: Any, resource: Mapping[str, Any]) -> list[Place]:
    """Return the places that the model rejects, an empty place if it does not report one."""
    try:
        model.model_validate(dict(resource))
    except ValidationError as error:
        return [e["loc"] for e in error.errors(include_url=False, include_context=False, include_input=False)]
    except Exception:  # noqa: BLE001 - the library raises any type of error for some invalid input
        return [()]
    return []


def _check_members(value: Mapping[str, Any], model: Any, path: Place) -> Iterator[Place]:
    known = elements(model)
    for name, member in value.items():
        element = known.get(name)
        if element is None or element.repeats != isinstance(member, list):
            yield (*path, name)
        elif not element.repeats:
            yield from _check_value(name, member, element, (*path, name))
        else:
            for position, one in enumerate(member):
                # In a repeating primitive and its extensions, a null keeps a position.
                if one is not None or not (name.startswith("_") or f"_{name}" in value):
                    yield from _check_value(name, one, element, (*path, name, position))


def _check_value(name: str, value: Any, element: Element, place: Place) -> Iterator[Place]:
    if element.model is None:
        if type(value) not in element.json_types or (element.codes and value not in element.codes):
            yield place
        return
    model = model_of(value) if element.model is Resource else element.model
    if not isinstance(value, dict) or model is None:
        yield place
        return
    if name in {"extension", "modifierExtension"}:
        values = {member.removeprefix("_") for member in value if member.startswith(("value", "_value"))}
        if ("extension" in value) == bool(values):
            yield place
            return
    if (model is Period and period.is_reversed(value)) or (
        model is Narrative and "div" in value and not narrative.is_plain(value["div"])
    ):
        yield place
        return
    yield from _check_members(value, model, place)
