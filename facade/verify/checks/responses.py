"""Checks of every answer, whatever was asked for: time, headers, refusals, secrecy."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

from facade.verify.check import Findings, check, differs
from facade.verify.evaluation import issues, judged, of_every_answer
from facade.verify.http import WireResponse
from facade.verify.r4 import ISSUE_TYPES
from facade.verify.runner import Run
from facade.verify.target import FHIR_JSON

_MARKUP = re.compile(rb"<!doctype|<html", re.IGNORECASE)
_CANARY = b"CANARY"


@check("Every answer comes in time, always.", end=True)
def answers_come_in_time(run: Run) -> Findings:
    """8 s, or what --within says."""
    within = run.facade.within
    for answer in run.facade.answers:
        if answer.seconds > within:
            yield f"{answer.request}: expected an answer within {within:g} s, saw it after {answer.seconds:.1f} s"


@of_every_answer("Every answer is application/fhir+json; fhirVersion=4.0; charset=utf-8.")
def answers_are_fhir_json(answer: WireResponse) -> Findings:
    """Of those that asked for it, but for the probes."""
    if answer.sent.get("Accept") == FHIR_JSON and "/health/" not in answer.request:
        seen = answer.headers.get("Content-Type", "")
        if seen.lower().replace(" ", "") != "application/fhir+json;fhirversion=4.0;charset=utf-8":
            yield f"expected application/fhir+json; fhirVersion=4.0; charset=utf-8, saw {seen or 'no Content-Type'}"


@of_every_answer("Every answer carries Cache-Control: no-store.")
def answers_are_not_stored(answer: WireResponse) -> Findings:
    """It is about a patient."""
    yield from differs("Cache-Control", "no-store", answer.headers.get("Cache-Control"))


@of_every_answer("Every answer echoes a sane X-Request-Id.")
def answers_echo_the_request_id(answer: WireResponse) -> Findings:
    """Every request of a run has one of its own."""
    sent = answer.sent.get("X-Request-Id", "")
    if sent.startswith("verify-"):
        yield from differs("X-Request-Id", sent, answer.headers.get("X-Request-Id"))


@check("A missing X-Request-Id is made up, and one that is not sane is replaced; X-Correlation-Id is echoed.")
def request_ids_are_made(run: Run) -> Findings:
    """Anything but a short word could forge a line in a log."""
    raw_id, _ = run.cancelled()
    sent = (None, "two words", "x" * 500)
    made = [run.facade.read(raw_id, headers={"X-Request-Id": value}).headers.get("X-Request-Id") for value in sent]
    for value, seen in zip(sent, made, strict=True):
        if not seen or seen == value:
            yield f"X-Request-Id for {value}: expected one made by the facade, saw {seen}"
    if len(set(made)) < len(made):
        yield "X-Request-Id: expected another for every request, saw the same twice"
    answer = run.facade.read(raw_id, headers={"X-Correlation-Id": "verify-correlation"})
    yield from differs("X-Correlation-Id", "verify-correlation", answer.headers.get("X-Correlation-Id"))


@of_every_answer("Every non-2xx body is an OperationOutcome with an R4 issue code and a text.")
def refusals_are_outcomes(answer: WireResponse) -> Findings:
    """No HTML of anybody's."""
    if not 200 <= answer.status < 300:
        if answer.resource.get("resourceType") == "OperationOutcome":
            yield from issues(answer.resource, ISSUE_TYPES)
        else:
            yield "expected an OperationOutcome, saw none"


@check("No answer holds native bodies, addresses, credentials or what only the source may know.", end=True)
def answers_keep_secrets(run: Run) -> Findings:
    """The sandbox's records hold canaries: only what is in R4's words already is passed on whole."""
    place = urlsplit(run.sandbox.url).netloc
    is_fhir = run.sandbox.record(run.sandbox.fresh()).get("resourceType") == "Appointment"

    def judge(answer: WireResponse) -> Findings:
        shown = answer.body
        if answer.is_appointment:
            # What a plugin puts into an element of R4's is its translation; what it adds to them is not.
            added = ("contained", "extension", "modifierExtension", "text", "meta")
            shown = json.dumps([] if is_fhir else [_members(answer.resource, name) for name in added]).encode()
        if _CANARY in shown:
            yield "expected nothing of what the source keeps to itself, saw one of the sandbox's canaries"
        if _MARKUP.search(answer.body):
            yield "expected no page of anybody's, saw HTML"
        if run.facade.key.stands_in(answer.body):
            yield "expected no credentials, saw the client's key"
        for outcome in (answer.resource, *answer.resource.get("contained", [])):
            text = json.dumps(outcome.get("issue", ""))
            if outcome.get("resourceType") == "OperationOutcome" and re.search(
                f"CANARY|Traceback|{re.escape(place)}", text
            ):
                yield "expected an OperationOutcome without addresses and internals, saw some"

    return judged(run, judge)


def _members(value: Any, name: str) -> list[Any]:
    """What stands under this name, at any depth."""
    if isinstance(value, dict):
        inside = [found for member in value.values() for found in _members(member, name)]
        return [value[name], *inside] if name in value else inside
    return [found for member in value for found in _members(member, name)] if isinstance(value, list) else []
