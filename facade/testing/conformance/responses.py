"""Conformance of the appointments that an adapter returns, and of the facade's responses made from them."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from facade.errors import SourceError
from facade.fhir import validation
from facade.fhir.appointment import REQUIRED_ELEMENTS, complete
from facade.fhir.ids import MARK
from facade.fhir.reasons import SYSTEM
from facade.testing.conformance.base import Kit, must, response_to
from facade.testing.conformance.fault_runs import wrong_result
from facade.testing.conformance.harness import HL7_CODE, SOURCE_SYSTEM, Harness, Trial, same_id
from facade.testing.conformance.recording_adapter import Call


class Responses(Kit):
    """Tests of the adapter's Appointments, and of the Appointments that a client gets."""

    def test_the_adapter_returns_raw_ids(self, harness: Harness) -> None:
        """Return native ids as they are; the facade encodes them."""
        source = harness.build()
        for call in _successful_calls(harness):
            returned = call.result.get("id")
            same = same_id(source, returned, call.appointment_id)
            must(same, f"{call.operation} returns the id {returned!r}; return the raw native id")
            for reference in _references(call.result):
                encoded = reference.rpartition("/")[2].startswith(MARK)
                must(not encoded, f"{call.operation} returns an encoded reference; write Type/ and the raw native id")

    def test_the_adapter_returns_valid_r4(self, harness: Harness) -> None:
        """Return elements of FHIR R4's Appointment, and both start and end or neither."""
        identity = harness.build().identity
        for call in _successful_calls(harness):
            native = call.result
            _, rejected = complete(
                native, identity=identity, appointment_id=call.appointment_id, status=native.get("status", "proposed")
            )
            names = ", ".join(sorted(set(rejected)))
            must(not rejected, f"{call.operation} returns {names}, which is not valid in R4; return R4's elements")
            both = ("start" in native) == ("end" in native)
            must(both, f"{call.operation} returns start or end alone; return both, or neither")

    def test_each_required_element_is_returned_or_declared_lacking(self, harness: Harness) -> None:
        """Return serviceType, appointmentType, slot and participant, or name them in Capabilities.lacks."""
        lacks = harness.plugin.capabilities.lacks
        returned = {name for call in _successful_calls(harness) for name, value in call.result.items() if value}
        missing = sorted(REQUIRED_ELEMENTS - lacks - returned)
        must(not missing, f"no response has {', '.join(missing)}; translate it, or name it in Capabilities.lacks")

    def test_elements_declared_lacking_are_never_returned(self, harness: Harness) -> None:
        """Remove from Capabilities.lacks what the source has."""
        lacks = harness.plugin.capabilities.lacks
        returned = sorted({name for call in _successful_calls(harness) for name in call.result if name in lacks})
        must(
            not returned,
            f"the adapter returns {', '.join(returned)}, which is declared lacking; remove it from Capabilities.lacks",
        )

    def test_the_responses_are_valid_r4(self, harness: Harness) -> None:
        """Return elements that are valid together."""
        with harness.trial() as trial:
            responses = [response_to(trial.cancel, one) for one in (trial.appointment(), trial.faulty("refused"))]
            responses += [response_to(trial.read, trial.appointment(1))] if trial.readable else []
        for response in responses:
            found = ", ".join(validation.find_problems(response))
            must(
                not found,
                f"a response with status {response['status']} is not valid at {found}; return elements that fit",
            )

    def test_the_response_names_the_source_and_the_native_id(self, trial: Trial) -> None:
        """Leave the first two identifiers to the facade."""
        response = response_to(trial.cancel, appointment_id := trial.appointment())
        native = trial.source.identity.native_system("Appointment")
        found = [(one.get("system"), one.get("value")) for one in response["identifier"]]
        right = found[0] == (SOURCE_SYSTEM, trial.source.name) and found[1][0] == native
        right = right and trial.same(found[1][1], appointment_id)
        must(right, "the response lacks the facade's identifiers; return the source's own identifiers only")
        must(len(set(found)) == len(found), "the response has an identifier twice; return each of the source's once")

    def test_the_response_contains_the_clients_reason(self, trial: Trial) -> None:
        """Return the reason that was sent, or no reason."""
        response = response_to(trial.cancel, trial.appointment())
        codes = {(c.get("system"), c.get("code")) for c in response.get("cancelationReason", {}).get("coding", [])}
        kept = (SYSTEM, HL7_CODE) in codes
        must(kept, "the response has another reason than was sent; return the native reason in its own code system")


def _successful_calls(harness: Harness) -> Iterator[Call]:
    """Yield calls that returned an Appointment: an ordinary, a cancelled, an ended one and one with an odd status."""
    with harness.trial() as trial:
        appointment_id = trial.appointment()
        trial.outcome(appointment_id)
        for one in (appointment_id, trial.appointment(1), trial.simulator.ended_id, trial.simulator.odd_status_id):
            if one is not None and trial.readable:
                with suppress(SourceError):  # other tests check the errors
                    trial.read_directly(one)
    yield from (call for call in trial.record.calls if call.error is None and not wrong_result(call))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from _references(member)
