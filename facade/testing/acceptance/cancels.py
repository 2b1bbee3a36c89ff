"""Checks of one cancel that goes well: the seed's example, ids, reasons, preconditions, what reaches the source."""

import json
from collections.abc import Iterator
from typing import Any

from facade.fhir import ids, reasons
from facade.testing.acceptance.check import Findings, Skipped, check, differs
from facade.testing.acceptance.run import Run
from facade.testing.acceptance.target import CANCEL, with_reason
from facade.testing.acceptance.wire import Answer

# The scheduler guide's own example, in its own layout; "Cancel Appointment", request body.
_EXAMPLE = """{
 "resourceType": "Appointment",
 "id": "%s",
 "status": "cancelled",
 "cancelationReason" : {
 "coding" : [
 {
 "system" : "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason",
 "code" : "pat-mv"
 }
 ]
 }
 }"""
_NOTHING_IN_IT: tuple[Any, ...] = ({}, {"text": ""}, {"coding": []}, {"coding": [{}], "text": ""})
_FAR_VERSION = 'W/"987654"'


def _example(run: Run) -> tuple[str, Answer, Answer, Answer]:
    """The example's appointment, and the answers to a read, to the example, and to a read after it."""

    def make() -> tuple[str, Answer, Answer, Answer]:
        raw_id = run.sandbox.fresh()
        before = run.facade.read(raw_id)
        answer = run.facade.cancel(raw_id, (_EXAMPLE % raw_id).encode())
        return raw_id, before, answer, run.facade.read(raw_id)

    return run.once("example", make)


@check("The scheduler guide's own example cancels, with exactly one native cancel.")
def example(run: Run) -> Findings:
    """As printed, for an appointment of the sandbox."""
    raw_id, _, answer, _ = _example(run)
    yield from differs(f"{answer.request} with the guide's example", "200 cancelled", answer.verdict)
    yield from differs("native cancels for it", 1, run.sandbox.cancels(raw_id))


@check("The single-source route, where it is served, cancels as the other does.")
def single_source_route(run: Run) -> Findings:
    """Served with one source, or with a default one."""
    raw_id = run.sandbox.fresh()
    answer = run.facade.request("POST", f"/Appointment/{ids.encode(raw_id)}", body=CANCEL, about=raw_id)
    if answer.status == 404:
        raise Skipped(f"{run.facade.source} is neither the only source nor the default")
    yield from differs(answer.request, "200 cancelled", answer.verdict)
    yield from differs("native cancels for it", 1, run.sandbox.cancels(raw_id))


@check("A read gives the native state now: not cancelled before, cancelled after.")
def reads(run: Run) -> Findings:
    """GET of the same path."""
    _, before, _, after = _example(run)
    if before.status != 200 or before.resource.get("status") in {None, "cancelled"}:
        yield f"{before.request} before the cancel: expected 200 and not cancelled, saw {before.verdict}"
    yield from differs(f"{after.request} after the cancel", "200 cancelled", after.verdict)


@check("A read carries the recorded cancellation state as an extension.")
def reads_show_the_record(run: Run) -> Findings:
    """Of an appointment that was cancelled through the facade."""
    after = _example(run)[3]
    if after.is_appointment and not after.resource.get("extension"):
        yield f"{after.request}: expected an extension with the recorded state, saw none"


@check("What nobody has cancelled has version 0, and a recorded cancellation another one.")
def versions(run: Run) -> Findings:
    """The ledger's version, in meta.versionId."""
    _, before, answer, _ = _example(run)
    seen = [found.resource.get("meta", {}).get("versionId") for found in (before, answer) if found.is_appointment]
    if len(seen) == 2 and (seen[0] != "0" or seen[1] in {None, "0"}):
        yield f"meta.versionId before and after the cancel: expected 0 and another, saw {seen[0]} and {seen[1]}"


@check("Raw and encoded ids are the same appointment, in the path and in the body.")
def encoded_ids(run: Run) -> Findings:
    """Encoded first, then raw: one native cancel."""
    raw_id = run.sandbox.fresh()
    encoded = ids.encode(raw_id)
    for in_path, in_body in ((encoded, raw_id), (raw_id, encoded), (encoded, encoded)):
        path = f"/Appointment/{run.facade.source}/{in_path}"
        answer = run.facade.request("POST", path, body={**CANCEL, "id": in_body}, about=raw_id)
        yield from differs(f"{answer.request} with id {in_body}", "200 cancelled", answer.verdict)
    yield from differs("native cancels for its forms", 1, run.sandbox.cancels(raw_id))


