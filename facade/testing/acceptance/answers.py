"""Checks of every answer that the run was given, whatever it was asked for: headers, shape, validity, time, secrecy."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

from facade.fhir import ids
from facade.fhir.check import problems, resource_problems
from facade.testing.acceptance.check import Check, Findings, Skipped, check, differs
from facade.testing.acceptance.run import Run
from facade.testing.acceptance.wire import Answer

_REQUIRED = "resourceType id identifier serviceType appointmentType slot participant status".split()
# http://hl7.org/fhir/R4/valueset-issue-type.html
_ISSUE_TYPES = frozenset(
    "invalid structure required value invariant security login unknown expired forbidden suppressed processing "
    "not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly "
    "business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational".split()
)
_PROPOSED_BECAUSE = frozenset(
    "timeout transient not-supported business-rule throttled conflict security processing".split()
)
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/(.+)", re.DOTALL)
_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_MARKUP = re.compile(rb"<!doctype|<html", re.IGNORECASE)
_CANARY = b"CANARY"


def _judged(run: Run, judge: Callable[[Answer], Iterable[str]], *, appointments: bool = False) -> Findings:
    """What is found of every answer, or of every 200 with an Appointment."""
    for answer in list(run.facade.answers):
        if answer.is_appointment or not appointments:
            for finding in judge(answer):
                yield f"{answer.request} ({answer.verdict}): {finding}"


def _each(name: str, promise: str, judge: Callable[[Answer], Iterable[str]], *, appointments: bool = False) -> Check:
    def prove(run: Run) -> Findings:
        return _judged(run, judge, appointments=appointments)

    return Check(name=name, promise=promise, prove=prove, end=True)


# Headers


def _content_type(answer: Answer) -> Findings:
    if answer.sent.get("Accept") == "application/fhir+json" and "/health/" not in answer.request:
        seen = answer.headers.get("Content-Type", "").lower().replace(" ", "")
        if seen != "application/fhir+json;fhirversion=4.0;charset=utf-8":
            yield f"expected Content-Type application/fhir+json; fhirVersion=4.0; charset=utf-8, saw {seen}"


def _no_store(answer: Answer) -> Findings:
    yield from differs("Cache-Control", "no-store", answer.headers.get("Cache-Control"))


def _request_id(answer: Answer) -> Findings:
    if answer.sent.get("X-Request-Id", "").startswith("verify-"):
        yield from differs("X-Request-Id", answer.sent["X-Request-Id"], answer.headers.get("X-Request-Id"))


def _version(answer: Answer) -> Findings:
    version = answer.resource.get("meta", {}).get("versionId")
    if not version:
        yield "expected meta.versionId, saw none"
    yield from differs("ETag", f'W/"{version}"', answer.headers.get("ETag"))


@check("Every answer comes in time, always.", end=True)
def answers_come_in_time(run: Run) -> Findings:
    """8 s, or what --within says."""
    within = run.facade.within
    for answer in run.facade.answers:
        if answer.seconds > within:
            yield f"{answer.request}: expected an answer within {within:g} s, saw it after {answer.seconds:.1f} s"


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


# Refusals


def _outcome(answer: Answer) -> Findings:
    if 200 <= answer.status < 300:
        return
    if answer.resource.get("resourceType") != "OperationOutcome":
        yield "expected an OperationOutcome, saw none"
        return
    yield from _issues(answer.resource, _ISSUE_TYPES)


def _issues(outcome: dict[str, Any], codes: frozenset[str]) -> Iterator[str]:
    issues = outcome.get("issue") or [{}]
    for issue in issues:
        if issue.get("code") not in codes:
            yield f"expected an issue code like {min(codes)}, saw {issue.get('code')}"
        if not (issue.get("details", {}).get("text") or issue.get("diagnostics")):
            yield "expected an issue with a readable text, saw none"


# Appointments


def _required(answer: Answer) -> Findings:
    absent = [element for element in _REQUIRED if not answer.resource.get(element)]
    participants = answer.resource.get("participant", [])
    if participants and not any(participant.get("actor") for participant in participants):
        absent.append("participant.actor")
    if not all(participant.get("status") for participant in participants):
        absent.append("participant.status")
    if absent:
        yield f"expected every required element, saw no {', '.join(absent)}"


@check("Every Appointment has identifiers of its source system and with its raw native id.", end=True)
def appointments_are_identified(run: Run) -> Findings:
    """The native one is official."""

    def judge(answer: Answer) -> Findings:
        found = [identifier for identifier in answer.resource.get("identifier", []) if identifier.get("system")]
        if not any(identifier.get("value") == run.facade.source for identifier in found):
            yield f"expected an identifier whose value is the source system {run.facade.source}, saw none"
        official = [identifier.get("value") for identifier in found if identifier.get("use") == "official"]
        if answer.about and answer.about not in official:
            yield f"expected an official identifier with the raw id {answer.about}, saw {official}"

    return _judged(run, judge, appointments=True)


def _id(answer: Answer) -> Findings:
    if answer.about:
        yield from differs("id", ids.encode(answer.about), answer.resource.get("id"))


def _references(answer: Answer) -> Findings:
    for reference in _found(answer.resource):
        match = _REFERENCE.fullmatch(reference["reference"])
        if match is None:
            continue
        raw = reference.get("identifier", {}).get("value")
        if not _FHIR_ID.fullmatch(match[2]):
            yield f"expected the reference {match[0]} to hold a FHIR id, saw an id that FHIR does not allow"
        elif reference.get("type") != match[1] or not raw or ids.encode(raw) != match[2]:
            yield f"expected {match[0]} to carry its type and an identifier with the raw id, saw {reference}"


def _found(value: Any) -> Iterator[dict[str, Any]]:
    """Every Reference in an Appointment; what is contained in it is the source's own."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value
        for name, member in value.items():
            if name != "contained":
                yield from _found(member)
    elif isinstance(value, list):
        for member in value:
            yield from _found(member)


