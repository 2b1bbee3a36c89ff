"""Checks of one cancel that goes well: the scheduler's own example, ids, preconditions, what is not done."""

import json
from typing import Any

from facade.verify.check import Findings, Skipped, answered, check, differs
from facade.verify.hl7 import encoded
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL

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
_FAR_VERSION = 'W/"987654"'


def _example(run: Run) -> tuple[str, WireResponse, WireResponse, WireResponse]:
    """The example's appointment, and the answers to a read, to the example, and to a read after it."""

    def make() -> tuple[str, WireResponse, WireResponse, WireResponse]:
        raw_id = run.sandbox.fresh()
        before = run.facade.read(raw_id)
        answer = run.facade.cancel(raw_id, (_EXAMPLE % raw_id).encode())
        return raw_id, before, answer, run.facade.read(raw_id)

    return run.once("example", make)


@check("The scheduler guide's own example cancels, with exactly one native cancel.")
def example(run: Run) -> Findings:
    """As printed, for an appointment of the sandbox."""
    raw_id, _, answer, _ = _example(run)
    yield from answered(f"{answer.request} with the guide's example", "200 cancelled", answer)
    yield from differs("native cancels for it", 1, run.sandbox.cancels(raw_id))


@check("The single-source route, where it is served, cancels as the other does.")
def single_source_route(run: Run) -> Findings:
    """Served with one source, or with a default one."""
    raw_id = run.sandbox.fresh()
    answer = run.facade.request("POST", f"/Appointment/{encoded(raw_id)}", body=CANCEL, about=raw_id)
    if answer.status == 404:
        raise Skipped(f"{run.facade.source} is neither the only source nor the default")
    yield from answered(answer.request, "200 cancelled", answer)
    yield from differs("native cancels for it", 1, run.sandbox.cancels(raw_id))


@check("A read gives the native state now: not cancelled before, cancelled after.")
def reads(run: Run) -> Findings:
    """GET of the same path."""
    _, before, _, after = _example(run)
    unread = run.sandbox.readable and before.status != 200
    if unread or (before.is_appointment and before.resource.get("status") in {None, "cancelled"}):
        yield f"{before.request} before the cancel: expected 200 and not cancelled, saw {before.told}"
    yield from answered(f"{after.request} after the cancel", "200 cancelled", after)


@check("A read carries the recorded cancellation state as an extension.")
def reads_show_the_record(run: Run) -> Findings:
    """Of an appointment that was cancelled through the facade."""
    after = _example(run)[3]
    if after.is_appointment and not after.resource.get("extension"):
        yield f"{after.request}: expected an extension with the recorded state, saw none"


@check("What no one has cancelled has version 0, and a recorded cancellation another one.")
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
    fhir_id = encoded(raw_id)
    for in_path, in_body in ((fhir_id, raw_id), (raw_id, fhir_id), (fhir_id, fhir_id)):
        path = f"/Appointment/{run.facade.source}/{in_path}"
        answer = run.facade.request("POST", path, body={**CANCEL, "id": in_body}, about=raw_id)
        yield from answered(f"{answer.request} with id {in_body}", "200 cancelled", answer)
    yield from differs("native cancels for its forms", 1, run.sandbox.cancels(raw_id))


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
        yield from answered(f"{answer.request} with {json.dumps(body)}", "200 proposed", answer)
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
        yield from answered(f"{answer.request} with If-Match: {value}", "400", answer)
    yield from differs("native cancels with a malformed If-Match", 0, run.sandbox.cancels(raw_id))


@check("A stale If-Match is 412, and nothing is sent.")
def if_match_stale(run: Run) -> Findings:
    """Another version than the recorded one."""
    raw_id = run.sandbox.fresh()
    answer = run.facade.cancel(raw_id, headers={"If-Match": _FAR_VERSION})
    yield from answered(f"{answer.request} with If-Match: {_FAR_VERSION}", "412", answer)
    yield from differs("native cancels with a stale If-Match", 0, run.sandbox.cancels(raw_id))


@check("An If-Match that names the current version, or any, cancels.")
def if_match_current(run: Run) -> Findings:
    """W/"0" before anything is recorded, and *."""
    for value in ('W/"0"', "*"):
        answer = run.facade.cancel(run.sandbox.fresh(), headers={"If-Match": value})
        yield from answered(f"{answer.request} with If-Match: {value}", "200 cancelled", answer)


@check("Already cancelled wins over a stale If-Match.")
def if_match_stale_after_the_cancel(run: Run) -> Findings:
    """A repeat after a lost answer carries the old version."""
    raw_id, _ = run.cancelled()
    for value in ('W/"0"', _FAR_VERSION):
        answer = run.facade.cancel(raw_id, headers={"If-Match": value})
        yield from answered(f"{answer.request}, cancelled before, with If-Match: {value}", "200 cancelled", answer)


@check("Prefer: return=minimal and respond-async are answered in full.")
def preferences(run: Run) -> Findings:
    """A single cancel is never put off."""
    for value in ("return=minimal", "respond-async"):
        answer = run.facade.cancel(run.sandbox.fresh(), headers={"Prefer": value})
        yield from answered(f"{answer.request} with Prefer: {value}", "200 cancelled", answer)
