"""Checks R4 resources before they leave: the model's structure, and what the model does not check.

``fhir.resources`` has no R4 package since 7.0; R4B's Appointment is R4's, element by element. The model
checks and never becomes what is sent: its serialiser rewrites instants.
"""

import re
from collections.abc import Mapping
from typing import Any

from fhir.resources.R4B import get_fhir_model_class
from fhir.resources.R4B.appointment import Appointment
from pydantic import ValidationError

from facade.fhir.request import STATUSES
from facade.fhir.text import clean

# http://hl7.org/fhir/R4/valueset-participationstatus.html
_PARTICIPATION = {"accepted", "declined", "tentative", "needs-action"}
# http://hl7.org/fhir/R4/valueset-participantrequired.html
_REQUIRED = {"required", "optional", "information-only"}
# http://hl7.org/fhir/R4/valueset-identifier-use.html
_IDENTIFIER_USES = {"usual", "official", "temp", "secondary", "old"}
_INTEGERS = {"priority", "minutesDuration"}
_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_MINIMAL = {
    "resourceType": "Appointment",
    "status": "proposed",
    "participant": [{"actor": {"display": "x"}, "status": "needs-action"}],
}


def model_problems(resource: Mapping[str, Any]) -> list[str]:
    """The elements of an Appointment that the R4 model rejects; never their values."""
    return _rejected(Appointment, resource)


def resource_problems(resource: Mapping[str, Any]) -> list[str]:
    """The elements of a resource of any type that its R4 model rejects; never their values."""
    try:
        model = get_fhir_model_class(str(resource.get("resourceType")))
    except ValueError:
        return ["resourceType"]
    return _rejected(model, resource)


def _rejected(model: Any, resource: Mapping[str, Any]) -> list[str]:
    try:
        model.model_validate(dict(resource))
    except ValidationError as error:
        return [".".join(str(step) for step in e["loc"]) or model.__name__ for e in error.errors()]
    except Exception:  # noqa: BLE001 - the library trips over some of what it ought to reject
        return [model.__name__]
    return []


def problems(appointment: Mapping[str, Any]) -> list[str]:
    """Everything wrong with an Appointment: structure, required value sets, ids, R4's invariants."""
    found = model_problems(appointment)
    status = appointment.get("status")
    if status not in STATUSES:
        found.append("status")
    if "id" in appointment and not (_ID.fullmatch(appointment["id"]) and appointment["id"].strip(".")):
        found.append("id")
    for position, participant in enumerate(appointment.get("participant", [])):
        if not participant_is_usable(participant):
            found.append(f"participant.{position} (app-1)")
    times = [
        ("start" in appointment or "_start" in appointment),
        ("end" in appointment or "_end" in appointment),
    ]
    if times[0] != times[1]:
        found.append("start, end (app-2)")
    if needs_times(str(status)) and not all(times):
        found.append("start, end (app-3)")
    if "cancelationReason" in appointment and status not in {"cancelled", "noshow"}:
        found.append("cancelationReason (app-4)")
    return found


def needs_times(status: str) -> bool:
    """app-3: only a proposed, cancelled or waitlisted appointment may lack start and end."""
    return status not in {"proposed", "cancelled", "waitlist"}


def participant_is_usable(participant: Any) -> bool:
    """A participant with a type or an actor (app-1) and codes of the required value sets."""
    return (
        isinstance(participant, dict)
        and bool(participant.get("actor") or participant.get("type"))
        and participant.get("status") in _PARTICIPATION
        and participant.get("required", "required") in _REQUIRED
    )


def usable_elements(native: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The elements of a native Appointment that are R4, each checked alone, and the names of the others.

    A source's one malformed element does not take the rest with it.
    """
    cleaned = {key: _cleaned(value) for key, value in native.items()}
    usable: dict[str, Any] = {}
    rejected: list[str] = []
    for name in dict.fromkeys(str(key).removeprefix("_") for key in cleaned):
        members = {key: cleaned[key] for key in (name, f"_{name}") if cleaned.get(key) is not None}
        if name in _LISTED and isinstance(members.get(name), list):
            good = [one for one in members[name] if _LISTED[name](one)]
            rejected += [name] * (len(good) < len(members[name]))
            members = {**members, name: good} if good else {}
        if not members:
            continue
        if name in _INTEGERS and type(members.get(name, 0)) is not int:
            rejected.append(name)  # the model would take "5" and true for numbers
        elif not _extensions_are_usable(members) or model_problems({**_MINIMAL, **members}):
            rejected.append(name)
        else:
            usable |= members
    return usable, rejected


def _cleaned(value: Any) -> Any:
    """The value without what FHIR's JSON does not have: null, empty arrays and objects, blank text, controls."""
    if isinstance(value, str):
        return clean(value) or None
    if isinstance(value, list):
        return [cleaned for member in value if (cleaned := _cleaned(member)) is not None] or None
    if isinstance(value, dict):
        members = {
            # Of a repeating primitive and its extensions, the nulls hold places.
            key: _cleaned_in_place(member)
            if isinstance(member, list) and (str(key).startswith("_") or f"_{key}" in value)
            else _cleaned(member)
            for key, member in value.items()
        }
        return {key: member for key, member in members.items() if member is not None} or None
    return value


def _cleaned_in_place(members: list[Any]) -> list[Any] | None:
    cleaned = [_cleaned(member) for member in members]
    return cleaned if any(member is not None for member in cleaned) else None


def _extensions_are_usable(value: Any) -> bool:
    """ext-1: an extension has a value or extensions of its own, not both and not neither."""
    if isinstance(value, list):
        return all(_extensions_are_usable(member) for member in value)
    if not isinstance(value, dict):
        return True
    for extension in [*_listed(value.get("extension")), *_listed(value.get("modifierExtension"))]:
        values = [key for key in extension if key.startswith("value")] if isinstance(extension, dict) else []
        if not isinstance(extension, dict) or ("extension" in extension) == bool(values):
            return False
    return all(_extensions_are_usable(member) for member in value.values())


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _identifier_is_usable(identifier: Any) -> bool:
    return isinstance(identifier, dict) and identifier.get("use", "usual") in _IDENTIFIER_USES


_LISTED = {"participant": participant_is_usable, "identifier": _identifier_is_usable}