def _reason(answer: Answer) -> Findings:
    if answer.resource.get("status") == "cancelled" and not answer.resource.get("cancelationReason"):
        yield "expected a cancelationReason, saw none"


def _invariant(rule: str) -> Callable[[Answer], Iterable[str]]:
    def judge(answer: Answer) -> Findings:
        for problem in problems(answer.resource):
            if f"({rule})" in problem:
                yield f"expected {rule} to hold, saw it broken at {problem.partition(' (')[0]}"

    return judge


@check("Every body is valid R4.", end=True)
def every_body_is_valid(run: Run) -> Findings:
    """Structure, required value sets, ids; the invariants have checks of their own."""
    judged: set[bytes] = set()
    for answer in list(run.facade.answers):
        if answer.body in judged or "resourceType" not in answer.resource:
            continue
        judged.add(answer.body)
        found = problems(answer.resource) if answer.is_appointment else resource_problems(answer.resource)
        wrong = [problem for problem in found if "(app-" not in problem]
        if wrong:
            yield f"{answer.request} ({answer.verdict}): expected valid R4, saw what is wrong at {', '.join(wrong)}"


@check("A proposed answer says why: a contained OperationOutcome, referenced from supportingInformation.", end=True)
def proposed_says_why(run: Run) -> Findings:
    """With an issue code of the contract's, and a text a call-centre agent can act on."""
    given = [a for a in run.facade.answers if a.is_appointment and a.resource.get("status") == "proposed"]
    explained = [(answer, _why(answer.resource)) for answer in given]
    if given and not any(why for _, why in explained):
        raise Skipped("no proposed answer says why; this facade is configured not to, or it should be")
    for answer, why in explained:
        if not why:
            yield f"{answer.request} (proposed): expected a contained OperationOutcome that is referenced, saw none"
        for outcome in why:
            yield from (f"{answer.request} (proposed): {f}" for f in _issues(outcome, _PROPOSED_BECAUSE))


def _why(appointment: dict[str, Any]) -> list[dict[str, Any]]:
    referenced = {reference.get("reference") for reference in appointment.get("supportingInformation", [])}
    contained = [r for r in appointment.get("contained", []) if r.get("resourceType") == "OperationOutcome"]
    return [outcome for outcome in contained if f"#{outcome.get('id')}" in referenced]


# Secrecy


@check("No answer holds native bodies, addresses, credentials or what only the source may know.", end=True)
def answers_keep_secrets(run: Run) -> Findings:
    """The sandbox's records hold canaries in what must never be passed on."""
    place = urlsplit(run.sandbox.url).netloc

    def judge(answer: Answer) -> Findings:
        if _CANARY in answer.body:
            yield "expected nothing of what the source keeps to itself, saw one of the sandbox's canaries"
        if _MARKUP.search(answer.body):
            yield "expected no page of anybody's, saw HTML"
        if run.facade.key.stands_in(answer.body):
            yield "expected no credentials, saw the caller's key"
        for outcome in (answer.resource, *answer.resource.get("contained", [])):
            text = json.dumps(outcome.get("issue", ""))
            if outcome.get("resourceType") == "OperationOutcome" and (place in text or "Traceback" in text):
                yield "expected an OperationOutcome without addresses and internals, saw some"

    return _judged(run, judge)


EVERY_ANSWER = (
    _each(
        "answers-are-fhir-json", "Every answer is application/fhir+json; fhirVersion=4.0; charset=utf-8.", _content_type
    ),
    _each("answers-are-not-stored", "Every answer carries Cache-Control: no-store.", _no_store),
    _each("answers-echo-the-request-id", "Every answer echoes a sane X-Request-Id.", _request_id),
    _each(
        "refusals-are-outcomes", "Every non-2xx body is an OperationOutcome with an R4 issue code and a text.", _outcome
    ),
    _each(
        "appointments-are-complete",
        "Every Appointment has the elements that a scheduler cannot do without.",
        _required,
        appointments=True,
    ),
    _each(
        "appointments-have-encoded-ids",
        "Every Appointment's id is its native id, encoded where FHIR does not allow it.",
        _id,
        appointments=True,
    ),
    _each(
        "appointments-have-encoded-references",
        "Every relative reference is encoded, typed and logically identified.",
        _references,
        appointments=True,
    ),
    _each(
        "appointments-have-a-version",
        "Every Appointment has meta.versionId, and it is the ETag.",
        _version,
        appointments=True,
    ),
    _each("cancelled-has-a-reason", "Every cancelled answer carries a cancelationReason.", _reason, appointments=True),
    _each("app-1", "A participant has a type or an actor.", _invariant("app-1"), appointments=True),
    _each("app-2", "start and end come both or neither.", _invariant("app-2"), appointments=True),
    _each(
        "app-3", "Only proposed, cancelled and waitlist may lack start and end.", _invariant("app-3"), appointments=True
    ),
    _each(
        "app-4",
        "cancelationReason comes only with cancelled: a proposed answer drops it.",
        _invariant("app-4"),
        appointments=True,
    ),
)