# Reasons


@check("A cancelled answer has the caller's HL7 coding with HL7's display, and the caller's text.")
def reasons_come_back(run: Run) -> Findings:
    """Unknown codes and foreign displays appear as text only."""
    body = with_reason("pat-mv")
    codings = body["cancelationReason"]["coding"]
    codings[0]["display"] = "Verify's own words"
    codings.append({"system": "urn:verify:elsewhere", "code": "elsewhere"})
    body["cancelationReason"]["text"] = "Text of verify"
    answer = run.facade.cancel(run.sandbox.fresh(), body)
    reason = answer.resource.get("cancelationReason", {})
    hl7 = [(coding.get("code"), coding.get("display")) for coding in _codings(answer, reasons.SYSTEM)]
    yield from differs("HL7's coding in the answer", [("pat-mv", reasons.hl7_codes()["pat-mv"].display)], hl7)
    if "Text of verify" not in reason.get("text", ""):
        yield "the caller's text: expected it in cancelationReason.text, saw that it is not there"
    yield from differs("codings of a system nobody knows", [], _codings(answer, "urn:verify:elsewhere"))


@check("An empty reason is an absent one: the cancel is not lost over it.")
def empty_reasons(run: Run) -> Findings:
    """{}, empty text, no codings."""
    for reason in _NOTHING_IN_IT:
        answer = run.facade.cancel(run.sandbox.fresh(), {**CANCEL, "cancelationReason": reason})
        yield from differs(f"a cancel with the reason {json.dumps(reason)}", "200 cancelled", answer.verdict)


@check("/ConceptMap/{sourceSystem} is the mapping of all of HL7's 32 reasons.")
def concept_map(run: Run) -> Findings:
    """From HL7's system to the source's own, codes mapped nowhere falling back to their parents."""
    mapped = {element.get("code") for element, _, _ in _mapping(run)}
    lost = [code for code, known in reasons.hl7_codes().items() if not {code, known.parent} & mapped]
    if lost:
        yield f"the ConceptMap: expected every HL7 code or its parent, saw no {', '.join(lost)}"


@check("The source gets the native reason that the ConceptMap names, and the answer shows it too.")
def reasons_reach_the_source(run: Run) -> Findings:
    """By the source's own log."""
    code, system, native = next(((e["code"], s, t["code"]) for e, s, t in _mapping(run) if "code" in t), ("", "", ""))
    if not code:
        raise Skipped("the ConceptMap names no native code")
    raw_id = run.sandbox.fresh()
    answer = run.facade.cancel(raw_id, with_reason(code))
    sent = [entry["body"] for entry in run.sandbox.log(raw_id) if entry["operation"] == "cancel"]
    if native not in set(_strings(sent)):
        yield f"the native cancel for {code}: expected {native} in it, saw that it is not"
    yield from differs("native coding in the answer", [native], [c.get("code") for c in _codings(answer, system)])


@check("A native coding wins over HL7's.")
def native_reasons_win(run: Run) -> Findings:
    """A caller that knows the source's own words means them."""
    mapping = [(e["code"], s, t["code"]) for e, s, t in _mapping(run) if "code" in t and s != reasons.SYSTEM]
    first = next(iter(mapping), None)
    other = next(((s, native) for _, s, native in mapping if first and native != first[2]), None)
    if first is None or other is None:
        raise Skipped("the ConceptMap has no two native codes of the source's own")
    raw_id = run.sandbox.fresh()
    body = with_reason(first[0])
    body["cancelationReason"]["coding"].append({"system": other[0], "code": other[1]})
    run.facade.cancel(raw_id, body)
    sent = [entry["body"] for entry in run.sandbox.log(raw_id) if entry["operation"] == "cancel"]
    if other[1] not in set(_strings(sent)):
        yield f"the native cancel for {first[0]} beside {other[1]}: expected {other[1]} in it, saw that it is not"


def _codings(answer: Answer, system: str) -> list[dict[str, Any]]:
    codings = answer.resource.get("cancelationReason", {}).get("coding", [])
    return [coding for coding in codings if coding.get("system") == system]


