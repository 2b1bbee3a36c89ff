"""Checks of one cancel while the source works: the guide's example, ids, unsupported requests, preconditions."""

import json
from typing import Any

from facade.verify.check import Findings, Skipped, check, expect_equal, expect_result
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
    """Return the example's appointment, and the responses to a read, to the example, and to a read after it."""

    def make() -> tuple[str, WireResponse, WireResponse, WireResponse]:
        raw_id = run.sandbox.create()
        before = run.facade.read(raw_id)
        response = run.facade.cancel(raw_id, (_EXAMPLE % raw_id).encode())
        return raw_id, before, response, run.facade.read(raw_id)

    return run.once("example", make)


@check("The scheduler guide's own example cancels, with exactly one native cancel.")
def example(run: Run) -> Findings:
    """As printed, with the id of an appointment in the sandbox."""
    raw_id, _, response, _ = _example(run)
    yield from expect_result(f"{response.request} with the guide's example", "200 cancelled", response)
    yield from expect_equal("native cancels for it", 1, run.sandbox.cancels(raw_id))


@check("The single-source route, if it is served, cancels like the other route.")
def single_source_route(run: Run) -> Findings:
    """It is served with one source, or with a default source."""
    raw_id = run.sandbox.create()
    response = run.facade.request("POST", f"/Appointment/{encoded(raw_id)}", body=CANCEL, about=raw_id)
    if response.status == 404:
        raise Skipped(f"{run.facade.source} is neither the only source nor the default")
    yield from expect_result(response.request, "200 cancelled", response)
    yield from expect_equal("native cancels for it", 1, run.sandbox.cancels(raw_id))


@check("A read returns the current native state: not cancelled before, cancelled after.")
def reads(run: Run) -> Findings:
    """GET of the same path."""
    _, before, _, after = _example(run)
    unread = run.sandbox.readable and before.status != 200
    if unread or (before.is_appointment and before.resource.get("status") in {None, "cancelled"}):
        yield f"{before.request} before the cancel: expected 200 and not cancelled, saw {before.description}"
    yield from expect_result(f"{after.request} after the cancel", "200 cancelled", after)


@check("A read has the recorded cancellation state as an extension.")
def reads_show_the_record(run: Run) -> Findings:
    """Of an appointment that was cancelled through the facade."""
    after = _example(run)[3]
    if after.is_appointment and not after.resource.get("extension"):
        yield f"{after.request}: expected an extension with the recorded state, saw none"


@check("Without a recorded cancellation the version is 0; a recorded cancellation has another version.")
def versions(run: Run) -> Findings:
    """The ledger's version, in meta.versionId."""
    _, before, response, _ = _example(run)
    seen = [found.resource.get("meta", {}).get("versionId") for found in (before, response) if found.is_appointment]
    if len(seen) == 2 and (seen[0] != "0" or seen[1] in {None, "0"}):
        yield f"meta.versionId before and after the cancel: expected 0 and another, saw {seen[0]} and {seen[1]}"


@check("Raw and encoded ids are the same appointment, in the path and in the body.")
def encoded_ids(run: Run) -> Findings:
    """Encoded first, then raw: one native cancel."""
    raw_id = run.sandbox.create()
    fhir_id = encoded(raw_id)
    for in_path, in_body in ((fhir_id, raw_id), (raw_id, fhir_id), (fhir_id, fhir_id)):
        path = f"/Appointment/{run.facade.source}/{in_path}"
        response = run.facade.request("POST", path, body={**CANCEL, "id": in_body}, about=raw_id)
        yield from expect_result(f"{response.request} with id {in_body}", "200 cancelled", response)
    yield from expect_equal("native cancels for its forms", 1, run.sandbox.cancels(raw_id))


# Unsupported requests


@check("Another R4 status is 200 proposed, not-supported, and nothing is sent.")
def other_statuses(run: Run) -> Findings:
    """The operation is a cancel only."""
    yield from _unsupported(run, *({**CANCEL, "status": status} for status in ("booked", "noshow", "entered-in-error")))


@check("An unknown modifierExtension is 200 proposed, not-supported, and nothing is sent.")
def modifier_extensions(run: Run) -> Findings:
    """It may negate the meaning of the request."""
    extension = [{"url": "urn:verify:negated", "valueBoolean": True}]
    participant = [{"status": "accepted", "modifierExtension": extension}]
    yield from _unsupported(run, {**CANCEL, "modifierExtension": extension}, {**CANCEL, "participant": participant})


def _unsupported(run: Run, *bodies: dict[str, Any]) -> Findings:
    raw_id = run.sandbox.create()
    for body in bodies:
        response = run.facade.cancel(raw_id, body)
        yield from expect_result(f"{response.request} with {json.dumps(body)}", "200 proposed", response)
        codes = [issue.get("code") for why in response.resource.get("contained", []) for issue in why.get("issue", [])]
        if codes and codes != ["not-supported"]:
            yield f"the issue code for {json.dumps(body)}: expected not-supported, saw {', '.join(map(str, codes))}"
    yield from expect_equal("native cancels for it", 0, run.sandbox.cancels(raw_id))


# Preconditions and preferences


@check("A malformed If-Match is 400, and nothing is sent.")
def if_match_malformed(run: Run) -> Findings:
    """Not a list of entity tags."""
    raw_id = run.sandbox.create()
    for value in ("0", "W/0", '"0', 'W/"0" W/"1"'):
        response = run.facade.cancel(raw_id, headers={"If-Match": value})
        yield from expect_result(f"{response.request} with If-Match: {value}", "400", response)
    yield from expect_equal("native cancels with a malformed If-Match", 0, run.sandbox.cancels(raw_id))


@check("A stale If-Match is 412, and nothing is sent.")
def if_match_stale(run: Run) -> Findings:
    """Another version than the recorded one."""
    raw_id = run.sandbox.create()
    response = run.facade.cancel(raw_id, headers={"If-Match": _FAR_VERSION})
    yield from expect_result(f"{response.request} with If-Match: {_FAR_VERSION}", "412", response)
    yield from expect_equal("native cancels with a stale If-Match", 0, run.sandbox.cancels(raw_id))


@check("An If-Match with the current version, or with *, cancels.")
def if_match_current(run: Run) -> Findings:
    """W/"0" before anything is recorded, and *."""
    for value in ('W/"0"', "*"):
        response = run.facade.cancel(run.sandbox.create(), headers={"If-Match": value})
        yield from expect_result(f"{response.request} with If-Match: {value}", "200 cancelled", response)


@check("For an appointment that is cancelled already, a stale If-Match is 200 cancelled.")
def if_match_stale_after_the_cancel(run: Run) -> Findings:
    """A repeat after a lost response has the old version."""
    raw_id, _ = run.cancelled()
    for value in ('W/"0"', _FAR_VERSION):
        response = run.facade.cancel(raw_id, headers={"If-Match": value})
        yield from expect_result(
            f"{response.request}, cancelled before, with If-Match: {value}", "200 cancelled", response
        )


@check("Prefer: return=minimal and respond-async get the full response.")
def preferences(run: Run) -> Findings:
    """A single cancel is never deferred."""
    for value in ("return=minimal", "respond-async"):
        response = run.facade.cancel(run.sandbox.create(), headers={"Prefer": value})
        yield from expect_result(f"{response.request} with Prefer: {value}", "200 cancelled", response)
