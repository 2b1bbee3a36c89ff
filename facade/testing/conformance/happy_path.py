"""Conformance of a source that is well: what is read, what a cancel does, and who else was there first."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from facade.errors import AppointmentNotFound, NotExecuted, OutcomeUnknown, SourceError
from facade.testing.conformance.base import TIMINGS, Kit, cannot, eventually, fail, must, only_if_readable, prepare
from facade.testing.conformance.harness import ROOM, Trial


class Ordinary(Kit):
    """Nothing is broken, and everything must be right."""

    def test_a_cancel_ends_in_cancelled(self, trial: Trial) -> None:
        """Return the cancelled appointment from cancel, or raise OutcomeUnknown so that the facade reads it."""
        told = trial.outcome(trial.appointment())
        said = ", ".join(f"{type(c.error).__name__} from {c.operation}" for c in trial.record.calls if c.error)
        must(told == "cancelled", f"an ordinary cancel ends in {told} ({said}); return the appointment as cancelled")

    def test_a_cancel_is_one_native_write(self, trial: Trial) -> None:
        """Write once, and send nothing else but reads, and what a read needs too, such as a token's request."""
        appointment_id = trial.appointment()
        if trial.readable:
            with suppress(SourceError):  # how it ends is told elsewhere
                trial.read_directly(appointment_id)
        usual = {(entry.method, entry.path) for entry in trial.other_requests()}
        trial.outcome(appointment_id)
        writes = trial.writes(appointment_id)
        must(writes == 1, f"an ordinary cancel wrote {writes} times to the source; write once")
        others = ", ".join(trial.other_writes(appointment_id))
        must(not others, f"an ordinary cancel sent {others} about the appointment besides; send the cancel alone")
        if trial.readable:  # else nothing shows what an adapter sends that is no write
            sent = [(str(entry.method), entry.path) for entry in trial.other_requests()]
            others = ", ".join(method for method, path in sent if (method, path) not in usual)
            must(not others, f"an ordinary cancel sent {others} besides, which no read sends; send the cancel alone")

    def test_a_cancel_takes_nothing_out_of_the_record(self, trial: Trial) -> None:
        """Send the whole record back where the write replaces it."""
        before = trial.simulator.get(appointment_id := trial.appointment()) or {}
        trial.outcome(appointment_id)
        gone = ", ".join(sorted(before.keys() - (trial.simulator.get(appointment_id) or {}).keys()))
        must(not gone, f"an ordinary cancel took {gone} out of the source's record; send back all that was read")

    def test_cancelling_twice_writes_once(self, trial: Trial) -> None:
        """Keep nothing in the adapter that makes a second cancel another one."""
        first, before = trial.outcome(appointment_id := trial.appointment()), trial.writes(appointment_id)
        again, after = trial.outcome(appointment_id), trial.writes(appointment_id)
        must(again == first, f"a second cancel is told {again} after {first}; a repeat must be told the same")
        must(after == before, f"a second cancel wrote {after - before} times more; write only from cancel")

    def test_a_cancel_by_each_spelling_of_an_id_is_one_native_write(self, trial: Trial) -> None:
        """Declare canonical_id so that every spelling that the source takes for an appointment is that appointment."""
        appointment_id = trial.appointment()
        others = trial.simulator.equal_ids(appointment_id)
        if not others:
            cannot("the simulator gives no other spelling of an id (BareSimulator.equal_ids)")
        for spelling in (*others, appointment_id):
            told = trial.outcome(spelling)
            must(
                told == "cancelled",
                f"a cancel of {appointment_id!r} by {spelling!r} is told {told}; give both one form",
            )
        writes = trial.simulator.log.count("cancel")
        must(writes == 1, f"cancels by {len(others) + 1} spellings of one id wrote {writes} times; give them one form")

    def test_two_at_once_write_once(self, trial: Trial) -> None:
        """Write only from cancel, after the permit."""
        appointment_id, start = trial.appointment(), threading.Barrier(2)

        def cancel() -> str:
            start.wait(ROOM)
            return trial.outcome(appointment_id)

        with ThreadPoolExecutor(2) as pool:
            told = {future.result() for future in [pool.submit(cancel), pool.submit(cancel)]}
        trial.outcome(another := trial.appointment(1))
        writes, alone = trial.writes(appointment_id), trial.writes(another)
        must(writes <= alone, f"two cancels at once wrote {writes} times, one alone {alone}; write only from cancel")
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
        same = writes[0] == writes[1] > 0
        must(same, f"two cancels at once wrote {writes} times; keep a request's facts in local variables")
        for appointment_id, answer in zip(both, given, strict=True):
            about = answer.get("id") if isinstance(answer, dict) else appointment_id
            must(
                trial.same(about, appointment_id),
                "two cancels at once get each other's answers; keep them in local variables",
            )

    def test_a_silent_appointment_keeps_no_other_waiting(self, trial: Trial) -> None:
        """Hold no lock and no single connection while the source is waited for."""
        limit = trial.source.plugin.capabilities.max_connections
        if limit == 1:
            cannot("this source takes one connection at once (Capabilities.max_connections)")
        silent, other = trial.faulty("timeout-before-commit"), trial.appointment()
        stuck_request, stuck_current = prepare(trial, silent)
        request, current = prepare(trial, other)

        def wait() -> None:
            with suppress(SourceError):  # whatever comes out, it is the other one that matters
                trial.cancel_directly(stuck_request, stuck_current, lambda: None, seconds=TIMINGS.silence)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        eventually(lambda: trial.writes(silent), "the cancel of a silent appointment never reached the source")
        with suppress(SourceError):  # how it ends is told elsewhere
            trial.cancel_directly(request, current, lambda: None)
        sentence = "while the source was silent about one appointment another one had to wait; hold no lock meanwhile"
        must(waiting.is_alive(), sentence)

    def test_what_another_cancelled_is_not_written_to(self, trial: Trial) -> None:
        """Tell status cancelled from read once the source says so."""
        only_if_readable(trial.source.plugin)
        told = trial.cancel_by_another(appointment_id := trial.appointment())
        must(told == "cancelled", "an ordinary cancel does not end in cancelled; make that work first")
        told, writes = trial.outcome(appointment_id), trial.writes(appointment_id)
        must(not writes, "what another had cancelled was written to; tell status cancelled from read")
        must(told == "cancelled", f"what another had cancelled is told {told}; tell status cancelled from read")

    def test_an_unknown_appointment_is_not_found_and_not_written_to(self, trial: Trial) -> None:
        """Raise AppointmentNotFound where the source's own answer says that it knows no such appointment."""
        trial.simulator.remove(appointment_id := trial.appointment())
        told = trial.outcome(appointment_id)
        step = "raise AppointmentNotFound from read" if trial.readable else "raise AppointmentNotFound from cancel"
        must(told == "not found", f"an unknown appointment is told {told}; {step}")
        if trial.readable:
            must(not trial.writes(appointment_id), "an unknown appointment was written to; write nothing")

    def test_what_is_declared_readable_is_read(self, trial: Trial) -> None:
        """Read where Capabilities.read says so, and give the appointment's status."""
        only_if_readable(trial.source.plugin)
        found = _given(lambda: trial.read_directly(trial.appointment()), "an ordinary read")
        must(found.get("status"), "an ordinary read gives no status; give the FHIR status of the native one")
        must(found["status"] != "cancelled", "an ordinary appointment is read as cancelled; translate its status")

    def test_what_is_declared_unreadable_is_not_read(self, trial: Trial) -> None:
        """Raise NotExecuted(Cause.UNSUPPORTED) from read where Capabilities.read is not YES."""
        if trial.readable:
            cannot("this source has a read (Capabilities.read)")
        try:
            trial.read_directly(trial.appointment())
        except SourceError:
            trial.outcome(appointment_id := trial.appointment(1))
            reads = trial.simulator.log.count("read", appointment_id)
            must(not reads, "a source that is declared unreadable was read; declare Capabilities(read=Support.FULL)")
        else:
            fail("a source that is declared unreadable can be read; declare Capabilities(read=Support.FULL)")

    def test_a_read_tells_what_is_there_now(self, trial: Trial) -> None:
        """Ask the source at every read."""
        only_if_readable(trial.source.plugin)
        appointment_id = trial.appointment()
        _given(lambda: trial.read_directly(appointment_id), "an ordinary read")
        trial.cancel_by_another(appointment_id)
        after = _given(lambda: trial.read_directly(appointment_id), "a read of a cancelled appointment")
        told = after.get("status")
        must(told == "cancelled", f"a cancelled appointment is read as {told}; ask the source at every read")

    def test_an_answer_about_another_appointment_is_refused(self, trial: Trial) -> None:
        """Take the id from what the source answered, never from what was asked for."""
        only_if_readable(trial.source.plugin)
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
        must(
            not trial.same(about, asked),
            "another appointment's answer is taken for the one asked for; take id from the answer",
        )

    def test_an_appointment_that_is_over_is_not_cancelled(self, trial: Trial) -> None:
        """Refuse what cannot be cancelled, or let the source refuse it: raise NotExecuted."""
        ended = trial.simulator.ended_id
        if ended is None:
            cannot("the simulator has no appointment that is over (Simulator.ended_id)")
        told = trial.outcome(ended)
        must(told == "proposed", f"an appointment that is over is told {told}; raise NotExecuted for it")

    def test_a_native_status_without_a_fhir_word_is_left_out(self, trial: Trial) -> None:
        """Leave status out for a native status that no one mapped; never default it."""
        odd = trial.simulator.odd_status_id
        if odd is None:
            cannot("the simulator has no status without a FHIR word (Simulator.odd_status_id)")
        only_if_readable(trial.source.plugin)
        try:
            found = trial.read_directly(odd)
        except SourceError:
            return
        told = found.get("status") if isinstance(found, dict) else None
        must(told is None, f'an unknown native status is read as "{told}"; leave status out')

    def test_a_second_native_cancel_does_what_is_declared(self, trial: Trial) -> None:
        """Declare repeat as the source behaves, and believe "already cancelled" only after a read."""
        declared = trial.source.plugin.repeat
        if declared == "harmful":
            cannot('a second cancel is harmful (SourcePlugin.repeat = "harmful"), so none is sent')
        request, current = prepare(trial, appointment_id := trial.appointment())
        trial.cancel_by_another(appointment_id)
        try:
            trial.cancel_directly(request, current, lambda: None)
        except NotExecuted as error:
            must(declared == "errors", f"a second cancel raises NotExecuted ({error}); declare repeat as it is")
        except (AppointmentNotFound, OutcomeUnknown):
            return
        else:
            operations = [entry.operation for entry in trial.entries(appointment_id)]
            read_after = "read" in operations[operations.index("cancel") :] if "cancel" in operations else True
            believed = declared == "errors" and not read_after
            must(not believed, "a second cancel is taken for this one's success without a read; raise OutcomeUnknown")


def _given(act: Any, what: str) -> dict[str, Any]:
    try:
        found = act()
    except SourceError as error:
        fail(f"{what} raises {type(error).__name__} ({error}); make it work")
    must(isinstance(found, dict), f"{what} gives a {type(found).__name__}; return an Appointment")
    return dict(found)


def _words(native: Any) -> set[str]:
    """Every text and number in a native appointment."""
    if isinstance(native, dict):
        native = list(native.values())
    if isinstance(native, list):
        return {word for member in native for word in _words(member)}
    return {str(native)}
