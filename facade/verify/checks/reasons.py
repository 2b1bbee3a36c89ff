"""Checks of the cancellation reason: what the response contains of it, and what reaches the source."""

import json
from typing import Any

from facade.testing.text_search import was_sent
from facade.verify import hl7
from facade.verify.check import Findings, Skipped, check, expect_equal, expect_result
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL, with_reason

_EMPTY_REASONS: tuple[Any, ...] = ({}, {"text": ""}, {"coding": []}, {"coding": [{}], "text": ""})


@check("A cancelled response has the client's HL7 coding with HL7's display, and the client's text.")
def reasons_come_back(run: Run) -> Findings:
    """Unknown codes, and displays other than HL7's, appear as text only."""
    body = with_reason("pat-mv")
    codings = body["cancelationReason"]["coding"]
    codings[0]["display"] = "Verify's own words"
    codings.append({"system": "urn:verify:elsewhere", "code": "elsewhere"})
    body["cancelationReason"]["text"] = "Text of verify"
    response = run.facade.cancel(run.sandbox.create(), body)
    reason = response.resource.get("cancelationReason", {})
    shown = [(coding.get("code"), coding.get("display")) for coding in _codings(response, hl7.SYSTEM)]
    yield from expect_equal("HL7's coding in the response", [hl7.PATIENT_MOVED], shown)
    if "Text of verify" not in reason.get("text", ""):
        yield "the client's text: expected it in cancelationReason.text, saw that it is missing"
    yield from expect_equal("codings of an unknown system", [], _codings(response, "urn:verify:elsewhere"))


@check("An empty reason counts as an absent one: the cancel succeeds.")
def empty_reasons(run: Run) -> Findings:
    """{}, empty text, no codings."""
    for reason in _EMPTY_REASONS:
        response = run.facade.cancel(run.sandbox.create(), {**CANCEL, "cancelationReason": reason})
        yield from expect_result(f"a cancel with the reason {json.dumps(reason)}", "200 cancelled", response)


@check("/ConceptMap/{sourceSystem} is the mapping in force, from HL7's reasons to the source's own.")
def concept_map(run: Run) -> Findings:
    """Codes that it does not name fall back to their parents, then to the source's configured reason."""
    response = _map(run)
    yield from expect_equal(f"resourceType of {response.request}", "ConceptMap", response.resource.get("resourceType"))
    codes = [element.get("code") for element, _, _ in _mapping(run)]
    if not codes:
        yield "the ConceptMap: expected a group from HL7's system, saw none"
    strangers = [str(code) for code in codes if code not in hl7.CODES]
    if strangers:
        yield f"the ConceptMap: expected HL7's codes, saw {', '.join(strangers)}"


@check("The source gets the native reason that the ConceptMap names, and the response contains it too.")
def reasons_reach_the_source(run: Run) -> Findings:
    """By the source's own log."""
    code, system, native = next(((e["code"], s, t["code"]) for e, s, t in _mapping(run) if "code" in t), ("", "", ""))
    if not code:
        raise Skipped("the ConceptMap names no native code")
    raw_id = run.sandbox.create()
    response = run.facade.cancel(raw_id, with_reason(code))
    if not _reached(run, raw_id, native):
        yield f"the native cancel for {code}: expected {native} in it, saw that it is not"
    yield from expect_equal(
        "native coding in the response", [native], [c.get("code") for c in _codings(response, system)]
    )


@check("A native coding has precedence over HL7's.")
def native_reasons_win(run: Run) -> Findings:
    """A client that knows the source's own words means them."""
    mapping = [(e["code"], s, t["code"]) for e, s, t in _mapping(run) if "code" in t and s != hl7.SYSTEM]
    first = next(iter(mapping), None)
    other = next(((s, native) for _, s, native in mapping if first and native != first[2]), None)
    if first is None or other is None:
        raise Skipped("the ConceptMap has no two native codes of the source's own")
    raw_id = run.sandbox.create()
    body = with_reason(first[0])
    body["cancelationReason"]["coding"].append({"system": other[0], "code": other[1]})
    run.facade.cancel(raw_id, body)
    if not _reached(run, raw_id, other[1]):
        yield f"the native cancel for {first[0]} beside {other[1]}: expected {other[1]} in it, saw that it is not"


def _codings(response: WireResponse, system: str) -> list[dict[str, Any]]:
    codings = response.resource.get("cancelationReason", {}).get("coding", [])
    return [coding for coding in codings if coding.get("system") == system]


def _map(run: Run) -> WireResponse:
    response = run.once("concept map", lambda: run.facade.request("GET", f"/ConceptMap/{run.facade.source}"))
    if response.status == 404:
        raise Skipped("this source system has no map of reasons")
    return response


def _mapping(run: Run) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Return each element from HL7's system, the system that it maps to, and its first target."""
    groups = [group for group in _map(run).resource.get("group", []) if group.get("source") == hl7.SYSTEM]
    return [
        (element, group.get("target", ""), next(iter(element.get("target", [])), {}))
        for group in groups
        for element in group.get("element", [])
    ]


def _reached(run: Run, raw_id: str, code: str) -> bool:
    """Return whether a cancel that the source received contains a code: as a text, a number, or within a text."""
    cancels = [entry for entry in run.sandbox.log(raw_id) if entry["operation"] == "cancel"]
    return any(was_sent(code, entry["path"], entry["body"]) for entry in cancels)
