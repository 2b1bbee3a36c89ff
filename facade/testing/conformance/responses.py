"""Conformance of what an adapter gives, and of what becomes of it in an answer."""

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from facade.errors import SourceError
from facade.fhir import check
from facade.fhir.appointment import REQUIRED_ELEMENTS, complete
from facade.fhir.ids import MARK
from facade.fhir.reasons import SYSTEM
from facade.testing.conformance.base import Kit, answered, must
from facade.testing.conformance.fault_runs import strange
from facade.testing.conformance.harness import HL7_CODE, SOURCE_SYSTEM, Bench, Trial, same_id
from facade.testing.conformance.recording_adapter import Call


class Answers(Kit):
    """Appointments at the seam, and Appointments as a client gets them."""

    def test_the_ids_that_an_adapter_gives_are_raw(self, bench: Bench) -> None:
        """Give native ids as they are; the facade encodes them."""
        source = bench.build()
        for call in _well(bench):
            given = call.result.get("id")
            same = same_id(source, given, call.appointment_id)
            must(same, f"{call.operation} gives the id {given!r}; give the raw native id")
            for reference in _references(call.result):
                encoded = reference.rpartition("/")[2].startswith(MARK)
                must(not encoded, f"{call.operation} gives an encoded reference; write Type/ and the raw native id")

    def test_what_an_adapter_gives_is_r4(self, bench: Bench) -> None:
        """Give elements of FHIR R4's Appointment, start and end together or neither."""
        identity = bench.build().identity
        for call in _well(bench):
            native = call.result
            _, rejected = complete(
                native, identity=identity, appointment_id=call.appointment_id, status=native.get("status", "proposed")
            )
            names = ", ".join(sorted(set(rejected)))
            must(not rejected, f"{call.operation} gives {names} not as R4 has it; give R4's elements")
            both = ("start" in native) == ("end" in native)
            must(both, f"{call.operation} gives start or end alone; give both, or neither")

    def test_every_required_element_is_given_or_declared_lacking(self, bench: Bench) -> None:
        """Give serviceType, appointmentType, slot and participant, or name them in Capabilities.lacks."""
        lacks = bench.plugin.capabilities.lacks
        given = {name for call in _well(bench) for name, value in call.result.items() if value}
        missing = sorted(REQUIRED_ELEMENTS - lacks - given)
        must(not missing, f"no answer has {', '.join(missing)}; translate it, or name it in Capabilities.lacks")

    def test_what_is_declared_lacking_is_never_given(self, bench: Bench) -> None:
        """Take out of Capabilities.lacks what the source has."""
        lacks = bench.plugin.capabilities.lacks
        given = sorted({name for call in _well(bench) for name in call.result if name in lacks})
        must(not given, f"the adapter gives {', '.join(given)}, which is declared lacking; take it out of lacks")

    def test_the_answers_pass_the_checks_of_r4(self, bench: Bench) -> None:
        """Give elements that go together."""
        with bench.trial() as trial:
            answers = [answered(trial.cancel, one) for one in (trial.appointment(), trial.faulty("refused"))]
            answers += [answered(trial.read, trial.appointment(1))] if trial.readable else []
        for answer in answers:
            found = ", ".join(check.problems(answer))
            must(not found, f"an answer with status {answer['status']} is wrong in {found}; give elements that fit")

    def test_the_answer_names_the_source_and_the_native_id(self, trial: Trial) -> None:
        """Leave the first two identifiers to the facade."""
        answer = answered(trial.cancel, appointment_id := trial.appointment())
        native = trial.source.identity.native_system("Appointment")
        found = [(one.get("system"), one.get("value")) for one in answer["identifier"]]
        right = found[0] == (SOURCE_SYSTEM, trial.source.name) and found[1][0] == native
        right = right and trial.same(found[1][1], appointment_id)
        must(right, "the answer lacks the facade's identifiers; give the source's own ones only")
        must(len(set(found)) == len(found), "the answer has an identifier twice; give each of the source's once")

    def test_the_answer_tells_the_callers_reason(self, trial: Trial) -> None:
        """Tell back the reason that was sent, or none."""
        answer = answered(trial.cancel, trial.appointment())
        codes = {(c.get("system"), c.get("code")) for c in answer.get("cancelationReason", {}).get("coding", [])}
        told = (SYSTEM, HL7_CODE) in codes
        must(told, "the answer tells another reason than was sent; tell the native reason in its own code system")


def _well(bench: Bench) -> Iterator[Call]:
    """The calls of adapters that gave an Appointment: read, cancelled, over, of an odd status."""
    with bench.trial() as trial:
        appointment_id = trial.appointment()
        trial.outcome(appointment_id)
        for one in (appointment_id, trial.appointment(1), trial.simulator.ended_id, trial.simulator.odd_status_id):
            if one is not None and trial.readable:
                with suppress(SourceError):  # what does not come out well is told elsewhere
                    trial.read_directly(one)
    yield from (call for call in trial.record.calls if call.error is None and not strange(call))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from _references(member)
