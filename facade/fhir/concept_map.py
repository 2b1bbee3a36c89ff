"""Validate a ConceptMap of cancellation reasons against both code systems, and build a ReasonMap from it.

The ConceptMap has a group from HL7's code system to the native reason codes. The targets state further native codes as
``product``. A group in the other direction is optional. Format: http://hl7.org/fhir/R4/conceptmap.html
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir.resources.R4B.conceptmap import ConceptMap
from pydantic import ValidationError

from facade.config_messages import nearest
from facade.errors import ConfigurationError
from facade.fhir import reasons
from facade.plugin.contract import NativeReason, NativeReasons, default_code_system

# Equivalences that mean "no such target" (http://hl7.org/fhir/R4/valueset-concept-map-equivalence.html).
_NO_TARGET = {"unmatched", "disjoint"}
_EQUIVALENCES = _NO_TARGET | {
    "relatedto",
    "equivalent",
    "equal",
    "wider",
    "subsumes",
    "narrower",
    "specializes",
    "inexact",
}
# http://hl7.org/fhir/R4/valueset-publication-status.html
_STATUSES = {"draft", "active", "retired", "unknown"}
REFUSE = "refuse"


def load(
    resource: Any,
    native: NativeReasons,
    *,
    plugin: str,
    code_systems: Mapping[str, str],
    fallback: str | None,
) -> reasons.ReasonMap:
    """Build the ReasonMap of a ConceptMap, with the configured system URIs.

    ``resource`` is the parsed JSON of the ConceptMap. ``code_systems`` has the URIs that replace the plugin's default
    ones, by name. ``fallback`` is a native code, ``"refuse"``, or None for the plugin's default. Raises
    ConfigurationError with every problem found.
    """
    names = [native.name, *native.properties]
    fallback = fallback or native.fallback
    problems: list[str] = []
    if fallback != REFUSE and fallback not in native.codes:
        problems.append(_unknown_error(f'fallback_reason "{fallback}"', fallback, [*native.codes, REFUSE]))
    if invalid := _find_invalid(resource):
        raise ConfigurationError(*problems, f"the ConceptMap is not valid R4: fix {', '.join(invalid)}")
    default = {name: default_code_system(plugin, name) for name in names}
    default |= {native.name: native.system} if native.system else {}
    uris = {name: code_systems.get(name, uri) for name, uri in default.items()}
    resource = _replace_uris(resource, {default[name]: uri for name, uri in uris.items()})
    known = {uris[native.name]: native.codes, reasons.SYSTEM: reasons.hl7_codes()}
    known |= {uris[name]: codes for name, codes in native.properties.items()}
    problems += dict.fromkeys(_find_unknown_codes(resource, known))
    forward = dict(_first_targets(resource, reasons.SYSTEM, uris[native.name]))
    if not forward and not problems:
        problems.append(f"the ConceptMap has no group from {reasons.SYSTEM} to {uris[native.name]}")
    if problems:
        raise ConfigurationError(*problems)
    by_uri = {uris[name]: name for name in native.properties}
    return reasons.ReasonMap(
        system=uris[native.name],
        codes=native.codes,
        property_systems={name: uris[name] for name in native.properties},
        properties=native.properties,
        to_native={
            code: NativeReason(
                target["code"], {by_uri[product["property"]]: product["value"] for product in target.get("product", [])}
            )
            for code, target in forward.items()
        },
        to_hl7={code: target["code"] for code, target in _first_targets(resource, uris[native.name], reasons.SYSTEM)},
        fallback=None if fallback == REFUSE else fallback,
        resource=resource,
    )


def _find_invalid(resource: Any) -> list[str]:
    """Return the paths of invalid elements: those that the model rejects, and those that it does not check."""
    try:
        ConceptMap.model_validate(resource)
    except ValidationError as error:
        return sorted({".".join(str(step) for step in e["loc"]) or "the file" for e in error.errors()})
    except Exception:  # noqa: BLE001 - the library raises other errors for some invalid input
        return ["the file"]
    places = [] if resource["status"] in _STATUSES else ["status"]
    for where, _, target in _targets(resource):
        if target["equivalence"] not in _EQUIVALENCES:
            places.append(f"{where}.equivalence")
        if target["equivalence"] in {"narrower", "inexact"} and not target.get("comment"):
            places.append(f"{where}.comment (cmd-1)")
    if "null" in json.dumps(resource, default=str).replace('"', " ").split():
        places.append("a null")
    return places


def _targets(resource: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any], Mapping[str, Any]]]:
    """Yield each target as its path, its group and itself."""
    for g, group in enumerate(resource.get("group", [])):
        for e, element in enumerate(group["element"]):
            for t, target in enumerate(element.get("target", [])):
                yield f"group.{g}.element.{e}.target.{t}", group, target


def _find_unknown_codes(resource: Mapping[str, Any], known: Mapping[str, Iterable[str]]) -> Iterator[str]:
    """Yield an error for each system, code, property and value that is not in ``known``, and for each duplicate."""
    for group in resource.get("group", []):
        for side in ("source", "target"):
            if group.get(side) not in known:
                yield _unknown_error(f'the ConceptMap\'s system "{group.get(side)}"', str(group.get(side)), known)
        codes = [element["code"] for element in group["element"] if "code" in element]
        yield from (f'the ConceptMap has the code "{c}" twice; keep one' for c in codes if codes.count(c) > 1)
        for code in codes:
            yield from _check_code(code, known.get(group.get("source", ""), [code]))
    for _, group, target in _targets(resource):
        if "code" in target:
            yield from _check_code(target["code"], known.get(group.get("target", ""), [target["code"]]))
        for product in target.get("product", []):
            if product["property"] not in known:
                yield _unknown_error(f'the ConceptMap\'s property "{product["property"]}"', product["property"], known)
            else:
                yield from _check_code(product["value"], known[product["property"]])


def _first_targets(resource: Mapping[str, Any], source: str, target: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each source code of a group with its first target; skip codes that match nothing."""
    for group in resource.get("group", []):
        if (group.get("source"), group.get("target")) != (source, target):
            continue
        for element in group["element"]:
            targets = [t for t in element.get("target", []) if t["equivalence"] not in _NO_TARGET and "code" in t]
            if "code" in element and targets:
                yield element["code"], targets[0]


def _check_code(code: str, codes: Iterable[str]) -> Iterator[str]:
    codes = list(codes)
    if code not in codes:
        yield _unknown_error(f'the ConceptMap names the code "{code}", which', code, codes)


def _unknown_error(what: str, word: str, known: Iterable[str]) -> str:
    return f"{what} does not exist; {nearest(word, known)}"


def _replace_uris(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _replace_uris(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [_replace_uris(member, names) for member in value]
    return names.get(value, value) if isinstance(value, str) else value
