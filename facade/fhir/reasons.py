"""Map cancellation reasons between HL7's 32 codes and a source's native codes."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

from facade.plugin.contract import Coding, NativeReason, NativeReasons

SYSTEM = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"


@dataclass(frozen=True)
class Hl7Code:
    """One code of HL7's code system, its display and the code of its parent, if any."""

    code: str
    display: str
    parent: str | None


@cache
def hl7_codes() -> Mapping[str, Hl7Code]:
    """Return the 32 codes of FHIR R4 4.0.1 by code. They are case-sensitive.

    Source: http://hl7.org/fhir/R4/codesystem-appointment-cancellation-reason.html
    """
    table = json.loads(files("facade.fhir").joinpath("cancellation_reasons.json").read_text("utf-8"))
    return {row["code"]: Hl7Code(**row) for row in table["codes"]}


@dataclass(frozen=True, kw_only=True)
class ReasonMap:
    """The mapping of one source in both directions. ``concept_map.load`` builds it from a ConceptMap.

    - ``system``, ``codes``: the URI of the native reason codes, and their displays by code.
    - ``property_systems``, ``properties``: by property name, the URI of its codes, and their displays by code.
    - ``to_native``, ``to_hl7``: the native reason by HL7 code, and the HL7 code by native code.
    - ``fallback``: the native code for a reason without a mapping; None if such a reason refuses the cancel.
    - ``resource``: the ConceptMap, with the configured URIs.
    """

    system: str
    codes: Mapping[str, str]
    property_systems: Mapping[str, str]
    properties: Mapping[str, Mapping[str, str]]
    to_native: Mapping[str, NativeReason]
    to_hl7: Mapping[str, str]
    fallback: str | None
    resource: Mapping[str, Any] = field(repr=False)

    def choose(self, codings: Iterable[Coding]) -> NativeReason | None:
        """Choose the native reason of a request: from a native coding, else from an HL7 code, else the fallback.

        A coding in the system of a property sets that property. Return None if nothing maps and there is no fallback.
        """
        codings = tuple(codings)
        reason = self._native(codings) or self._mapped(codings)
        if reason is None and self.fallback is not None:
            reason = NativeReason(self.fallback)
        if reason is None:
            return None
        given = self._given_properties(codings)
        return NativeReason(reason.code, {**reason.properties, **given}, frozenset(given))

    def _native(self, codings: tuple[Coding, ...]) -> NativeReason | None:
        usable = (c.code for c in codings if c.system == self.system and c.code in self.codes)
        code = next(usable, None)
        return None if code is None else NativeReason(code)

    def _mapped(self, codings: tuple[Coding, ...]) -> NativeReason | None:
        for coding in codings:
            known = hl7_codes().get(coding.code) if coding.system == SYSTEM else None
            # A code without a mapping uses the mapping of its parent. Parents have no parents.
            for code in (known.code, known.parent) if known else ():
                if code is not None and code in self.to_native:
                    return self.to_native[code]
        return None

    def _given_properties(self, codings: tuple[Coding, ...]) -> dict[str, str]:
        return {
            name: coding.code
            for name, system in self.property_systems.items()
            for coding in codings
            if coding.system == system and coding.code in self.properties[name]
        }

    def hl7_coding(self, native_code: str) -> dict[str, str] | None:
        """Return the HL7 coding of a native code; None if it has no mapping."""
        code = self.to_hl7.get(native_code)
        return None if code is None else hl7_coding(code)

    def native_coding(self, native_code: str) -> dict[str, str]:
        """Return a native code as a FHIR coding."""
        coding = {"system": self.system, "code": native_code}
        display = self.codes.get(native_code)
        return {**coding, "display": display} if display else coding


def hl7_reasons() -> NativeReasons:
    """Return the native reasons of a source that uses HL7's codes unchanged."""
    codes = {code: known.display for code, known in hl7_codes().items()}
    same = [{"code": code, "target": [{"code": code, "equivalence": "equal"}]} for code in codes]
    concept_map = {
        "resourceType": "ConceptMap",
        "status": "active",
        "group": [{"source": SYSTEM, "target": SYSTEM, "element": same}],
    }
    return NativeReasons(
        name="cancelationReason", system=SYSTEM, codes=codes, concept_map=concept_map, fallback="other"
    )


def hl7_coding(code: str) -> dict[str, str]:
    """Return an HL7 code, one of the 32, as a FHIR coding with its R4 display."""
    return {"system": SYSTEM, "code": code, "display": hl7_codes()[code].display}


def cancelation_reason(
    codings: Iterable[Coding],
    text: str,
    sent: NativeReason | None,
    recorded: Mapping[str, Any] | None,
    mapping: ReasonMap | None,
) -> dict[str, Any] | None:
    """Build ``Appointment.cancelationReason`` of a cancelled response, a CodeableConcept; None if nothing is known.

    ``codings`` and ``text`` are the client's. ``sent`` is the native reason that the facade sent for them, None if it
    sent none. ``recorded`` is the CodeableConcept that the source reports. If the source reports another reason than
    the one sent (another party was first, or the source revised it), only the source's reason is used.
    """
    codings = tuple(codings)
    recorded_code = _native_code(recorded, mapping)
    if sent is None or (recorded_code is not None and recorded_code != sent.code):
        return _complete_source_reason(recorded, recorded_code, mapping)
    used: list[dict[str, Any]] = []
    hl7 = next((c.code for c in codings if c.system == SYSTEM and c.code in hl7_codes()), None)
    if hl7 is not None:
        used.append(hl7_coding(hl7))
    if mapping is not None:
        back = mapping.hl7_coding(sent.code)
        if hl7 is None and back is not None:
            used.append(back)
        if mapping.system != SYSTEM:
            used.append(mapping.native_coding(sent.code))
    texts = "; ".join(dict.fromkeys(filter(None, [text, *(_text_of(c, mapping) for c in codings)])))
    concept = {"coding": used, "text": texts}
    return {key: value for key, value in concept.items() if value} or None


def _native_code(recorded: Mapping[str, Any] | None, mapping: ReasonMap | None) -> str | None:
    if recorded is None or mapping is None:
        return None
    codings = recorded.get("coding", [])
    return next((c["code"] for c in codings if c.get("system") == mapping.system and "code" in c), None)


def _complete_source_reason(
    recorded: Mapping[str, Any] | None, code: str | None, mapping: ReasonMap | None
) -> dict[str, Any] | None:
    if recorded is None:
        return None
    reason = dict(recorded)
    back = mapping.hl7_coding(code) if mapping is not None and code is not None else None
    codings = list(reason.get("coding", []))
    if back is not None and all(c.get("system") != SYSTEM for c in codings):
        reason["coding"] = [back, *codings]
    return reason


def _text_of(coding: Coding, mapping: ReasonMap | None) -> str:
    """Return what of a coding is kept as text: an unknown code, or a display that differs from the known one."""
    known = hl7_codes().get(coding.code) if coding.system == SYSTEM else None
    own = known.display if known else None
    if mapping is not None:
        if coding.system == mapping.system:
            own = mapping.codes.get(coding.code)
        for name, system in mapping.property_systems.items():
            if coding.system == system:
                own = mapping.properties[name].get(coding.code)
    if own is None:
        return f"{coding.display} ({coding.code})" if coding.display and coding.code else coding.display or coding.code
    return "" if coding.display in {"", own} else coding.display
