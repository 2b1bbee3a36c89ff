"""Conformance while the source works: reads, cancels, repeats, concurrency."""
# Why this long: one class holds the tests of one theme, as a plugin author finds them in the report.

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

from facade.errors import AppointmentNotFound, NotExecuted, OutcomeUnknown, SourceError
from facade.testing.conformance.base import (
    TIMINGS,
    Kit,
    eventually,
    fail,
    must,
    not_supported,
    only_if_readable,
    prepare,
)
from facade.testing.conformance.harness import TIME_LIMIT, Trial


class HappyPath(Kit):
    """Tests of the adapter while nothing fails."""

    def test_a_cancel_ends_in_cancelled(self, trial: Trial) -> None:
        """Return the cancelled appointment from cancel, or raise OutcomeUnknown so that the facade reads it."""
        reported = trial.outcome(trial.appointment())
        errors = ", ".join(f"{type(c.error).__name__} from {c.operation}" for c in trial.record.calls if c.error)
        step = "return the appointment as cancelled"
        must(reported == "cancelled", f"an ordinary cancel ends in {reported} ({errors}); {step}")

    def test_a_cancel_is_one_native_write(self, trial: Trial) -> None:
        """Write once. Send nothing else but reads and what a read also needs, such as a token request."""
        appointment_id = trial.appointment()
        if trial.readable:
            with suppress(SourceError):  # other tests check the result
                trial.read_directly(appointment_id)
        usual = {(entry.method, entry.path) for entry in trial.other_requests()}
        trial.outcome(appointment_id)
        writes = trial.writes(appointment_id)
        must(writes == 1, f"an ordinary cancel wrote {writes} times to the source; write once")
        others = ", ".join(trial.other_writes(appointment_id))
        must(not others, f"an ordinary cancel also sent {others} about the appointment; send the cancel alone")
        if trial.readable:  # without a read, there is nothing to compare with
            sent = [(str(entry.method), entry.path) for entry in trial.other_requests()]
            others = ", ".join(method for method, path in sent if (method, path) not in usual)
            must(not others, f"an ordinary cancel also sent {others}, which no read sends; send the cancel alone")

    def test_a_cancel_removes_nothing_from_the_native_record(self, trial: Trial) -> None:
        """Send the whole record if the write replaces it."""
        before = trial.simulator.get(appointment_id := trial.appointment()) or {}
        trial.outcome(appointment_id)
        removed = ", ".join(sorted(before.keys() - (trial.simulator.get(appointment_id) or {}).keys()))
        must(not removed, f"an ordinary cancel removed {removed} from the native record; send everything that was read")

    def test_cancelling_twice_writes_once(self, trial: Trial) -> None:
        """Keep no state in the adapter that makes a second cancel another one."""
        first, before = trial.outcome(appointment_id := trial.appointment()), trial.writes(appointment_id)
        second, after = trial.outcome(appointment_id), trial.writes(appointment_id)
        must(second == first, f"the response to a second cancel is {second} after {first}; it must be the same")
        must(after == before, f"a second cancel wrote {after - before} more times; write only from cancel")

    def test_cancels_by_every_spelling_of_an_id_write_once(self, trial: Trial) -> None:
        """Declare canonical_id, with one form for all spellings that the source accepts for an appointment."""
        appointment_id = trial.appointment()
        others = trial.simulator.equal_ids(appointment_id)
        if not others:
            not_supported("several spellings of an id (BareSimulator.equal_ids)")
        for spelling in (*others, appointment_id):
            reported = trial.outcome(spelling)
            must(
                reported == "cancelled",
                f"a cancel of {appointment_id!r} by {spelling!r} ends in {reported}; return one form for both",
            )
        writes = trial.simulator.log.count("cancel")
        must(writes == 1, f"cancels by {len(others) + 1} spellings of one id wrote {writes} times; return one form")

    def test_two_concurrent_cancels_write_once(self, trial: Trial) -> None:
        """Write only from cancel, after the permit."""
        appointment_id, start = trial.appointment(), threading.Barrier(2)

        def cancel() -> str:
            start.wait(TIME_LIMIT)
            return trial.outcome(appointment_id)

        with ThreadPoolExecutor(2) as pool:
            reported = {future.result() for future in [pool.submit(cancel), pool.submit(cancel)]}
        trial.outcome(another := trial.appointment(1))
        writes, alone = trial.writes(appointment_id), trial.writes(another)
        must(writes <= alone, f"two concurrent cancels wrote {writes} times, one alone {alone}; write only from cancel")
        responses = " and ".join(sorted(reported))
        must(len(reported) == 1, f"the responses to two concurrent cancels are {responses}; they must be the same")

    def test_concurrent_cancels_of_two_appointments_do_not_mix(self, trial: Trial) -> None:
        """Store nothing about one appointment in the adapter: many threads share it."""
        both = [trial.appointment(0), trial.appointment(1)]
        prepared = [prepare(trial, appointment_id) for appointment_id in both]
        trial.simulator.log.clear()
        meeting = threading.Barrier(2)

        def permit() -> None:
            try:
                meeting.wait(TIME_LIMIT / 5)  # so that both have begun before either writes
            except threading.BrokenBarrierError:
                return  # one waits for the other: slow, and another test checks it

        def cancel(number: int) -> Any:
            request, current = prepared[number]
            try:
                return trial.cancel_directly(request, current, permit)
            except SourceError as error:
                return error

        with ThreadPoolExecutor(2) as pool:
            results = list(pool.map(cancel, range(2)))
        writes = [trial.writes(appointment_id) for appointment_id in both]
        same = writes[0] == writes[1] > 0
        must(same, f"two concurrent cancels wrote {writes} times; keep a request's data in local variables")
        for appointment_id, result in zip(both, results, strict=True):
            about = result.get("id") if isinstance(result, dict) else appointment_id
            must(
                trial.same(about, appointment_id),
                "two concurrent cancels get each other's responses; keep them in local variables",
            )

    def test_a_silent_appointment_does_not_delay_another(self, trial: Trial) -> None:
        """Hold no lock, and no only connection, while waiting for the source."""
        limit = trial.source.plugin.capabilities.max_connections
        if limit == 1:
            not_supported("more than one connection at once (Capabilities.max_connections)")
        silent, other = trial.faulty("timeout-before-commit"), trial.appointment()
        stuck_request, stuck_current = prepare(trial, silent)
        request, current = prepare(trial, other)

        def wait() -> None:
            with suppress(SourceError):  # only the other cancel's result matters
                trial.cancel_directly(stuck_request, stuck_current, lambda: None, seconds=TIMINGS.silence)

        waiting = threading.Thread(target=wait, daemon=True)
        waiting.start()
        eventually(lambda: trial.writes(silent), "the cancel of a silent appointment never reached the source")
        with suppress(SourceError):  # other tests check the result
            trial.cancel_directly(request, current, lambda: None)
        sentence = "one appointment waited while the source was silent about another; hold no lock during a call"
        must(waiting.is_alive(), sentence)

    def test_an_appointment_cancelled_elsewhere_is_not_written_to(self, trial: Trial) -> None:
        """Return status cancelled from read when the source shows it."""
        only_if_readable(trial.source.plugin)
        reported = trial.cancel_by_another(appointment_id := trial.appointment())
        must(reported == "cancelled", "an ordinary cancel does not end in cancelled; make that work first")
        reported, writes = trial.outcome(appointment_id), trial.writes(appointment_id)
        step = "return status cancelled from read"
        must(not writes, f"an appointment that was cancelled elsewhere was written to; {step}")
        must(reported == "cancelled", f"the response for an appointment cancelled elsewhere is {reported}; {step}")

    def test_an_unknown_appointment_is_not_found(self, trial: Trial) -> None:
        """Raise AppointmentNotFound if the source's own response states that there is no such appointment."""
        trial.simulator.remove(appointment_id := trial.appointment())
        reported = trial.outcome(appointment_id)
        step = "raise AppointmentNotFound from read" if trial.readable else "raise AppointmentNotFound from cancel"
        must(reported == "not found", f"the response for an unknown appointment is {reported}; {step}")
        if trial.readable:
            must(not trial.writes(appointment_id), "an unknown appointment was written to; write nothing")

    def test_a_source_declared_readable_is_read(self, trial: Trial) -> None:
        """Read if Capabilities.read is Support.FULL, and return the appointment's status."""
        only_if_readable(trial.source.plugin)
        found = _returned(lambda: trial.read_directly(trial.appointment()), "an ordinary read")
        must(found.get("status"), "an ordinary read returns no status; return the FHIR status of the native one")
        must(found["status"] != "cancelled", "an ordinary appointment is read as cancelled; translate its status")

    def test_a_source_declared_unreadable_is_not_read(self, trial: Trial) -> None:
        """Raise NotExecuted(Cause.UNSUPPORTED) from read if Capabilities.read is not Support.FULL."""
        if trial.readable:
            not_supported("a source without reads: this one is read (Capabilities.read)")
        try:
            trial.read_directly(trial.appointment())
        except SourceError:
            trial.outcome(appointment_id := trial.appointment(1))
            reads = trial.simulator.log.count("read", appointment_id)
            must(not reads, "a source that is declared unreadable was read; declare Capabilities(read=Support.FULL)")
        else:
            fail("a source that is declared unreadable can be read; declare Capabilities(read=Support.FULL)")

    def test_a_read_returns_the_current_state(self, trial: Trial) -> None:
        """Send a request to the source for every read."""
        only_if_readable(trial.source.plugin)
        appointment_id = trial.appointment()
        _returned(lambda: trial.read_directly(appointment_id), "an ordinary read")
        trial.cancel_by_another(appointment_id)
        after = _returned(lambda: trial.read_directly(appointment_id), "a read of a cancelled appointment")
        status = after.get("status")
        must(status == "cancelled", f"a cancelled appointment is read as {status}; send a request for every read")

    def test_a_response_about_another_appointment_is_rejected(self, trial: Trial) -> None:
        """Take the id from the source's response, never from the request."""
        only_if_readable(trial.source.plugin)
        requested, other = trial.appointment(0), trial.appointment(1)
        native = trial.simulator.get(other)
        if other not in _values(native):
            not_supported("responses that contain the appointment's id")
        trial.simulator.put(requested, native or {})
        try:
            found = trial.read_directly(requested)
        except SourceError:
            return
        about = found.get("id") if isinstance(found, dict) else None
        must(
            not trial.same(about, requested),
            "a response about another appointment counts as the requested one; take the id from the response",
        )

    def test_an_appointment_that_is_over_is_not_cancelled(self, trial: Trial) -> None:
        """Raise NotExecuted for an appointment that is over, before the write or when the source refuses it."""
        ended = trial.simulator.ended_id
        if ended is None:
            not_supported("an appointment that is over (Simulator.ended_id)")
        reported = trial.outcome(ended)
        must(reported == "proposed", f"the response for an appointment that is over is {reported}; raise NotExecuted")

    def test_a_native_status_without_a_fhir_status_is_omitted(self, trial: Trial) -> None:
        """Omit status for a native status without a mapping; never use a default."""
        odd = trial.simulator.odd_status_id
        if odd is None:
            not_supported("a native status without a FHIR status (Simulator.odd_status_id)")
        only_if_readable(trial.source.plugin)
        try:
            found = trial.read_directly(odd)
        except SourceError:
            return
        status = found.get("status") if isinstance(found, dict) else None
        must(status is None, f'an unknown native status is read as "{status}"; omit status')

    def test_a_second_native_cancel_does_what_is_declared(self, trial: Trial) -> None:
        """Declare repeat as the source behaves, and trust "already cancelled" only after a read."""
        declared = trial.source.plugin.repeat
        if declared == "harmful":
            not_supported('a harmless second cancel (SourcePlugin.repeat = "harmful"), so the test sends none')
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
            trusted = declared == "errors" and not read_after
            must(not trusted, "a second cancel counts as this one's success without a read; raise OutcomeUnknown")


def _returned(act: Any, what: str) -> dict[str, Any]:
    try:
        found = act()
    except SourceError as error:
        fail(f"{what} raises {type(error).__name__} ({error}); make it work")
    must(isinstance(found, dict), f"{what} returns a {type(found).__name__}; return an Appointment")
    return dict(found)


def _values(native: Any) -> set[str]:
    """Return every text and number in a native appointment."""
    if isinstance(native, dict):
        native = list(native.values())
    if isinstance(native, list):
        return {value for member in native for value in _values(member)}
    return {str(native)}
