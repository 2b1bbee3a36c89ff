"""Cancellation reasons: HL7's 32 codes, and which native reason a request's codings lead to."""

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
    """One code of HL7's system: its display, and its parent's code where it has one."""

    code: str
    display: str
    parent: str | None


@cache
def hl7_codes() -> Mapping[str, Hl7Code]:
    """The 32 codes of FHIR R4 4.0.1, case-sensitive, by code."""
    table = json.loads(files("facade.fhir").joinpath("cancellation_reasons.json").read_text("utf-8"))
    return {row["code"]: Hl7Code(**row) for row in table["codes"]}


@dataclass(frozen=True, kw_only=True)
class ReasonMap:
    """The mapping in force for one source, both ways; built from a ConceptMap by ``concept_map.load``.

    ``system`` and ``codes`` are the native reason codes with displays; ``property_systems`` names the
    system of each property and ``properties`` its codes. ``fallback`` is None where a reason that maps
    nowhere refuses the cancel.
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
        """The native reason for a request: a native coding, else an HL7 code, else the fallback.

        A coding in a property's own system sets that property. None: nothing usable, and no fallback.
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
            # A code mapped nowhere falls back to its parent; parents have no parents.
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
        """The HL7 coding that a native code maps back to, or None where none fits."""
        code = self.to_hl7.get(native_code)
        return None if code is None else hl7_coding(code)

    def native_coding(self, native_code: str) -> dict[str, str]:
        """The native code as a FHIR coding."""
        coding = {"system": self.system, "code": native_code}
        display = self.codes.get(native_code)
        return {**coding, "display": display} if display else coding


def hl7_reasons() -> NativeReasons:
    """The reasons of a source that takes HL7's codes as they are."""
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
    """A coding of HL7's system with the display of our own table. ``code`` is one of the 32."""
    return {"system": SYSTEM, "code": code, "display": hl7_codes()[code].display}


def cancelation_reason(
    codings: Iterable[Coding],
    text: str,
    sent: NativeReason | None,
    recorded: Mapping[str, Any] | None,
    mapping: ReasonMap | None,
) -> dict[str, Any] | None:
    """``Appointment.cancelationReason`` of a cancelled answer.

    ``codings`` and ``text`` are the client's, ``sent`` is the native reason that went out for them and
    ``recorded`` the CodeableConcept that the source states. Where it states another reason than
    the one sent (another party was first, or the source revised it), the source's stands alone.
    """
    codings = tuple(codings)
    recorded_code = _native_code(recorded, mapping)
    if sent is None or (recorded_code is not None and recorded_code != sent.code):
        return _stated(recorded, recorded_code, mapping)
    answer: list[dict[str, Any]] = []
    hl7 = next((c.code for c in codings if c.system == SYSTEM and c.code in hl7_codes()), None)
    if hl7 is not None:
        answer.append(hl7_coding(hl7))
    if mapping is not None:
        back = mapping.hl7_coding(sent.code)
        if hl7 is None and back is not None:
            answer.append(back)
        if mapping.system != SYSTEM:
            answer.append(mapping.native_coding(sent.code))
    words = "; ".join(dict.fromkeys(filter(None, [text, *(_foreign(c, mapping) for c in codings)])))
    stated = {"coding": answer, "text": words}
    return {key: value for key, value in stated.items() if value} or None


def _native_code(recorded: Mapping[str, Any] | None, mapping: ReasonMap | None) -> str | None:
    if recorded is None or mapping is None:
        return None
    codings = recorded.get("coding", [])
    return next((c["code"] for c in codings if c.get("system") == mapping.system and "code" in c), None)


def _stated(recorded: Mapping[str, Any] | None, code: str | None, mapping: ReasonMap | None) -> dict[str, Any] | None:
    if recorded is None:
        return None
    stated = dict(recorded)
    back = mapping.hl7_coding(code) if mapping is not None and code is not None else None
    codings = list(stated.get("coding", []))
    if back is not None and all(c.get("system") != SYSTEM for c in codings):
        stated["coding"] = [back, *codings]
    return stated


def _foreign(coding: Coding, mapping: ReasonMap | None) -> str:
    """What of a coding survives as text only: an unknown code, or a display that is not our table's."""
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
