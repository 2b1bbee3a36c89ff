"""Remove from a source's Appointment what R4 does not allow, and as little else as possible.

A place is the path to a value: names of elements and positions in lists.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from facade.fhir import validation
from facade.fhir.strings import strip_controls

Place = tuple[str | int, ...]

# Each removal can make something else invalid, for example an extension that has lost its value.
_ROUNDS = 8
_MODIFIERS = ("modifierExtension", "implicitRules")


def remove_invalid(native: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the valid elements of a native Appointment, and the names of the elements that lost something.

    ``native`` is plain JSON and is not changed. An invalid member of a list is removed and the others stay. A
    participant without a valid status gets the status ``needs-action``.
    """
    kept: dict[str, Any] = _clean(dict(native)) or {}
    lost = _set_participant_statuses(kept.get("participant"))
    for _ in range(_ROUNDS):
        places = list(dict.fromkeys(_find_invalid(kept)))
        if not places:
            break
        lost += [str(place[0]).removeprefix("_") for place in places]
        # Remove from the end of each list, so that earlier positions stay correct.
        for place in sorted(places, key=lambda place: [(isinstance(step, int), step) for step in place], reverse=True):
            _remove(kept, place)
        kept = _clean(kept) or {}
    else:
        for name in {str(place[0]).removeprefix("_") for place in _find_invalid(kept)}:
            lost.append(name)
            kept.pop(name, None)
            kept.pop(f"_{name}", None)
    return kept, list(dict.fromkeys(lost))


def _set_participant_statuses(participants: Any) -> list[str]:
    """Set a missing or invalid status to ``needs-action``, in place; return ["participant"] if one was invalid."""
    lost = []
    for participant in participants if isinstance(participants, list) else ():
        if isinstance(participant, dict) and participant.get("status") not in validation.PARTICIPATION_STATUSES:
            if "status" in participant:
                lost = ["participant"]
            participant["status"] = "needs-action"
            participant.pop("_status", None)
    return lost


def _find_invalid(elements: Mapping[str, Any]) -> Iterator[Place]:
    yield from (wrong := list(validation.find_json_errors(elements)))
    if not wrong:
        yield from validation.find_model_errors(elements)
    for name, value in elements.items():
        for position, member in enumerate(value if isinstance(value, list) else ()):
            yield from _find_modified(member, (name, position))


def _find_modified(value: Any, place: Place) -> Iterator[Place]:
    """Yield the places of values with a modifier: an unknown modifier may negate what it modifies."""
    if isinstance(value, dict) and any(modifier in value for modifier in _MODIFIERS):
        yield place
    elif isinstance(value, (dict, list)):
        for step, member in value.items() if isinstance(value, dict) else enumerate(value):
            if isinstance(member, (dict, list)):
                yield from _find_modified(member, (*place, step))


def _remove(root: Any, place: Place) -> None:
    """Remove the value at this place. If the place is a missing required element, remove its parent."""
    parents = [root]
    for step in place[:-1]:
        try:
            parents.append(parents[-1][step])
        except (KeyError, IndexError, TypeError):
            return  # removed already, together with a parent
    parent, step = parents[-1], place[-1]
    if isinstance(parent, list) and isinstance(step, int) and step < len(parent):
        del parent[step]
        _remove_parallel(parents, place, step)
    elif isinstance(parent, dict) and step in parent:
        del parent[step]
    elif len(place) > 1:
        _remove(root, place[:-1])


def _remove_parallel(parents: list[Any], place: Place, position: int) -> None:
    """Remove the same position from the parallel list: a repeating primitive has its extensions in ``_name``."""
    if len(parents) < 2 or not isinstance(parents[-2], dict):
        return
    name = str(place[-2])
    beside = parents[-2].get(name.removeprefix("_") if name.startswith("_") else f"_{name}")
    if isinstance(beside, list) and position < len(beside):
        del beside[position]


def _clean(value: Any) -> Any:
    """Remove what FHIR's JSON does not allow: null, empty arrays and objects, blank text, control characters."""
    if isinstance(value, str):
        return strip_controls(value) or None
    if isinstance(value, list):
        return [cleaned for member in value if (cleaned := _clean(member)) is not None] or None
    if isinstance(value, dict):
        members = {
            # In a repeating primitive and its extensions, a null keeps a position.
            key: _clean_keeping_positions(member)
            if isinstance(member, list) and (str(key).startswith("_") or f"_{key}" in value)
            else _clean(member)
            for key, member in value.items()
        }
        return {key: member for key, member in members.items() if member is not None} or None
    return value


def _clean_keeping_positions(members: list[Any]) -> list[Any] | None:
    cleaned = [_clean(member) for member in members]
    return cleaned if any(member is not None for member in cleaned) else None
