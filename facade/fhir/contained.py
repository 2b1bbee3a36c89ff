"""Select the contained resources that may be shown, and repair the references to the others."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from facade.fhir import data_absent, sanitize, security_labels, strings

_OF_A_VERSION = {"versionId", "lastUpdated"}


def select_visible(contained: Any) -> tuple[Any, bool]:
    """Return the contained resources that may be shown, not yet sanitized, and whether any data was dropped.

    A resource that would lose a security label is dropped, because its labels state who may see it. Resources that
    share an id are dropped, because a reference to them is ambiguous and could show the wrong patient. Nested contained
    resources (dom-2) and the version of a contained resource (dom-4) are removed.
    """
    if not isinstance(contained, list):
        return contained, False
    kept = [_without_nested(resource) for resource in contained]
    times = Counter(map(_id, kept))
    kept = [one for one in kept if _id(one) is None or times[_id(one)] == 1]
    kept = [one for one in kept if all(map(_keeps_labels, _iterate_metas(one)))]
    return kept, kept != contained


def _id(resource: Any) -> str | None:
    """Return the id as it will be after sanitizing."""
    found = resource.get("id") if isinstance(resource, dict) else None
    return strings.strip_controls(found) if isinstance(found, str) else None


def _without_nested(resource: Any) -> Any:
    if not isinstance(resource, dict):
        return resource
    resource = {name: member for name, member in resource.items() if name != "contained"}
    if isinstance(meta := resource.get("meta"), dict):
        resource["meta"] = {name: member for name, member in meta.items() if name.lstrip("_") not in _OF_A_VERSION}
    return resource


def _keeps_labels(meta: Any) -> bool:
    if not security_labels.may_be_present(meta):
        return True
    cleaned, _ = sanitize.remove_invalid({"meta": meta})
    return security_labels.are_kept(meta, cleaned.get("meta"))


def _iterate_metas(value: Any) -> Iterator[Any]:
    """Yield the ``meta`` of a resource and of the resources within it, for example in a Bundle."""
    if isinstance(value, dict):
        if "resourceType" in value and "meta" in value:
            yield value["meta"]
        value = value.values()
    elif not isinstance(value, list):
        return
    for member in value:
        yield from _iterate_metas(member)


def resolve_references(appointment: dict[str, Any], absent: str) -> dict[str, Any]:
    """Replace each ``#`` reference whose target is missing, and drop contained resources without a reference (dom-3).

    ``absent`` is the data-absent-reason code for a missing target.
    """
    contained = {resource.get("id"): resource for resource in appointment.get("contained", [])}
    outside = {name: value for name, value in appointment.items() if name != "contained"}
    resolved: dict[str, Any] = _replace_missing(outside, contained, absent)
    # dom-3: a contained resource is referenced, or refers to what contains it.
    reached = [_contained_id(reference) for reference in _find_references(resolved)]
    reached += [id_ for id_, resource in contained.items() if "#" in _find_references(resource)]
    used: dict[Any, Any] = {}
    while reached:
        id_ = reached.pop()
        if id_ in contained and id_ not in used:
            used[id_] = _replace_missing(contained[id_], {**contained, "": None}, absent)
            reached += [_contained_id(reference) for reference in _find_references(used[id_])]
    if used:
        resolved["contained"] = [used[id_] for id_ in contained if id_ in used]
    return resolved


def move_labels_up(appointment: dict[str, Any]) -> dict[str, Any]:
    """Move the security labels of contained resources to the Appointment (dom-5).

    Someone who may not see one contained resource may not see the Appointment.
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


def _contained_id(reference: str) -> str | None:
    return reference[1:] if reference.startswith("#") else None


def _find_references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = value.get("reference")
        return [
            *([own] if isinstance(own, str) else []),
            *(r for member in value.values() for r in _find_references(member)),
        ]
    return [r for member in value for r in _find_references(member)] if isinstance(value, list) else []


def _replace_missing(value: Any, contained: Mapping[Any, Any], absent: str) -> Any:
    if isinstance(value, list):
        return [_replace_missing(member, contained, absent) for member in value]
    if not isinstance(value, dict):
        return value
    value = {name: _replace_missing(member, contained, absent) for name, member in value.items()}
    reference = value.get("reference")
    if not isinstance(reference, str) or not reference.startswith("#") or reference[1:] in contained:
        return value
    known = {name: member for name, member in value.items() if name not in {"reference", "_reference"}}
    extensions = [*value.get("extension", []), data_absent.extension(absent)]
    return {**data_absent.reference(absent), **known, "extension": extensions}
