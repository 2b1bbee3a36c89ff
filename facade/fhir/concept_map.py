"""Reads a ConceptMap of cancellation reasons, checks it against both code systems, makes a ReasonMap.

The map has a group from HL7's system to the native reason codes, whose targets carry the source's other
words as ``product``, and may have a group back. Shape: http://hl7.org/fhir/R4/conceptmap.html
"""

import difflib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from fhir.resources.R4B.conceptmap import ConceptMap
from pydantic import ValidationError

from facade.contract import NativeReason, NativeReasons, default_code_system
from facade.errors import ConfigurationError
from facade.fhir import reasons

# Equivalences that say "no such target" (http://hl7.org/fhir/R4/valueset-concept-map-equivalence.html).
_NO_TARGET = {"unmatched", "disjoint"}
REFUSE = "refuse"


def load(
    resource: Any,
    native: NativeReasons,
    *,
    plugin: str,
    code_systems: Mapping[str, str],
    fallback: str | None,
) -> reasons.ReasonMap:
    """The mapping that ``resource`` states, with the configured system URIs put in.

    ``code_systems`` has the URIs that replace the plugin's default ones, by name. ``fallback`` is a native code,
    ``"refuse"``, or None for the plugin's own. Raises ConfigurationError with every problem found.
    """
    names = [native.name, *native.properties]
    problems = [_unknown(f"code_systems.{name}", name, names) for name in code_systems if name not in names]
    fallback = fallback or native.fallback
    if fallback != REFUSE and fallback not in native.codes:
        problems.append(_unknown(f'fallback_reason "{fallback}"', fallback, [*native.codes, REFUSE]))
    try:
        ConceptMap.model_validate(resource)
    except ValidationError as error:
        where = sorted({".".join(str(step) for step in e["loc"]) or "the file" for e in error.errors()})
        raise ConfigurationError(*problems, f"the ConceptMap is not valid R4: look at {', '.join(where)}") from None
    systems = {
        default_code_system(plugin, name): code_systems.get(name, default_code_system(plugin, name)) for name in names
    }
    resource = _renamed(resource, systems)
    uris = {name: systems[default_code_system(plugin, name)] for name in names}
    forward = list(_group(resource, reasons.SYSTEM, uris[native.name]))
    backward = list(_group(resource, uris[native.name], reasons.SYSTEM))
    if not forward:
        problems.append(f"the ConceptMap has no group from {reasons.SYSTEM} to {uris[native.name]}")
    by_uri = {uris[name]: name for name in native.properties}
    to_native: dict[str, NativeReason] = {}
    for code, target in forward:
        properties, wrong = _products(target, by_uri, native)
        problems += wrong
        problems += _checked(code, reasons.hl7_codes()) + _checked(target["code"], native.codes)
        to_native[code] = NativeReason(target["code"], properties)
    for code, target in backward:
        problems += _checked(code, native.codes) + _checked(target["code"], reasons.hl7_codes())
    if problems:
        raise ConfigurationError(*dict.fromkeys(problems))
    return reasons.ReasonMap(
        system=uris[native.name],
        codes=native.codes,
        property_systems={name: uris[name] for name in native.properties},
        properties=native.properties,
        to_native=to_native,
        to_hl7={code: target["code"] for code, target in backward},
        fallback=None if fallback == REFUSE else fallback,
        resource=resource,
    )


def _group(resource: Mapping[str, Any], source: str, target: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each source code with its first target; a code that is said to match nothing is left out."""
    for group in resource.get("group", []):
        if (group.get("source"), group.get("target")) != (source, target):
            continue
        for element in group["element"]:
            targets = [t for t in element.get("target", []) if t["equivalence"] not in _NO_TARGET and "code" in t]
            if "code" in element and targets:
                yield element["code"], targets[0]


def _products(
    target: Mapping[str, Any], by_uri: Mapping[str, str], native: NativeReasons
) -> tuple[dict[str, str], list[str]]:
    properties: dict[str, str] = {}
    problems: list[str] = []
    for product in target.get("product", []):
        name = by_uri.get(product["property"])
        if name is None:
            problems.append(_unknown(f"the ConceptMap's property {product['property']}", product["property"], by_uri))
        else:
            problems += _checked(product["value"], native.properties[name])
            properties[name] = product["value"]
    return properties, problems


def _checked(code: str, codes: Iterable[str]) -> list[str]:
    codes = list(codes)
    return [] if code in codes else [_unknown(f'the ConceptMap names the code "{code}", which', code, codes)]


def _unknown(what: str, word: str, known: Iterable[str]) -> str:
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    hint = f'did you mean "{near[0]}"?' if near else f"known are {', '.join(known)}"
    return f"{what} does not exist; {hint}"


def _renamed(value: Any, names: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _renamed(member, names) for key, member in value.items()}
    if isinstance(value, list):
        return [_renamed(member, names) for member in value]
    return names.get(value, value) if isinstance(value, str) else value
