"""Conformance of a source that is well: what is read, what a cancel does, and who else was there first."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from facade.errors import AppointmentNotFound, NotDone, SourceError, Unknown
from facade.fhir import check
from facade.fhir.appointment import REQUIRED_ELEMENTS, complete
from facade.fhir.ids import MARK
from facade.fhir.reasons import SYSTEM
from facade.testing.conformance.base import TIMINGS, Kit, cannot, eventually, fail, must, only_if_readable, prepare
from facade.testing.conformance.bench import HL7_CODE, ROOM, SOURCE_SYSTEM, Bench, Trial
from facade.testing.conformance.runs import strange
from facade.testing.conformance.seam import Call


class Ordinary(Kit):
    """Nothing is broken, and everything must be right."""

    def test_a_cancel_ends_in_cancelled(self, trial: Trial) -> None:
        """Return the cancelled appointment from cancel, or raise Unknown so that the facade reads it."""
        told = trial.outcome(trial.appointment())
        said = ", ".join(f"{type(c.error).__name__} from {c.operation}" for c in trial.record.calls if c.error)
        must(told == "cancelled", f"an ordinary cancel ends in {told} ({said}); return the appointment as cancelled")

    def test_a_cancel_is_one_native_write(self, trial: Trial) -> None:
        """Write once."""
        trial.outcome(appointment_id := trial.appointment())
        writes = trial.writes(appointment_id)
        must(writes == 1, f"an ordinary cancel wrote {writes} times to the source; write once")

    def test_cancelling_twice_writes_once(self, trial: Trial) -> None:
        """Keep nothing in the adapter that makes a second cancel another one."""
        first, again = (trial.outcome(appointment_id := trial.appointment()) for _ in range(2))
        must(again == first, f"a second cancel is told {again} after {first}; a repeat must be told the same")
        writes = trial.writes(appointment_id)
        must(writes <= 1, f"two cancels of one appointment wrote {writes} times; write only from cancel, once")

    def test_two_at_once_write_once(self, trial: Trial) -> None:
        """Write only from cancel, after the permit."""
        appointment_id, start = trial.appointment(), threading.Barrier(2)

        def cancel() -> str:
            start.wait(ROOM)
            return trial.outcome(appointment_id)

        with ThreadPoolExecutor(2) as pool:
            told = {future.result() for future in [pool.submit(cancel), pool.submit(cancel)]}
        writes = trial.writes(appointment_id)
        must(writes <= 1, f"two cancels at once wrote {writes} times; write only from cancel, once, after the permit")
        must(len(told) == 1, f"two cancels at once are told {' and '.join(sorted(told))}; both must be told the same")

    def test_two_appointments_at_once_are_kept_apart(self, trial: Trial) -> None:
        """Keep nothing about one appointment on the adapter: many threads share it."""
        both = [trial.appointment(0), trial.appointment(1)]
        prepared = [prepare(trial, appointment_id) for appointment_id in both]
        trial.simulator.log.clear()
        meeting = threading.Barrier(2)

        def permit() -> None:
            try:
                meeting.wait(ROOM / 5)  # so that both have begun before either writes
            except threading.BrokenBarrierError:
                return  # one waits for the other: slow, and told elsewhere

        def cancel(number: int) -> Any:
            request, current = prepared[number]
            try:
                return trial.cancel_directly(request, current, permit)
            except SourceError as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            given = list(pool.map(cancel, range(2)))
        writes = [trial.writes(appointment_id) for appointment_id in both]
        must(writes == [1, 1], f"two cancels at once wrote {writes} times; keep a request's facts in local variables")
        for appointment_id, answer in zip(both, given, strict=True):
            about = answer.get("id") if isinstance(answer, dict) else appointment_id
            must(about == appointment_id, "two cancels at once get each other's answers; keep them in local variables")

    def test_a_silent_appointment_keeps_no_other_waiting(self, trial: Trial) -> None:
        """Hold no lock and no single connection while the source is waited for."""
        silent, other = trial.faulty("timeout-before-commit"), trial.appointment()
        stuck_request, stuck_current = prepare(trial, silent)
        request, current = prepare(trial, other)

        def wait() -> None:
            with suppress(Exception):  # whatever comes out, it is the other one that matters
                trial.cancel_directly(stuck_request, stuck_current, lambda: None, seconds=TIMINGS.silence)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        eventually(lambda: trial.writes(silent), "the cancel of a silent appointment never reached the source")
        with suppress(Exception):  # how it ends is told elsewhere
            trial.cancel_directly(request, current, lambda: None)
        sentence = "while the source was silent about one appointment another one had to wait; hold no lock meanwhile"
        must(waiting.is_alive(), sentence)

    def test_what_another_cancelled_is_not_written_to(self, trial: Trial) -> None:
        """Tell status cancelled from read once the source says so."""
        only_if_readable(trial.source.system)
        told = trial.cancel_by_another(appointment_id := trial.appointment())
        must(told == "cancelled", "an ordinary cancel does not end in cancelled; make that work first")
        told, writes = trial.outcome(appointment_id), trial.writes(appointment_id)
        must(not writes, "what another had cancelled was written to; tell status cancelled from read")
        must(told == "cancelled", f"what another had cancelled is told {told}; tell status cancelled from read")

    def test_an_unknown_appointment_is_not_found_and_not_written_to(self, trial: Trial) -> None:
        """Raise AppointmentNotFound where the source's own answer says that it knows no such appointment."""
        trial.simulator.remove(appointment_id := trial.appointment())
        told = trial.outcome(appointment_id)
        if not trial.readable:
            must(told != "cancelled", "an appointment that the source does not know is told cancelled; raise NotDone")
            return
        must(told == "not found", f"an unknown appointment is told {told}; raise AppointmentNotFound from read")
        must(not trial.writes(appointment_id), "an unknown appointment was written to; write nothing")

    def test_what_is_declared_readable_is_read(self, trial: Trial) -> None:
        """Read where Capabilities.read says so, and give the appointment's status."""
        only_if_readable(trial.source.system)
        found = _given(lambda: trial.read_directly(trial.appointment()), "an ordinary read")
        must(found.get("status"), "an ordinary read gives no status; give the FHIR status of the native one")
        must(found["status"] != "cancelled", "an ordinary appointment is read as cancelled; translate its status")

    def test_what_is_declared_unreadable_is_not_read(self, trial: Trial) -> None:
        """Raise NotDone(Cause.UNSUPPORTED) from read where Capabilities.read is not YES."""
        if trial.readable:
            cannot("this source is declared readable (Capabilities.read)")
        try:
            trial.read_directly(trial.appointment())
        except SourceError:
            trial.outcome(appointment_id := trial.appointment(1))
            reads = trial.simulator.log.count("read", appointment_id)
            must(not reads, "a source that is declared unreadable was read; declare Capabilities(read=Can.YES)")
        else:
            fail("a source that is declared unreadable can be read; declare Capabilities(read=Can.YES)")

    def test_a_read_tells_what_is_there_now(self, trial: Trial) -> None:
        """Ask the source at every read."""
        only_if_readable(trial.source.system)
        appointment_id = trial.appointment()
        _given(lambda: trial.read_directly(appointment_id), "an ordinary read")
        trial.cancel_by_another(appointment_id)
        after = _given(lambda: trial.read_directly(appointment_id), "a read of a cancelled appointment")
        told = after.get("status")
        must(told == "cancelled", f"a cancelled appointment is read as {told}; ask the source at every read")

    def test_an_answer_about_another_appointment_is_refused(self, trial: Trial) -> None:
        """Take the id from what the source answered, never from what was asked for."""
        only_if_readable(trial.source.system)
        asked, other = trial.appointment(0), trial.appointment(1)
        native = trial.simulator.get(other)
        if other not in _words(native):
            cannot("the source's answers do not hold the appointment's id")
        trial.simulator.put(asked, native or {})
        try:
            found = trial.read_directly(asked)
        except SourceError:
            return
        about = found.get("id") if isinstance(found, dict) else None
        must(about != asked, "another appointment's answer is taken for the one asked for; take id from the answer")

    def test_an_appointment_that_is_over_is_not_cancelled(self, trial: Trial) -> None:
        """Refuse what cannot be cancelled, or let the source refuse it: raise NotDone."""
        ended = trial.simulator.ended_id
        if ended is None:
            cannot("the simulator has no appointment that is over (Simulator.ended_id)")
        told = trial.outcome(ended)
        must(told == "proposed", f"an appointment that is over is told {told}; raise NotDone for it")

    def test_a_native_status_without_a_fhir_word_is_left_out(self, trial: Trial) -> None:
        """Leave status out for a native status that nobody mapped; never default it."""
        odd = trial.simulator.odd_status_id
        if odd is None:
            cannot("the simulator has no status without a FHIR word (Simulator.odd_status_id)")
        only_if_readable(trial.source.system)
        try:
            found = trial.read_directly(odd)
        except SourceError:
            return
        told = found.get("status") if isinstance(found, dict) else None
        must(told is None, f'an unknown native status is read as "{told}"; leave status out')

    def test_a_second_native_cancel_does_what_is_declared(self, trial: Trial) -> None:
        """Declare repeat as the source behaves, and believe "already cancelled" only after a read."""
        declared = trial.source.system.repeat
        if declared == "harmful":
            cannot('a second cancel is harmful (SourceSystem.repeat = "harmful"), so none is sent')
        request, current = prepare(trial, appointment_id := trial.appointment())
        trial.cancel_by_another(appointment_id)
        try:
            trial.cancel_directly(request, current, lambda: None)
        except NotDone as error:
            must(declared == "errors", f"a second cancel raises NotDone ({error}); declare repeat as it is")
        except (AppointmentNotFound, Unknown):
            return
        else:
            operations = [entry.operation for entry in trial.entries(appointment_id)]
            read_after = "read" in operations[operations.index("cancel") :] if "cancel" in operations else True
            believed = declared == "errors" and not read_after
            must(not believed, "a second cancel is taken for this one's success without a read; raise Unknown")

    def test_the_ids_that_an_adapter_gives_are_raw(self, bench: Bench) -> None:
        """Give native ids as they are; the facade encodes them."""
        for call in _well(bench):
            given = call.result.get("id")
            must(given == call.appointment_id, f"{call.operation} gives the id {given!r}; give the raw native id")
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
        lacks = bench.system.capabilities.lacks
        given = {name for call in _well(bench) for name, value in call.result.items() if value}
        missing = sorted(REQUIRED_ELEMENTS - lacks - given)
        must(not missing, f"no answer has {', '.join(missing)}; translate it, or name it in Capabilities.lacks")

    def test_what_is_declared_lacking_is_never_given(self, bench: Bench) -> None:
        """Take out of Capabilities.lacks what the source has."""
        lacks = bench.system.capabilities.lacks
        given = sorted({name for call in _well(bench) for name in call.result if name in lacks})
        must(not given, f"the adapter gives {', '.join(given)}, which is declared lacking; take it out of lacks")

    def test_the_answers_pass_the_checks_of_r4(self, bench: Bench) -> None:
        """Give elements that go together."""
        with bench.trial() as trial:
            answers = [trial.cancel(trial.appointment()), trial.cancel(trial.faulty("refused"))]
            answers += [trial.read(trial.appointment(1))] if trial.readable else []
        for answer in answers:
            found = ", ".join(check.problems(answer))
            must(not found, f"an answer with status {answer['status']} is wrong in {found}; give elements that fit")

    def test_the_answer_names_the_source_and_the_native_id(self, trial: Trial) -> None:
        """Leave the first two identifiers to the facade."""
        answer = trial.cancel(appointment_id := trial.appointment())
        native = trial.source.identity.native_system("Appointment")
        wanted = [(SOURCE_SYSTEM, trial.source.name), (native, appointment_id)]
        found = [(one.get("system"), one.get("value")) for one in answer["identifier"]]
        must(found[:2] == wanted, "the answer lacks the facade's identifiers; give the source's own ones only")
        must(len(set(found)) == len(found), "the answer has an identifier twice; give each of the source's once")

    def test_the_answer_tells_the_callers_reason(self, trial: Trial) -> None:
        """Tell back the reason that was sent, or none."""
        answer = trial.cancel(trial.appointment())
        codes = {(c.get("system"), c.get("code")) for c in answer.get("cancelationReason", {}).get("coding", [])}
        told = (SYSTEM, HL7_CODE) in codes
        must(told, "the answer tells another reason than was sent; tell the native reason in its own code system")


def _given(act: Any, what: str) -> dict[str, Any]:
    try:
        found = act()
    except SourceError as error:
        fail(f"{what} raises {type(error).__name__} ({error}); make it work")
    must(isinstance(found, dict), f"{what} gives a {type(found).__name__}; return an Appointment")
    return dict(found)


def _well(bench: Bench) -> Iterator[Call]:
    """The calls of adapters that gave an Appointment: read, cancelled, over, of an odd status."""
    with bench.trial() as trial:
        appointment_id = trial.appointment()
        trial.outcome(appointment_id)
        for one in (appointment_id, trial.appointment(1), trial.simulator.ended_id, trial.simulator.odd_status_id):
            if one is not None and trial.readable:
                try:
                    trial.read_directly(one)
                except Exception:  # noqa: BLE001, S112 - what does not come out well is told elsewhere
                    continue
    yield from (call for call in trial.record.calls if call.error is None and not strange(call))


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        value = list(value.values())
    if isinstance(value, list):
        for member in value:
            yield from _references(member)


def _words(native: Any) -> set[str]:
    """Every text and number in a native appointment."""
    if isinstance(native, dict):
        native = list(native.values())
    if isinstance(native, list):
        return {word for member in native for word in _words(member)}
    return {str(native)}
