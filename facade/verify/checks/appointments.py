"""Checks of every Appointment that was answered: what a scheduler needs of it, and what R4 demands."""

import re
from collections.abc import Iterator
from typing import Any

from facade.verify import r4
from facade.verify.check import Findings, Skipped, check, differs
from facade.verify.evaluation import issues, judged, of_every_appointment
from facade.verify.hl7 import FHIR_ID, encoded
from facade.verify.http import WireResponse
from facade.verify.runner import Run

_REQUIRED = "resourceType id identifier serviceType appointmentType slot participant status".split()
_PROPOSED_BECAUSE = frozenset(
    "timeout transient not-supported business-rule throttled conflict security processing".split()
)
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/(.+)", re.DOTALL)


@of_every_appointment("Every Appointment has the elements that a scheduler cannot do without.")
def appointments_are_complete(answer: WireResponse) -> Findings:
    """An actor and a status of a participant among them."""
    absent = [element for element in _REQUIRED if not answer.resource.get(element)]
    participants = answer.resource.get("participant", [])
    if not all(participant.get("actor") for participant in participants):
        absent.append("participant.actor")
    if not all(participant.get("status") for participant in participants):
        absent.append("participant.status")
    if absent:
        yield f"expected every required element, saw no {', '.join(absent)}"


@check("Every Appointment has identifiers of its source system and with its raw native id.", end=True)
def appointments_are_identified(run: Run) -> Findings:
    """The native one is official."""

    def judge(answer: WireResponse) -> Findings:
        found = [identifier for identifier in answer.resource.get("identifier", []) if identifier.get("system")]
        if not any(identifier.get("value") == run.facade.source for identifier in found):
            yield f"expected an identifier whose value is the source system {run.facade.source}, saw none"
        official = [identifier.get("value") for identifier in found if identifier.get("use") == "official"]
        if answer.about and answer.about not in official:
            yield f"expected an official identifier with the raw id {answer.about}, saw {official}"

    return judged(run, judge, appointments=True)


@of_every_appointment("Every Appointment's id is its native id, encoded where FHIR does not allow it.")
def appointments_have_encoded_ids(answer: WireResponse) -> Findings:
    """By the encoding that facade/fhir/ids.py describes."""
    if answer.about:
        yield from differs("id", encoded(answer.about), answer.resource.get("id"))


@of_every_appointment("Every relative reference is encoded, typed and logically identified.")
def appointments_have_encoded_references(answer: WireResponse) -> Findings:
    """The same encoding as the id's."""
    for reference in _references(answer.resource):
        match = _REFERENCE.fullmatch(reference["reference"])
        if match is None:
            continue
        raw = reference.get("identifier", {}).get("value")
        if not FHIR_ID.fullmatch(match[2]):
            yield f"expected the reference {match[0]} to hold a FHIR id, saw an id that FHIR does not allow"
        elif reference.get("type") != match[1] or not raw or encoded(raw) != match[2]:
            yield f"expected {match[0]} to carry its type and an identifier with the raw id, saw {reference}"


def _references(value: Any) -> Iterator[dict[str, Any]]:
    """Every Reference in an Appointment; what is contained in it is the source's own."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value
        for name, member in value.items():
            if name != "contained":
                yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


@of_every_appointment("Every Appointment has meta.versionId, and it is the ETag.")
def appointments_have_a_version(answer: WireResponse) -> Findings:
    """As a weak tag."""
    version = answer.resource.get("meta", {}).get("versionId")
    if not version:
        yield "expected meta.versionId, saw none"
    yield from differs("ETag", f'W/"{version}"', answer.headers.get("ETag"))


@of_every_appointment("Every cancelled answer carries a cancelationReason.")
def cancelled_has_a_reason(answer: WireResponse) -> Findings:
    """If only to say that no one knows it."""
    if answer.resource.get("status") == "cancelled" and not answer.resource.get("cancelationReason"):
        yield "expected a cancelationReason, saw none"


@check("A proposed answer says why: a contained OperationOutcome, referenced from supportingInformation.", end=True)
def proposed_says_why(run: Run) -> Findings:
    """With an issue code that docs/reference/errors.md lists, and a text a call-centre agent can act on."""

    def judge(answer: WireResponse) -> Findings:
        if _is_proposed(answer):
            why = _why(answer.resource)
            if not why:
                yield "expected a contained OperationOutcome that is referenced, saw none"
            for outcome in why:
                yield from issues(outcome, _PROPOSED_BECAUSE)

    given = [answer for answer in run.facade.answers if _is_proposed(answer)]
    if given and not any(_why(answer.resource) for answer in given):
        raise Skipped("no proposed answer says why; this facade is configured not to, or it should be")
    yield from judged(run, judge)


def _is_proposed(answer: WireResponse) -> bool:
    """Whether it is the answer to a cancel: a read may find an appointment that its source calls proposed."""
    return answer.is_appointment and answer.request.startswith("POST") and answer.resource.get("status") == "proposed"


def _why(appointment: dict[str, Any]) -> list[dict[str, Any]]:
    referenced = {reference.get("reference") for reference in appointment.get("supportingInformation", [])}
    contained = [r for r in appointment.get("contained", []) if r.get("resourceType") == "OperationOutcome"]
    return [outcome for outcome in contained if f"#{outcome.get('id')}" in referenced]


@check("Every body is valid R4.", end=True)
def every_body_is_valid(run: Run) -> Findings:
    """Structure, required value sets, ids; the invariants have checks of their own."""
    judged_already: set[bytes] = set()

    def judge(answer: WireResponse) -> Findings:
        if answer.body not in judged_already and "resourceType" in answer.resource:
            judged_already.add(answer.body)
            if wrong := r4.problems(answer.resource):
                yield f"expected valid R4, saw what is wrong at {', '.join(wrong)}"

    return judged(run, judge)


@of_every_appointment("A participant has a type or an actor.")
def app_1(answer: WireResponse) -> Findings:
    """And codes of the required value sets."""
    return _broken("app-1", answer)


@of_every_appointment("start and end come both or neither.")
def app_2(answer: WireResponse) -> Findings:
    """R4's invariant."""
    return _broken("app-2", answer)


@of_every_appointment("Only proposed, cancelled and waitlist may lack start and end.")
def app_3(answer: WireResponse) -> Findings:
    """An extension that says why they are absent counts as their being there."""
    return _broken("app-3", answer)


@of_every_appointment("cancelationReason comes only with cancelled: a proposed answer drops it.")
def app_4(answer: WireResponse) -> Findings:
    """One l: R4's spelling."""
    return _broken("app-4", answer)


def _broken(rule: str, answer: WireResponse) -> Findings:
    for broken, place in r4.broken_invariants(answer.resource):
        if broken == rule:
            yield f"expected {rule} to hold, saw it broken at {place}"
