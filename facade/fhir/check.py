"""Checks R4 resources before they leave: the model's structure, and what the model does not check.

The model checks and never becomes what is sent: its serialiser rewrites instants. It also takes ``"5"`` for a number
and any word for a code, so those are checked here, by tables derived from it.
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

PARTICIPATION = elements(AppointmentParticipant)["status"].codes
"""http://hl7.org/fhir/R4/valueset-participationstatus.html"""
_MINIMAL = {
    "resourceType": "Appointment",
    "status": "proposed",
    "participant": [{"actor": {"display": "x"}, "status": "needs-action"}],
}


def resource_problems(resource: Mapping[str, Any]) -> list[str]:
    """The places of a resource of any type that are not R4; never their values."""
    model = model_of(resource)
    if model is None:
        return ["resourceType"]
    found = [*_wrong_members(resource, model, ()), *_rejected(model, resource)]
    return [".".join(map(str, place)) or "resourceType" for place in dict.fromkeys(found)]


def problems(appointment: Mapping[str, Any]) -> list[str]:
    """Everything wrong with an Appointment: structure, required value sets, ids, references, R4's invariants."""
    found = resource_problems(appointment)
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
    if needs_times(str(status)) and not all(times):
        found.append("start, end (app-3)")
    if "cancelationReason" in appointment and not may_have_a_reason(str(status)):
        found.append("cancelationReason (app-4)")
    return found


def needs_times(status: str) -> bool:
    """app-3: only a proposed, cancelled or waitlisted appointment may lack start and end."""
    return status not in {"proposed", "cancelled", "waitlist"}


def may_have_a_reason(status: str) -> bool:
    """app-4: only a cancelled appointment and a no-show have a cancelation reason."""
    return status in {"cancelled", "noshow"}


def wrong_json(found: Mapping[str, Any]) -> Iterator[Place]:
    """The places in some elements of an Appointment that have a wrong JSON type, a code that does not exist, an
    extension with both a value and extensions, or neither (ext-1), a period that ends before it begins (per-1), or a
    narrative that is not plain XHTML (txt-1, txt-2).
    """
    return _wrong_members(found, Appointment, ())


def wrong_for_the_model(found: Mapping[str, Any]) -> list[Place]:
    """The places in some elements of an Appointment that the R4 model rejects."""
    places = _rejected(Appointment, {**_MINIMAL, **found})
    if all(places):
        return places
    # The library trips over some of what it ought to reject, and then does not say over what.
    alone = ({key: found[key] for key in (name, f"_{name}") if key in found} for name in found if name[0] != "_")
    return [(next(iter(one)),) for one in alone if _rejected(Appointment, {**_MINIMAL, **one})]


def _rejected(model: Any, resource: Mapping[str, Any]) -> list[Place]:
    """The places that the model rejects; an empty place where it does not say which."""
    try:
        model.model_validate(dict(resource))
    except ValidationError as error:
        return [e["loc"] for e in error.errors(include_url=False, include_context=False, include_input=False)]
    except Exception:  # noqa: BLE001 - whatever it is, the resource was not accepted
        return [()]
    return []


def _wrong_members(value: Mapping[str, Any], model: Any, path: Place) -> Iterator[Place]:
    known = elements(model)
    for name, member in value.items():
        element = known.get(name)
        if element is None or element.repeats != isinstance(member, list):
            yield (*path, name)
        elif not element.repeats:
            yield from _wrong_value(name, member, element, (*path, name))
        else:
            for position, one in enumerate(member):
                # In a repeating primitive and its extensions, a null holds a place.
                if one is not None or not (name.startswith("_") or f"_{name}" in value):
                    yield from _wrong_value(name, one, element, (*path, name, position))


def _wrong_value(name: str, value: Any, element: Element, place: Place) -> Iterator[Place]:
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
    if (model is Period and period.is_backward(value)) or (
        model is Narrative and "div" in value and not narrative.is_plain(value["div"])
    ):
        yield place
        return
    yield from _wrong_members(value, model, place)
