"""Checks of every response, whatever the request: time, headers, errors, secrecy."""

import json
import re
from typing import Any
from urllib.parse import urlsplit

from facade.verify.check import Findings, check, expect_equal
from facade.verify.evaluation import check_responses, every_response, issues
from facade.verify.http import WireResponse
from facade.verify.r4 import ISSUE_TYPES
from facade.verify.runner import Run
from facade.verify.target import FHIR_JSON

_MARKUP = re.compile(rb"<!doctype|<html", re.IGNORECASE)
_CANARY = b"CANARY"


@check("Every response comes in time.", end=True)
def responses_come_in_time(run: Run) -> Findings:
    """Within 8 s, or the seconds of --within."""
    within = run.facade.within
    for response in run.facade.responses:
        if response.seconds > within:
            yield f"{response.request}: expected a response within {within:g} s, saw it after {response.seconds:.1f} s"


@every_response("Every response is application/fhir+json; fhirVersion=4.0; charset=utf-8.")
def responses_are_fhir_json(response: WireResponse) -> Findings:
    """To the requests that accept it, except health probes."""
    if response.sent.get("Accept") == FHIR_JSON and "/health/" not in response.request:
        seen = response.headers.get("Content-Type", "")
        if seen.lower().replace(" ", "") != "application/fhir+json;fhirversion=4.0;charset=utf-8":
            yield f"expected application/fhir+json; fhirVersion=4.0; charset=utf-8, saw {seen or 'no Content-Type'}"


@every_response("Every response has Cache-Control: no-store.")
def responses_are_not_stored(response: WireResponse) -> Findings:
    """A response may contain patient data."""
    yield from expect_equal("Cache-Control", "no-store", response.headers.get("Cache-Control"))


@every_response("Every response returns the request's valid X-Request-Id.")
def responses_echo_the_request_id(response: WireResponse) -> Findings:
    """Every request of a run has its own."""
    sent = response.sent.get("X-Request-Id", "")
    if sent.startswith("verify-"):
        yield from expect_equal("X-Request-Id", sent, response.headers.get("X-Request-Id"))


@check("The facade creates a missing X-Request-Id, replaces an invalid one, and returns X-Correlation-Id.")
def request_ids_are_made(run: Run) -> Findings:
    """A long value, or one with spaces, could forge a line in a log."""
    raw_id, _ = run.cancelled()
    sent = (None, "two words", "x" * 500)
    made = [run.facade.read(raw_id, headers={"X-Request-Id": value}).headers.get("X-Request-Id") for value in sent]
    for value, seen in zip(sent, made, strict=True):
        if not seen or seen == value:
            yield f"X-Request-Id for {value}: expected one created by the facade, saw {seen}"
    if len(set(made)) < len(made):
        yield "X-Request-Id: expected a different one for every request, saw the same twice"
    response = run.facade.read(raw_id, headers={"X-Correlation-Id": "verify-correlation"})
    yield from expect_equal("X-Correlation-Id", "verify-correlation", response.headers.get("X-Correlation-Id"))


@every_response("Every non-2xx body is an OperationOutcome with an R4 issue code and a text.")
def refusals_are_outcomes(response: WireResponse) -> Findings:
    """Never an HTML page."""
    if not 200 <= response.status < 300:
        if response.resource.get("resourceType") == "OperationOutcome":
            yield from issues(response.resource, ISSUE_TYPES)
        else:
            yield "expected an OperationOutcome, saw none"


@check("No response contains native bodies, addresses, credentials or what only the source may know.", end=True)
def responses_keep_secrets(run: Run) -> Findings:
    """The sandbox's records contain canaries. Only a source that is itself R4 may return its record unchanged."""
    place = urlsplit(run.sandbox.url).netloc
    is_fhir = run.sandbox.record(run.sandbox.create()).get("resourceType") == "Appointment"

    def inspect(response: WireResponse) -> Findings:
        shown = response.body
        if response.is_appointment:
            # An element of R4 is the plugin's translation and may contain the canary; what it adds must not.
            added = ("contained", "extension", "modifierExtension", "text", "meta")
            shown = json.dumps([] if is_fhir else [_members(response.resource, name) for name in added]).encode()
        if _CANARY in shown:
            yield "expected no internal data of the source, saw one of the sandbox's canaries"
        if _MARKUP.search(response.body):
            yield "expected no HTML page, saw HTML"
        if run.facade.key.stands_in(response.body):
            yield "expected no credentials, saw the client's key"
        for outcome in (response.resource, *response.resource.get("contained", [])):
            text = json.dumps(outcome.get("issue", ""))
            if outcome.get("resourceType") == "OperationOutcome" and re.search(
                f"CANARY|Traceback|{re.escape(place)}", text
            ):
                yield "expected an OperationOutcome without addresses and internal data, saw some"

    return check_responses(run, inspect)


def _members(value: Any, name: str) -> list[Any]:
    """Return the values of every member with this name, at any depth."""
    if isinstance(value, dict):
        inside = [found for member in value.values() for found in _members(member, name)]
        return [value[name], *inside] if name in value else inside
    return [found for member in value for found in _members(member, name)] if isinstance(value, list) else []
