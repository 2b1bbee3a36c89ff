"""Checks of every Appointment in a response: what a scheduler needs, and what R4 requires."""

import re
from collections.abc import Iterator
from typing import Any

from facade.verify import r4
from facade.verify.check import Findings, Skipped, check, expect_equal
from facade.verify.evaluation import check_responses, every_appointment, issues
from facade.verify.hl7 import FHIR_ID, encoded
from facade.verify.http import WireResponse
from facade.verify.runner import Run

_REQUIRED = "resourceType id identifier serviceType appointmentType slot participant status".split()
_PROPOSED_BECAUSE = frozenset(
    "timeout transient not-supported business-rule throttled conflict security processing".split()
)
_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/(.+)", re.DOTALL)


@every_appointment("Every Appointment has the elements that a scheduler requires.")
def appointments_are_complete(response: WireResponse) -> Findings:
    """They include an actor and a status of each participant."""
    absent = [element for element in _REQUIRED if not response.resource.get(element)]
    participants = response.resource.get("participant", [])
    if not all(participant.get("actor") for participant in participants):
        absent.append("participant.actor")
    if not all(participant.get("status") for participant in participants):
        absent.append("participant.status")
    if absent:
        yield f"expected every required element, saw no {', '.join(absent)}"


@check("Every Appointment has an identifier of its source system and one with its raw native id.", end=True)
def appointments_are_identified(run: Run) -> Findings:
    """The native identifier is official."""

    def inspect(response: WireResponse) -> Findings:
        found = [identifier for identifier in response.resource.get("identifier", []) if identifier.get("system")]
        if not any(identifier.get("value") == run.facade.source for identifier in found):
            yield f"expected an identifier whose value is the source system {run.facade.source}, saw none"
        official = [identifier.get("value") for identifier in found if identifier.get("use") == "official"]
        if response.about and response.about not in official:
            yield f"expected an official identifier with the raw id {response.about}, saw {official}"

    return check_responses(run, inspect, appointments=True)


@every_appointment("Every Appointment's id is its native id, encoded if FHIR does not allow it.")
def appointments_have_encoded_ids(response: WireResponse) -> Findings:
    """The encoding that facade/fhir/ids.py describes."""
    if response.about:
        yield from expect_equal("id", encoded(response.about), response.resource.get("id"))


@every_appointment("Every relative reference is encoded, typed and logically identified.")
def appointments_have_encoded_references(response: WireResponse) -> Findings:
    """The encoding is the same as the id's."""
    for reference in _references(response.resource):
        match = _REFERENCE.fullmatch(reference["reference"])
        if match is None:
            continue
        raw = reference.get("identifier", {}).get("value")
        if not FHIR_ID.fullmatch(match[2]):
            yield f"expected the reference {match[0]} to hold a FHIR id, saw an id that FHIR does not allow"
        elif reference.get("type") != match[1] or not raw or encoded(raw) != match[2]:
            yield f"expected {match[0]} to carry its type and an identifier with the raw id, saw {reference}"


def _references(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every Reference in an Appointment, except in the contained resources, which are the source's own."""
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value
        for name, member in value.items():
            if name != "contained":
                yield from _references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _references(member)


@every_appointment("Every Appointment has meta.versionId, and it is the ETag.")
def appointments_have_a_version(response: WireResponse) -> Findings:
    """The ETag is weak."""
    version = response.resource.get("meta", {}).get("versionId")
    if not version:
        yield "expected meta.versionId, saw none"
    yield from expect_equal("ETag", f'W/"{version}"', response.headers.get("ETag"))


@every_appointment("Every cancelled response has a cancelationReason.")
def cancelled_has_a_reason(response: WireResponse) -> Findings:
    """If the reason is unknown, the element states that."""
    if response.resource.get("status") == "cancelled" and not response.resource.get("cancelationReason"):
        yield "expected a cancelationReason, saw none"


@check("A proposed response states the reason: an OperationOutcome referenced from supportingInformation.", end=True)
def proposed_says_why(run: Run) -> Findings:
    """With an issue code that docs/reference/errors.md lists, and a text for a call-centre agent."""

    def inspect(response: WireResponse) -> Findings:
        if _is_proposed(response):
            why = _why(response.resource)
            if not why:
                yield "expected a contained OperationOutcome that is referenced, saw none"
            for outcome in why:
                yield from issues(outcome, _PROPOSED_BECAUSE)

    given = [response for response in run.facade.responses if _is_proposed(response)]
    if given and not any(_why(response.resource) for response in given):
        raise Skipped("no proposed response states the reason; check whether this facade is configured to omit it")
    yield from check_responses(run, inspect)


def _is_proposed(response: WireResponse) -> bool:
    """Return whether it is a proposed response to a cancel; a read may find an appointment that is proposed."""
    return (
        response.is_appointment
        and response.request.startswith("POST")
        and response.resource.get("status") == "proposed"
    )


def _why(appointment: dict[str, Any]) -> list[dict[str, Any]]:
    referenced = {reference.get("reference") for reference in appointment.get("supportingInformation", [])}
    contained = [r for r in appointment.get("contained", []) if r.get("resourceType") == "OperationOutcome"]
    return [outcome for outcome in contained if f"#{outcome.get('id')}" in referenced]


@check("Every body is valid R4.", end=True)
def every_body_is_valid(run: Run) -> Findings:
    """Structure, required value sets, ids; separate checks cover the invariants."""
    inspected: set[bytes] = set()

    def inspect(response: WireResponse) -> Findings:
        if response.body not in inspected and "resourceType" in response.resource:
            inspected.add(response.body)
            if wrong := r4.problems(response.resource):
                yield f"expected valid R4, saw errors at {', '.join(wrong)}"

    return check_responses(run, inspect)


@every_appointment("A participant has a type or an actor.")
def app_1(response: WireResponse) -> Findings:
    """R4's invariant app-1."""
    return _broken("app-1", response)


@every_appointment("An Appointment has both start and end, or neither.")
def app_2(response: WireResponse) -> Findings:
    """R4's invariant app-2."""
    return _broken("app-2", response)


@every_appointment("Only proposed, cancelled and waitlist may lack start and end.")
def app_3(response: WireResponse) -> Findings:
    """R4's invariant app-3. An extension that states why an element is absent counts as the element."""
    return _broken("app-3", response)


@every_appointment("Only a cancelled Appointment has a cancelationReason: a proposed response omits it.")
def app_4(response: WireResponse) -> Findings:
    """R4's invariant app-4. R4 spells cancelationReason with one l."""
    return _broken("app-4", response)


def _broken(rule: str, response: WireResponse) -> Findings:
    for broken, place in r4.broken_invariants(response.resource):
        if broken == rule:
            yield f"expected {rule} to hold, saw it broken at {place}"
