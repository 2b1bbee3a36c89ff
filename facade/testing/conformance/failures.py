"""Conformance of a source that fails: every fault by name, hostile ids, and what is settled later."""

from contextlib import suppress

import pytest

from facade.errors import Cause, NotExecuted, SourceError
from facade.plugin.contract import CancelRequest
from facade.testing.conformance import fault_runs
from facade.testing.conformance.base import Kit, Under, cannot, eventually, fail, must, only_if_readable, prepare
from facade.testing.conformance.harness import Bench, Shares, Trial
from facade.testing.conformance.hostile_ids import HOSTILE
from facade.testing.conformance.recording_adapter import Call
from facade.testing.simulator import Simulator
from facade.testing.simulator.faults import FAULTS, RETRY_AFTER, Behaviour, Operation

_CANCELS = [name for name, fault in FAULTS.items() if fault.operation == "cancel"]
_AFTERWARDS = ["read-timeout", "read-reset", "read-500", "read-unauthorized", "read-refused", "read-throttled"]


class Faulty(Kit):
    """The source misbehaves in every way there is a name for, and the adapter must not."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_the_caller_is_told_the_truth(self, under: Under, fault: str) -> None:
        """Say cancelled only on the source's own evidence, and raise OutcomeUnknown for what is unclear."""
        found = fault_runs.wrong_end(under(fault))
        must(not found, found)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_the_source_is_written_to_once_at_most(self, under: Under, fault: str) -> None:
        """Write once for a cancel, never again after an unclear end, and never after a failed read."""
        found = fault_runs.wrong_writes(under(fault))
        must(not found, found)

    @pytest.mark.parametrize("fault", _CANCELS)
    def test_not_done_is_said_only_where_it_is_sure(self, under: Under, fault: str) -> None:
        """Raise NotExecuted after the permit only for a refusal in the source's own error shape."""
        found = fault_runs.wrong_certainty(under(fault))
        must(not found, found)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_an_adapter_returns_an_appointment_or_raises_a_source_error(self, under: Under, fault: str) -> None:
        """Let nothing else out, whatever the source answers."""
        found = fault_runs.wrong_kind(under(fault))
        must(not found, found)

    def test_an_ordinary_call_returns_an_appointment_or_raises_a_source_error(self, trial: Trial) -> None:
        """Return the Appointment: what a function without return gives is None."""
        trial.outcome(trial.appointment())
        for call in trial.record.calls:
            found = fault_runs.strange(call)
            must(not found, found)

    @pytest.mark.parametrize(("fault", "cause"), [("refused", Cause.REFUSED), ("unauthorized", Cause.CREDENTIALS)])
    def test_a_refusal_in_the_sources_own_words_is_not_done(self, under: Under, fault: str, cause: Cause) -> None:
        """Raise NotExecuted with the cause for what the source itself refuses: that is no doubt."""
        for error in _raised(under(fault), "cancel"):
            right = isinstance(error, NotExecuted) and error.cause is cause
            must(right, f'under "{fault}" the adapter raises {_named(error)}; raise NotExecuted({cause})')

    def test_refused_credentials_are_told_apart_when_reading(self, under: Under) -> None:
        """Raise an error with Cause.CREDENTIALS, so that the operators hear of it."""
        for error in _raised(under("read-unauthorized"), "read"):
            right = isinstance(error, SourceError) and error.cause is Cause.CREDENTIALS
            must(right, f"a read with refused credentials raises {_named(error)}; raise NotExecuted(Cause.CREDENTIALS)")

    def test_a_success_about_something_else_proves_nothing(self, under: Under) -> None:
        """Return status cancelled only for an answer that names this appointment, or this request."""
        run = under("success-about-another")
        for call in _calls(run, "cancel"):
            believed = isinstance(call.result, dict) and call.result.get("status") == "cancelled"
            about = call.result.get("id") if believed else None
            step = "compare what it names with what was sent, and raise OutcomeUnknown where they differ"
            must(about != call.appointment_id, f"a success about something else is taken for this cancel's; {step}")

    @pytest.mark.parametrize(
        ("fault", "operation"), [("throttled-retry-after", "cancel"), ("read-throttled-retry-after", "read")]
    )
    def test_how_long_the_source_wants_to_be_left_alone_is_passed_on(
        self, under: Under, fault: str, operation: Operation
    ) -> None:
        """Give the error retry_after where the source says how many seconds it wants to be left alone."""
        for call in _calls(under(fault), operation)[:1]:
            given = call.error.retry_after if isinstance(call.error, SourceError) else None
            step = "give the error retry_after, in seconds, as HttpResponse.retry_after() or the source says it"
            must(given is not None, f'under "{fault}" {_named(call.error)} came out without retry_after; {step}')
            own = isinstance(under.simulator, Simulator) and under.simulator.refusal(Behaviour.THROTTLED)[2:]
            must(own or given == RETRY_AFTER, f"the source asked for {RETRY_AFTER} s, retry_after is {given}; {step}")

    @pytest.mark.parametrize("fault", _AFTERWARDS)
    def test_a_read_that_fails_after_the_write_takes_nothing_back(self, trial: Trial, fault: str) -> None:
        """Raise OutcomeUnknown, not NotExecuted, when the adapter's own read after its write fails."""
        only_if_readable(trial.source.plugin)
        if FAULTS[fault].behaviour not in trial.simulator.behaviours:
            cannot(f"its transport shows no source that {FAULTS[fault].behaviour.value} (Simulator.behaviours)")
        request, current = prepare(trial, appointment_id := trial.appointment())
        trial.simulator.faults.arm(appointment_id, FAULTS[fault])
        try:
            trial.cancel_directly(request, current, lambda: None, seconds=1.0)
        except NotExecuted as error:
            written = trial.writes(appointment_id)
            must(
                not written,
                f"a read after the write failed and NotExecuted came out ({error}); raise OutcomeUnknown instead",
            )
        except SourceError:
            return

    def test_a_source_that_is_down_is_not_done(self, bench: Bench) -> None:
        """Raise NotExecuted(Cause.UNREACHABLE) when no connection can be made: nothing can have left."""
        error = _cancel_while_down(bench)[0]
        right = isinstance(error, NotExecuted)
        told = type(error).__name__ if error else "an Appointment"
        must(right, f"a source that is down ends in {told}; raise NotExecuted, since nothing can have left")

    def test_the_permit_is_left_alone_while_the_source_is_down(self, bench: Bench) -> None:
        """Take the permit when the connection stands: what is taken counts as sent."""
        taken = _cancel_while_down(bench)[1]
        must(not taken, "the permit was taken and no connection could be made; connect first, then take the permit")

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_a_hostile_id_reaches_nothing_else(self, trial: Trial, kind: str) -> None:
        """Quote an id into one place of the request, or raise NotExecuted for one that cannot be."""
        request, current = prepare(trial, ordinary := trial.appointment())
        trial.outcome(trial.appointment(1))
        usual = {(entry.method, entry.path) for entry in trial.entries() if entry.appointment is None}
        hostile = HOSTILE[kind].format(ordinary)
        trial.simulator.log.clear()
        wish = CancelRequest(appointment_id=hostile, native_reason=request.native_reason)
        known = {**current, "id": hostile} if current is not None else None
        with suppress(SourceError):
            trial.read_directly(hostile)
        with suppress(SourceError):
            trial.cancel_directly(wish, known, lambda: None)
        # A source that takes no notice of case keeps the id in another one.
        reached = [entry for entry in trial.entries() if (entry.appointment or "").casefold() != hostile.casefold()]
        strayed = [entry for entry in reached if (entry.method, entry.path) not in usual]
        must(not strayed, f"an id with {kind} reached something else at the source; quote it, or raise NotExecuted")
        for call in trial.record.calls:
            found = fault_runs.strange(call) if call.error is not None else ""
            must(not found, f"about an id with {kind} {found}")

    def test_what_is_applied_late_is_settled_by_reading(self, bench: Bench) -> None:
        """Raise OutcomeUnknown after a silence, and tell status cancelled from read once the source has applied it."""
        only_if_readable(bench.plugin)
        if FAULTS["late-commit"].behaviour not in bench.simulator.behaviours:
            cannot("its transport shows no source that never answers (Simulator.behaviours)")
        for patience in fault_runs.PATIENCE:
            with bench.trial(budget=Shares(write=patience)) as trial:
                trial.outcome(appointment_id := trial.faulty("late-commit"))
                if not (before := trial.writes(appointment_id)):
                    continue  # too slow a machine to send in so short a time
                eventually(
                    lambda: any(entry.operation == "late-commit" for entry in trial.entries(appointment_id)),
                    "the simulator does not apply a late cancel; log it as late-commit once it is applied",
                )
                _look(trial, appointment_id)
                told, writes = trial.outcome(appointment_id), trial.writes(appointment_id)
                must(told == "cancelled", f"what was applied late is told {told}; tell status cancelled from read")
                must(writes == before, "what was applied late was written again; never write while in doubt")
                return
        fail("a cancel was not sent within two seconds; send it as soon as the permit is taken")


def _calls(run: fault_runs.Run, operation: Operation) -> list[Call]:
    return [call for call in run.calls if call.operation == operation]


def _raised(run: fault_runs.Run, operation: Operation) -> list[BaseException | None]:
    return [call.error for call in _calls(run, operation)]


def _named(error: BaseException | None) -> str:
    return f"{type(error).__name__} with {error.cause}" if isinstance(error, SourceError) else "no SourceError"


def _look(trial: Trial, appointment_id: str) -> None:
    """Let the reconciler read, as it does in the background, a few times at most."""
    trial.facade.cancellations.hint(trial.source, appointment_id)
    for _ in range(3):
        trial.facade.reconciler.tick(trial.source)


def _cancel_while_down(bench: Bench) -> tuple[BaseException | None, int]:
    """What cancel raises when no one listens, and how often it asked for the permit."""
    asked: list[int] = []
    with bench.trial() as trial:
        request, current = prepare(trial, trial.appointment())
    with bench.trial(url=bench.gone()) as trial:
        try:
            trial.cancel_directly(request, current, lambda: asked.append(1))
        except SourceError as error:
            return error, len(asked)
    return None, len(asked)
