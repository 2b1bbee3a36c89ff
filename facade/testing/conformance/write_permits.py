"""Conformance of the permit and of time: when the right to write is taken, and what happens without it."""

import threading
from collections.abc import Callable
from contextlib import suppress

import pytest

from facade.errors import Cause, FacadeError, NotExecuted, SourceError, Unavailable, VersionConflict
from facade.plugin.contract import Appointment, CancelRequest, Support
from facade.testing.conformance.base import Kit, cannot, fail, must, not_yet, only_if_readable, prepare
from facade.testing.conformance.harness import ROOM, Trial
from facade.testing.conformance.recording_adapter import Call

_REFUSALS: dict[str, FacadeError] = {
    "NotExecuted": NotExecuted(Cause.CONFLICT, "another request has taken the appointment over"),
    "Unavailable": Unavailable("the ledger cannot be written"),
}
_GIVEN, _OVER = 0.4, 2.0  # seconds: the deadline, and what a slow machine may need over it


class WritePermits(Kit):
    """The permit commits, durably, that a write may have left; it is the last thing before the write."""

    def test_the_permit_is_taken_once(self, trial: Trial) -> None:
        """Hand the permit to HttpClient.send, or call it once, immediately before the write."""
        trial.outcome(trial.appointment())
        for call in trial.record.of("cancel"):
            asked = len(call.permits)
            must(asked == 1, f"an ordinary cancel takes the permit {asked} times; take it once, just before the write")

    def test_the_permit_is_taken_before_the_write(self, trial: Trial) -> None:
        """Take the permit before the first byte of the write leaves."""
        trial.outcome(trial.appointment())
        for call in trial.record.of("cancel"):
            must(not any(call.permits), "the source had the cancel before the permit was taken; take the permit first")

    def test_the_write_follows_its_permit_at_once(self, trial: Trial) -> None:
        """Read whatever the write needs before the permit is taken."""
        trial.outcome(trial.appointment())
        for call in trial.record.of("cancel"):
            entries = trial.entries(call.appointment_id)
            followed = [entries[held].operation for held in call.logged if held < len(entries)]
            must(
                all(operation == "cancel" for operation in followed),
                "the source was asked something between the permit and the write; take the permit last",
            )

    def test_a_refusal_of_the_adapters_own_leaves_the_permit(self, trial: Trial) -> None:
        """Look at everything that speaks against the write first, and take the permit then."""
        ended = trial.simulator.ended_id
        if ended is None:
            cannot("the simulator has no appointment that is over (Simulator.ended_id)")
        trial.outcome(ended)
        taken = any(call.permits for call in trial.record.of("cancel"))
        must(
            not taken or trial.writes(ended),
            "the permit was taken for an appointment that is over and nothing was sent; refuse before taking it",
        )

    @pytest.mark.parametrize("refusal", _REFUSALS)
    def test_nothing_is_written_when_the_permit_refuses(self, trial: Trial, refusal: str) -> None:
        """Write nothing once the permit has raised."""
        _cancel(trial, appointment_id := trial.appointment(), _REFUSALS[refusal])
        writes = trial.writes(appointment_id)
        must(not writes, f"the permit raised {refusal} and the source was written to; write only after it returns")

    @pytest.mark.parametrize("refusal", _REFUSALS)
    def test_what_the_permit_raises_is_let_through(self, trial: Trial, refusal: str) -> None:
        """Catch nothing of the permit's."""
        raised = _cancel(trial, trial.appointment(), _REFUSALS[refusal])
        through = raised is _REFUSALS[refusal]
        told = type(raised).__name__ if raised is not None else "an Appointment"
        must(through, f"the permit raised {refusal} and {told} came out; let through what the permit raises")

    def test_nothing_is_written_when_no_time_is_left(self, trial: Trial) -> None:
        """Ask facade.remaining() before the write, and raise NotExecuted at 0."""
        request, current = prepare(trial, appointment_id := trial.appointment())
        with suppress(SourceError):
            trial.cancel_directly(request, current, lambda: None, seconds=0.0)
        writes = trial.writes(appointment_id)
        must(not writes, "the source was written to with no time left; raise NotExecuted when facade.remaining() is 0")

    def test_a_silent_write_is_given_up_at_the_deadline(self, trial: Trial) -> None:
        """Wait no longer than facade.remaining(), from the name's resolution to the last byte."""
        request, current = prepare(trial, trial.faulty("timeout-before-commit"))
        _in_time("cancel", lambda: trial.cancel_directly(request, current, lambda: None, seconds=_GIVEN))

    def test_a_slow_write_is_given_up_at_the_deadline(self, trial: Trial) -> None:
        """Let no byte that arrives put the deadline off."""
        request, current = prepare(trial, trial.faulty("slow-drip"))
        _in_time("cancel", lambda: trial.cancel_directly(request, current, lambda: None, seconds=_GIVEN))

    def test_a_silent_read_is_given_up_at_the_deadline(self, trial: Trial) -> None:
        """Wait no longer than facade.remaining(), also when reading."""
        only_if_readable(trial.source.plugin)
        _in_time("read", lambda: trial.read_directly(trial.faulty("read-timeout"), seconds=_GIVEN))

    def test_a_stale_version_is_refused_and_said_to_be(self, trial: Trial) -> None:
        """Name the version that was read in the write, and raise VersionConflict where the source has another."""
        _only_if_versioned(trial)
        request, current = prepare(trial, appointment_id := trial.appointment())
        try:
            trial.cancel_directly(request, current, lambda: _touch(trial, appointment_id))
        except VersionConflict:
            changed = any(entry.changed for entry in trial.entries(appointment_id))
            must(not changed, "a refused version changed the source; let the simulator refuse without executing")
            writes = trial.writes(appointment_id)
            must(
                writes == 1, f"a stale version was written {writes} times on one permit; raise VersionConflict at once"
            )
        except SourceError as error:
            fail(f"a write of a stale version ends in {type(error).__name__}; raise facade.VersionConflict")
        else:
            fail("a write of a stale version was executed; name the version of current in the write")

    def test_a_stale_version_is_written_once_more_after_a_fresh_read(self, trial: Trial) -> None:
        """Take the version from current, which is read again before the second write."""
        _only_if_versioned(trial)
        appointment_id = trial.appointment()

        def touch(_: Call) -> None:
            if len(trial.record.of("cancel")) == 0:
                _touch(trial, appointment_id)

        trial.record.after_permit = touch
        told = trial.outcome(appointment_id)
        must(told == "cancelled", f"a cancel after a stale version is told {told}; take the version from current")
        changes = sum(entry.operation == "cancel" and entry.changed for entry in trial.entries(appointment_id))
        must(changes == 1, f"a cancel after a stale version was executed {changes} times; send current's version")
        writes = trial.writes(appointment_id)
        must(writes == 2, f"a cancel after a stale version wrote {writes} times; write once for each permit")
        asked = [len(call.permits) for call in trial.record.of("cancel")]
        must(asked == [1, 1], "a second write needs a second permit; take each permit once, and raise VersionConflict")

    def test_no_more_connections_than_declared_are_open_at_once(self, trial: Trial) -> None:
        """Declare Capabilities.max_connections where the source counts them, and open one for a call at a time."""
        limit = trial.source.plugin.capabilities.max_connections
        if limit is None:
            cannot("this source takes as many connections as there are (Capabilities.max_connections)")
        prepared = [prepare(trial, trial.appointment(number)) for number in range(limit + 1)]
        trial.simulator.connections.reset()
        inside, free = threading.Semaphore(0), threading.Event()

        def permit() -> None:
            inside.release()
            free.wait(ROOM)

        def hold(request: CancelRequest, current: Appointment | None) -> None:
            with suppress(SourceError):
                trial.cancel_directly(request, current, permit, seconds=2 * ROOM)

        holders = [threading.Thread(target=hold, args=one, daemon=True) for one in prepared[:limit]]
        for holder in holders:
            holder.start()
        last, asked = prepared[limit], []
        try:
            must(all(inside.acquire(timeout=ROOM) for _ in holders), "a cancel never asked for its permit")
            with suppress(SourceError):
                trial.cancel_directly(*last, lambda: asked.append(1), seconds=_GIVEN)
        finally:
            free.set()
            for holder in holders:
                holder.join(ROOM)
        too_many = asked or trial.writes(last[0].appointment_id)
        must(not too_many, f"more than {limit} calls were under way at once; let the facade's turns decide")
        trial.outcome(trial.appointment(limit + 1))
        most = trial.simulator.connections.peak
        must(most <= limit, f"{most} connections were open at once, and {limit} are declared; close one, open the next")


def _only_if_versioned(trial: Trial) -> None:
    can = trial.source.plugin.capabilities.versioned_writes
    if can is Support.NONE:
        cannot("this source's writes name no version (Capabilities.versioned_writes)")
    if can is Support.NOT_IMPLEMENTED:
        not_yet("this plugin's writes name no version (Capabilities.versioned_writes)")


def _touch(trial: Trial, appointment_id: str) -> None:
    """Put it there again as it is: a new version, if the source has versions."""
    native = trial.simulator.get(appointment_id)
    trial.simulator.put(appointment_id, native or {})


def _cancel(trial: Trial, appointment_id: str, refusal: FacadeError) -> BaseException | None:
    """What cancel raises when its permit raises this."""

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
    running.join(_GIVEN + _OVER)
    sentence = f"{operation} waits on past its deadline; wait no longer than facade.remaining() in all"
    must(not running.is_alive(), sentence)
