"""Takes out of a source's Appointment what R4 does not allow: the least that makes the rest valid.

A place is the way to a value: names of elements and positions in lists.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from facade.fhir import check
from facade.fhir.text import clean

Place = tuple[str | int, ...]

# What one round takes out may show what was hidden: an extension that has lost its value, for example.
_ROUNDS = 8
_MODIFIERS = ("modifierExtension", "implicitRules")


def usable_elements(native: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The elements of a native Appointment without what is not R4, and the names of those that lost something.

    A wrong member of a list is taken out and its neighbours stay. A participant stays a participant: without a usable
    status its status is ``needs-action``.
    """
    kept: dict[str, Any] = _cleaned(dict(native)) or {}
    lost = _with_a_status(kept.get("participant"))
    for _ in range(_ROUNDS):
        places = list(dict.fromkeys(_wrong_places(kept)))
        if not places:
            break
        lost += [str(place[0]).removeprefix("_") for place in places]
        # From the end of each list, so that the positions before it stay true.
        for place in sorted(places, key=lambda place: [(isinstance(step, int), step) for step in place], reverse=True):
            _take_out(kept, place)
        kept = _cleaned(kept) or {}
    else:
        for name in {str(place[0]).removeprefix("_") for place in _wrong_places(kept)}:
            lost.append(name)
            kept.pop(name, None)
            kept.pop(f"_{name}", None)
    return kept, list(dict.fromkeys(lost))


def _with_a_status(participants: Any) -> list[str]:
    """Settle each participant's status in place; whether there was one to settle."""
    lost = []
    for participant in participants if isinstance(participants, list) else ():
        if isinstance(participant, dict) and participant.get("status") not in check.PARTICIPATION:
            if "status" in participant:
                lost = ["participant"]
            participant["status"] = "needs-action"
            participant.pop("_status", None)
    return lost


def _wrong_places(elements: Mapping[str, Any]) -> Iterator[Place]:
    yield from (wrong := list(check.wrong_json(elements)))
    if not wrong:
        yield from check.wrong_for_the_model(elements)
    for name, value in elements.items():
        for position, member in enumerate(value if isinstance(value, list) else ()):
            yield from _modified(member, (name, position))


def _modified(value: Any, place: Place) -> Iterator[Place]:
    """What a modifier that no one understands is about is not shown as if it were understood."""
    if isinstance(value, dict) and any(modifier in value for modifier in _MODIFIERS):
        yield place
    elif isinstance(value, (dict, list)):
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(member, (dict, list)):
                yield from _modified(member, (*place, step))


def _take_out(root: Any, place: Place) -> None:
    """Remove the value at this place; where a required element is missing there, what lacks it."""
    parents = [root]
    for step in place[:-1]:
        try:
            parents.append(parents[-1][step])
        except (KeyError, IndexError, TypeError):
            return  # gone already, with something around it
    parent, step = parents[-1], place[-1]
    if isinstance(parent, list) and isinstance(step, int) and step < len(parent):
        del parent[step]
        _take_out_beside(parents, place, step)
    elif isinstance(parent, dict) and step in parent:
        del parent[step]
    elif len(place) > 1:
        _take_out(root, place[:-1])


def _take_out_beside(parents: list[Any], place: Place, position: int) -> None:
    """A repeating primitive and its extensions are two lists whose positions belong together."""
    if len(parents) < 2 or not isinstance(parents[-2], dict):
        return
    name = str(place[-2])
    beside = parents[-2].get(name.removeprefix("_") if name.startswith("_") else f"_{name}")
    if isinstance(beside, list) and position < len(beside):
        del beside[position]


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
