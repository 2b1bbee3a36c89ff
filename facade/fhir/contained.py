"""Contained resources: which of a source's may be shown, and what becomes of the references to the others."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from facade.fhir import data_absent, labels, sanitize, text

_OF_A_VERSION = {"versionId", "lastUpdated"}


def usable(contained: Any) -> tuple[Any, bool]:
    """The contained resources that may be shown, still to be cleaned, and whether that is less than there was.

    A resource that would lose a security label is not shown at all: its labels say who may see it. Neither are two of
    one id: a reference to them may mean either, and the wrong patient is worse than none. What one contains itself goes
    (dom-2), and so does its version (dom-4): it has none but that of the whole.
    """
    if not isinstance(contained, list):
        return contained, False
    kept = [_alone(resource) for resource in contained]
    times = Counter(map(_id, kept))
    kept = [one for one in kept if _id(one) is None or times[_id(one)] == 1]
    kept = [one for one in kept if all(map(_keeps_labels, _metas(one)))]
    return kept, kept != contained


def _id(resource: Any) -> str | None:
    """As it will be when it is cleaned."""
    found = resource.get("id") if isinstance(resource, dict) else None
    return text.clean(found) if isinstance(found, str) else None


def _alone(resource: Any) -> Any:
    if not isinstance(resource, dict):
        return resource
    resource = {name: member for name, member in resource.items() if name != "contained"}
    if isinstance(meta := resource.get("meta"), dict):
        resource["meta"] = {name: member for name, member in meta.items() if name.lstrip("_") not in _OF_A_VERSION}
    return resource


def _keeps_labels(meta: Any) -> bool:
    if not labels.may_have(meta):
        return True
    cleaned, _ = sanitize.usable_elements({"meta": meta})
    return labels.are_kept(meta, cleaned.get("meta"))


def _metas(value: Any) -> Iterator[Any]:
    """Of a resource and of those within it: a Bundle holds others."""
    if isinstance(value, dict):
        if "resourceType" in value and "meta" in value:
            yield value["meta"]
        value = value.values()
    elif not isinstance(value, list):
        return
    for member in value:
        yield from _metas(member)


def resolve(appointment: dict[str, Any], absent: str) -> dict[str, Any]:
    """The same Appointment whose every ``#`` reference resolves, and whose contained resources are all referenced.

    A reference to a contained resource that is gone says with ``absent`` that its target is not known.
    """
    contained = {resource.get("id"): resource for resource in appointment.get("contained", [])}
    outside = {name: value for name, value in appointment.items() if name != "contained"}
    resolved: dict[str, Any] = _resolved(outside, contained, absent)
    # dom-3: a contained resource is referenced, or refers to what contains it.
    reached = [_local(reference) for reference in _references(resolved)]
    reached += [id_ for id_, resource in contained.items() if "#" in _references(resource)]
    used: dict[Any, Any] = {}
    while reached:
        id_ = reached.pop()
        if id_ in contained and id_ not in used:
            used[id_] = _resolved(contained[id_], {**contained, "": None}, absent)
            reached += [_local(reference) for reference in _references(used[id_])]
    if used:
        resolved["contained"] = [used[id_] for id_ in contained if id_ in used]
    return resolved


def with_labels_of_the_whole(appointment: dict[str, Any]) -> dict[str, Any]:
    """The same Appointment whose contained resources have no security labels of their own (dom-5): it has theirs.

    Who may not see one of them may not see the whole.
    """
    found = [label for one in appointment.get("contained", []) for label in one.get("meta", {}).get("security", [])]
    if not found:
        return appointment
    meta = appointment.get("meta", {})
    kept: list[Any] = []
    for label in [*meta.get("security", []), *found]:
        if label not in kept:
            kept.append(label)
    shown = [_without_labels(one) for one in appointment["contained"]]
    return {**appointment, "contained": shown, "meta": {**meta, "security": kept}}


def _without_labels(resource: dict[str, Any]) -> dict[str, Any]:
    meta = {name: member for name, member in resource.get("meta", {}).items() if name != "security"}
    others = {name: member for name, member in resource.items() if name != "meta"}
    return {**others, "meta": meta} if meta else others


def _local(reference: str) -> str | None:
    return reference[1:] if reference.startswith("#") else None


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = value.get("reference")
        return [
            *([own] if isinstance(own, str) else []),
            *(r for member in value.values() for r in _references(member)),
        ]
    return [r for member in value for r in _references(member)] if isinstance(value, list) else []


def _resolved(value: Any, contained: Mapping[Any, Any], absent: str) -> Any:
    if isinstance(value, list):
        return [_resolved(member, contained, absent) for member in value]
    if not isinstance(value, dict):
        return value
    value = {name: _resolved(member, contained, absent) for name, member in value.items()}
    reference = value.get("reference")
    if not isinstance(reference, str) or not reference.startswith("#") or reference[1:] in contained:
        return value
    known = {name: member for name, member in value.items() if name not in {"reference", "_reference"}}
    extensions = [*value.get("extension", []), data_absent.extension(absent)]
    return {**data_absent.reference(absent), **known, "extension": extensions}
