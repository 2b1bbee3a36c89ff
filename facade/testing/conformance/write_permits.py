"""Conformance of write permits and deadlines: when the adapter takes the permit, and what it does without one."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from facade.errors import Cause, FacadeError, NotExecuted, SourceError, Unavailable, VersionConflict
from facade.plugin.contract import Appointment, CancelRequest, Support
from facade.testing.conformance.base import Kit, fail, must, not_implemented, not_supported, only_if_readable, prepare
from facade.testing.conformance.harness import TIME_LIMIT, Trial
from facade.testing.conformance.recording_adapter import Call

_REFUSALS: dict[str, FacadeError] = {
    "NotExecuted": NotExecuted(Cause.CONFLICT, "another attempt has claimed the appointment"),
    "Unavailable": Unavailable("the ledger cannot be written"),
}
_DEADLINE, _TOLERANCE = 0.4, 2.0  # seconds; the tolerance is for a slow machine


class WritePermits(Kit):
    """Tests of the permit, which records durably that a write may have been sent, and of the deadline."""

    def test_the_permit_is_taken_once(self, trial: Trial) -> None:
        """Hand the permit to HttpClient.send, or call it once, immediately before the write."""
        trial.outcome(trial.appointment())
        for call in trial.record.of("cancel"):
            taken = len(call.permits)
            must(taken == 1, f"an ordinary cancel takes the permit {taken} times; take it once, just before the write")

    def test_the_permit_is_taken_before_the_write(self, trial: Trial) -> None:
        """Take the permit before the first byte of the write is sent."""
        trial.outcome(trial.appointment())
        for call in trial.record.of("cancel"):
            must(
                not any(call.permits),
                "the source received the cancel before the permit was taken; take the permit first",
            )

    def test_the_write_follows_its_permit_at_once(self, trial: Trial) -> None:
        """Read whatever the write needs before taking the permit."""
        trial.outcome(trial.appointment())
        for call in trial.record.of("cancel"):
            entries = trial.entries(call.appointment_id)
            followed = [entries[held].operation for held in call.logged if held < len(entries)]
            must(
                all(operation == "cancel" for operation in followed),
                "a request was sent between the permit and the write; take the permit last",
            )

    def test_the_adapters_own_refusal_takes_no_permit(self, trial: Trial) -> None:
        """Check everything that prevents the write first, then take the permit."""
        ended = trial.simulator.ended_id
        if ended is None:
            not_supported("an appointment that is over (Simulator.ended_id)")
        trial.outcome(ended)
        taken = any(call.permits for call in trial.record.of("cancel"))
        must(
            not taken or trial.writes(ended),
            "the permit was taken for an appointment that is over, and nothing was sent; refuse before taking it",
        )

    @pytest.mark.parametrize("refusal", _REFUSALS)
    def test_nothing_is_written_when_the_permit_refuses(self, trial: Trial, refusal: str) -> None:
        """Write nothing after the permit has raised."""
        _cancel(trial, appointment_id := trial.appointment(), _REFUSALS[refusal])
        writes = trial.writes(appointment_id)
        must(not writes, f"the permit raised {refusal} and the source was written to; write only after it returns")

    @pytest.mark.parametrize("refusal", _REFUSALS)
    def test_an_error_from_the_permit_is_not_caught(self, trial: Trial, refusal: str) -> None:
        """Do not catch what the permit raises."""
        raised = _cancel(trial, trial.appointment(), _REFUSALS[refusal])
        passed = raised is _REFUSALS[refusal]
        result = type(raised).__name__ if raised is not None else "an Appointment"
        must(passed, f"the permit raised {refusal} and the adapter ended in {result}; do not catch the permit's error")

    def test_nothing_is_written_when_no_time_is_left(self, trial: Trial) -> None:
        """Check facade.remaining() before the write, and raise NotExecuted at 0."""
        request, current = prepare(trial, appointment_id := trial.appointment())
        with suppress(SourceError):
            trial.cancel_directly(request, current, lambda: None, seconds=0.0)
        writes = trial.writes(appointment_id)
        must(not writes, "the source was written to with no time left; raise NotExecuted when facade.remaining() is 0")

    def test_a_silent_write_ends_at_the_deadline(self, trial: Trial) -> None:
        """Wait no longer than facade.remaining(), from the name resolution to the last byte."""
        request, current = prepare(trial, trial.faulty("timeout-before-commit"))
        _in_time("cancel", lambda: trial.cancel_directly(request, current, lambda: None, seconds=_DEADLINE))

    def test_a_slow_write_ends_at_the_deadline(self, trial: Trial) -> None:
        """Do not extend the deadline when a byte arrives."""
        request, current = prepare(trial, trial.faulty("slow-drip"))
        _in_time("cancel", lambda: trial.cancel_directly(request, current, lambda: None, seconds=_DEADLINE))

    def test_a_silent_read_ends_at_the_deadline(self, trial: Trial) -> None:
        """Wait no longer than facade.remaining(), also when reading."""
        only_if_readable(trial.source.plugin)
        _in_time("read", lambda: trial.read_directly(trial.faulty("read-timeout"), seconds=_DEADLINE))

    def test_a_changed_version_raises_version_conflict(self, trial: Trial) -> None:
        """Send the version that was read with the write, and raise VersionConflict if the source has another."""
        _only_if_versioned(trial)
        request, current = prepare(trial, appointment_id := trial.appointment())
        try:
            trial.cancel_directly(request, current, lambda: _touch(trial, appointment_id))
        except VersionConflict:
            changed = any(entry.changed for entry in trial.entries(appointment_id))
            must(not changed, "a rejected version changed the source; let the simulator reject it without executing")
            writes = trial.writes(appointment_id)
            must(
                writes == 1,
                f"a changed version was written {writes} times on one permit; raise VersionConflict at once",
            )
        except SourceError as error:
            fail(f"a write of a changed version ends in {type(error).__name__}; raise facade.VersionConflict")
        else:
            fail("a write of a changed version was executed; send the version of current with the write")

    def test_a_changed_version_is_retried_once_after_a_read(self, trial: Trial) -> None:
        """Take the version from current, which the facade reads again before the second write."""
        _only_if_versioned(trial)
        appointment_id = trial.appointment()

        def touch(_: Call) -> None:
            if len(trial.record.of("cancel")) == 0:
                _touch(trial, appointment_id)

        trial.record.after_permit = touch
        reported = trial.outcome(appointment_id)
        step = "take the version from current"
        must(reported == "cancelled", f"a cancel after a changed version ends in {reported}; {step}")
        changes = sum(entry.operation == "cancel" and entry.changed for entry in trial.entries(appointment_id))
        must(changes == 1, f"a cancel after a changed version was executed {changes} times; send current's version")
        writes = trial.writes(appointment_id)
        must(writes == 2, f"a cancel after a changed version wrote {writes} times; write once for each permit")
        taken = [len(call.permits) for call in trial.record.of("cancel")]
        must(taken == [1, 1], "a second write needs a second permit; take each permit once, and raise VersionConflict")

    def test_the_declared_connection_limit_is_kept(self, trial: Trial) -> None:
        """Declare Capabilities.max_connections if the source limits them, and open at most one for each call."""
        limit = trial.source.plugin.capabilities.max_connections
        if limit is None:
            not_supported("a limit of connections (Capabilities.max_connections)")
        prepared = [prepare(trial, trial.appointment(number)) for number in range(limit + 1)]
        trial.simulator.connections.reset()
        inside, free = threading.Semaphore(0), threading.Event()

        def permit() -> None:
            inside.release()
            free.wait(TIME_LIMIT)

        def hold(request: CancelRequest, current: Appointment | None) -> None:
            with suppress(SourceError):
                trial.cancel_directly(request, current, permit, seconds=2 * TIME_LIMIT)

        holders = [threading.Thread(target=hold, args=one, daemon=True) for one in prepared[:limit]]
        for holder in holders:
            holder.start()
        last, taken = prepared[limit], []
        try:
            must(
                all(inside.acquire(timeout=TIME_LIMIT) for _ in holders),
                f"fewer than {limit} concurrent cancels took their permits; use one connection for each call",
            )
            with suppress(SourceError):
                trial.cancel_directly(*last, lambda: taken.append(1), seconds=_DEADLINE)
        finally:
            free.set()
            for holder in holders:
                holder.join(TIME_LIMIT)
        too_many = taken or trial.writes(last[0].appointment_id)
        must(not too_many, f"more than {limit} calls ran at once; let the facade's connection limit decide")
        trial.outcome(trial.appointment(limit + 1))
        peak = trial.simulator.connections.peak
        must(
            peak <= limit, f"{peak} connections were open at once, and {limit} are declared; close one before the next"
        )


def _only_if_versioned(trial: Trial) -> None:
    declared = trial.source.plugin.capabilities.versioned_writes
    if declared is Support.NONE:
        not_supported("versioned writes (Capabilities.versioned_writes)")
    if declared is Support.NOT_IMPLEMENTED:
        not_implemented("versioned writes (Capabilities.versioned_writes)")


def _touch(trial: Trial, appointment_id: str) -> None:
    """Store the unchanged appointment again, which gives it a new version."""
    native = trial.simulator.get(appointment_id)
    trial.simulator.put(appointment_id, native or {})


def _cancel(trial: Trial, appointment_id: str, refusal: FacadeError) -> BaseException | None:
    """Return what cancel raises when its permit raises this error."""

    def permit() -> None:
        raise refusal

    request, current = prepare(trial, appointment_id)
    try:
        trial.cancel_directly(request, current, permit)
    except FacadeError as error:
        return error
    return None


def _in_time(operation: str, act: Callable[[], object]) -> None:
    def run() -> None:
        with suppress(SourceError):
            act()

    running = threading.Thread(target=run, daemon=True)
    running.start()
    running.join(_DEADLINE + _TOLERANCE)
    sentence = f"{operation} waits longer than its deadline; wait no longer than facade.remaining() in all"
    must(not running.is_alive(), sentence)