def _mapping(run: Run) -> list[tuple[dict[str, Any], str, dict[str, Any]]]:
    """Each element from HL7's system, the system it leads to, and its first target."""

    def make() -> Answer:
        return run.facade.request("GET", f"/ConceptMap/{run.facade.source}")

    answer = run.once("concept map", make)
    if answer.status == 404:
        raise Skipped("this source system has no mapping of reasons")
    groups = [group for group in answer.resource.get("group", []) if group.get("source") == reasons.SYSTEM]
    return [
        (element, group.get("target", ""), next(iter(element.get("target", [])), {}))
        for group in groups
        for element in group.get("element", [])
    ]


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for member in value.values() if isinstance(value, dict) else value:
            yield from _strings(member)
    elif isinstance(value, str):
        yield value


# What is understood and not done


@check("Another R4 status is 200 proposed, not-supported, and nothing is sent.")
def other_statuses(run: Run) -> Findings:
    """This is a cancel and nothing else."""
    yield from _unsupported(run, *({**CANCEL, "status": status} for status in ("booked", "noshow", "entered-in-error")))


@check("A modifierExtension that is not understood is 200 proposed, not-supported, and nothing is sent.")
def modifier_extensions(run: Run) -> Findings:
    """It may negate the meaning."""
    extension = [{"url": "urn:verify:negated", "valueBoolean": True}]
    participant = [{"status": "accepted", "modifierExtension": extension}]
    yield from _unsupported(run, {**CANCEL, "modifierExtension": extension}, {**CANCEL, "participant": participant})


def _unsupported(run: Run, *bodies: dict[str, Any]) -> Findings:
    raw_id = run.sandbox.fresh()
    for body in bodies:
        answer = run.facade.cancel(raw_id, body)
        yield from differs(f"{answer.request} with {json.dumps(body)}", "200 proposed", answer.verdict)
        codes = [issue.get("code") for why in answer.resource.get("contained", []) for issue in why.get("issue", [])]
        if codes and codes != ["not-supported"]:
            yield f"the issue code for {json.dumps(body)}: expected not-supported, saw {', '.join(map(str, codes))}"
    yield from differs("native cancels for it", 0, run.sandbox.cancels(raw_id))


# Preconditions and preferences


@check("A malformed If-Match is 400, and nothing is sent.")
def if_match_malformed(run: Run) -> Findings:
    """Not a list of entity tags."""
    raw_id = run.sandbox.fresh()
    for value in ("0", "W/0", '"0', 'W/"0" W/"1"'):
        answer = run.facade.cancel(raw_id, headers={"If-Match": value})
        yield from differs(f"{answer.request} with If-Match: {value}", "400", answer.verdict)
    yield from differs("native cancels with a malformed If-Match", 0, run.sandbox.cancels(raw_id))


@check("A stale If-Match is 412, and nothing is sent.")
def if_match_stale(run: Run) -> Findings:
    """Another version than the recorded one."""
    raw_id = run.sandbox.fresh()
    answer = run.facade.cancel(raw_id, headers={"If-Match": _FAR_VERSION})
    yield from differs(f"{answer.request} with If-Match: {_FAR_VERSION}", "412", answer.verdict)
    yield from differs("native cancels with a stale If-Match", 0, run.sandbox.cancels(raw_id))


@check("An If-Match that names the current version, or any, cancels.")
def if_match_current(run: Run) -> Findings:
    """W/"0" before anything is recorded, and *."""
    for value in ('W/"0"', "*"):
        answer = run.facade.cancel(run.sandbox.fresh(), headers={"If-Match": value})
        yield from differs(f"{answer.request} with If-Match: {value}", "200 cancelled", answer.verdict)


@check("Already cancelled wins over a stale If-Match.")
def if_match_stale_after_the_cancel(run: Run) -> Findings:
    """A repeat after a lost answer carries the old version."""
    raw_id, _ = run.cancelled()
    for value in ('W/"0"', _FAR_VERSION):
        answer = run.facade.cancel(raw_id, headers={"If-Match": value})
        yield from differs(
            f"{answer.request}, cancelled before, with If-Match: {value}", "200 cancelled", answer.verdict
        )


@check("Prefer: return=minimal and respond-async are answered in full.")
def preferences(run: Run) -> Findings:
    """A single cancel is never put off."""
    for value in ("return=minimal", "respond-async"):
        answer = run.facade.cancel(run.sandbox.fresh(), headers={"Prefer": value})
        yield from differs(f"{answer.request} with Prefer: {value}", "200 cancelled", answer.verdict)
