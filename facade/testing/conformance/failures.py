"""Conformance while the source fails: every fault by name, hostile ids, a late commit."""

from contextlib import suppress

import pytest

from facade.errors import Cause, NotExecuted, SourceError
from facade.plugin.contract import CancelRequest
from facade.testing.conformance import fault_runs
from facade.testing.conformance.base import (
    FaultRuns,
    Kit,
    eventually,
    fail,
    must,
    not_supported,
    only_if_readable,
    prepare,
)
from facade.testing.conformance.harness import Harness, Shares, Trial
from facade.testing.conformance.hostile_ids import HOSTILE
from facade.testing.conformance.recording_adapter import Call
from facade.testing.simulator import Simulator
from facade.testing.simulator.faults import FAULTS, RETRY_AFTER, Behaviour, Operation

_CANCELS = [name for name, fault in FAULTS.items() if fault.operation == "cancel"]
_AFTERWARDS = ["read-timeout", "read-reset", "read-500", "read-unauthorized", "read-refused", "read-throttled"]


class Failures(Kit):
    """Tests of the adapter while the source misbehaves in every way that has a name."""

    @pytest.mark.parametrize("fault", FAULTS)
    def test_the_response_to_the_client_is_correct(self, fault_run: FaultRuns, fault: str) -> None:
        """Return status cancelled only on the source's own evidence, and raise OutcomeUnknown if it is not certain."""
        found = fault_runs.wrong_response(fault_run(fault))
        must(not found, found)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_the_source_is_written_to_at_most_once(self, fault_run: FaultRuns, fault: str) -> None:
        """Write once for a cancel, do not retry an unknown outcome, and do not write after a failed read."""
        found = fault_runs.wrong_writes(fault_run(fault))
        must(not found, found)

    @pytest.mark.parametrize("fault", _CANCELS)
    def test_not_executed_is_raised_only_when_certain(self, fault_run: FaultRuns, fault: str) -> None:
        """Raise NotExecuted after the permit only for a refusal in the source's own error shape."""
        found = fault_runs.wrong_certainty(fault_run(fault))
        must(not found, found)

    @pytest.mark.parametrize("fault", FAULTS)
    def test_a_call_returns_an_appointment_or_raises_a_source_error(self, fault_run: FaultRuns, fault: str) -> None:
        """Return or raise nothing else, whatever the source's response."""
        found = fault_runs.wrong_kind(fault_run(fault))
        must(not found, found)

    def test_an_ordinary_call_returns_an_appointment(self, trial: Trial) -> None:
        """Return the Appointment: a function without return returns None."""
        trial.outcome(trial.appointment())
        for call in trial.record.calls:
            found = fault_runs.wrong_result(call)
            must(not found, found)

    @pytest.mark.parametrize(("fault", "cause"), [("refused", Cause.REFUSED), ("unauthorized", Cause.CREDENTIALS)])
    def test_the_sources_own_refusal_is_not_executed(self, fault_run: FaultRuns, fault: str, cause: Cause) -> None:
        """Raise NotExecuted with the cause if the source itself refuses: this leaves no doubt."""
        for error in _raised(fault_run(fault), "cancel"):
            right = isinstance(error, NotExecuted) and error.cause is cause
            must(right, f'under "{fault}" the adapter raises {_describe(error)}; raise NotExecuted({cause})')

    def test_a_read_with_rejected_credentials_states_the_cause(self, fault_run: FaultRuns) -> None:
        """Raise an error with Cause.CREDENTIALS, so that the operators are alerted."""
        for error in _raised(fault_run("read-unauthorized"), "read"):
            right = isinstance(error, SourceError) and error.cause is Cause.CREDENTIALS
            step = "raise NotExecuted(Cause.CREDENTIALS)"
            must(right, f"a read with rejected credentials raises {_describe(error)}; {step}")

    def test_a_success_about_another_appointment_proves_nothing(self, fault_run: FaultRuns) -> None:
        """Return status cancelled only for a response that names this appointment, or this request."""
        run = fault_run("success-about-another")
        for call in _calls(run, "cancel"):
            accepted = isinstance(call.result, dict) and call.result.get("status") == "cancelled"
            about = call.result.get("id") if accepted else None
            step = "compare the id in the response with the id that was sent, and raise OutcomeUnknown if they differ"
            must(about != call.appointment_id, f"a success about another appointment counts as this cancel's; {step}")

    @pytest.mark.parametrize(
        ("fault", "operation"), [("throttled-retry-after", "cancel"), ("read-throttled-retry-after", "read")]
    )
    def test_the_sources_retry_after_is_passed_on(self, fault_run: FaultRuns, fault: str, operation: Operation) -> None:
        """Set the error's retry_after if the source states how many seconds to wait."""
        for call in _calls(fault_run(fault), operation)[:1]:
            seconds = call.error.retry_after if isinstance(call.error, SourceError) else None
            step = "set the error's retry_after, in seconds, from HttpResponse.retry_after() or the source's own header"
            must(
                seconds is not None,
                f'under "{fault}" the adapter raises {_describe(call.error)} without retry_after; {step}',
            )
            own = isinstance(fault_run.simulator, Simulator) and fault_run.simulator.refusal(Behaviour.THROTTLED)[2:]
            must(own or seconds == RETRY_AFTER, f"the source stated {RETRY_AFTER} s, retry_after is {seconds}; {step}")

    @pytest.mark.parametrize("fault", _AFTERWARDS)
    def test_a_failed_read_after_the_write_is_outcome_unknown(self, trial: Trial, fault: str) -> None:
        """Raise OutcomeUnknown, not NotExecuted, when the adapter's own read after its write fails."""
        only_if_readable(trial.source.plugin)
        if FAULTS[fault].behaviour not in trial.simulator.behaviours:
            not_supported(
                f"the transport cannot show a source that {FAULTS[fault].behaviour.value} (Simulator.behaviours)"
            )
        request, current = prepare(trial, appointment_id := trial.appointment())
        trial.simulator.faults.arm(appointment_id, FAULTS[fault])
        try:
            trial.cancel_directly(request, current, lambda: None, seconds=1.0)
        except NotExecuted as error:
            written = trial.writes(appointment_id)
            must(
                not written,
                f"a read after the write failed and the adapter raised NotExecuted ({error}); raise OutcomeUnknown",
            )
        except SourceError:
            return

    def test_a_cancel_while_the_source_is_down_is_not_executed(self, harness: Harness) -> None:
        """Raise NotExecuted(Cause.UNREACHABLE) if no connection can be made: nothing was sent."""
        error = _cancel_while_down(harness)[0]
        right = isinstance(error, NotExecuted)
        result = type(error).__name__ if error else "an Appointment"
        must(right, f"a cancel while the source is down ends in {result}; raise NotExecuted, because nothing was sent")

    def test_no_permit_is_taken_while_the_source_is_down(self, harness: Harness) -> None:
        """Take the permit when the connection exists: after the permit, the write counts as sent."""
        taken = _cancel_while_down(harness)[1]
        must(not taken, "the permit was taken although no connection was made; connect first, then take the permit")

    @pytest.mark.parametrize("kind", HOSTILE)
    def test_a_hostile_id_reaches_no_other_resource(self, trial: Trial, kind: str) -> None:
        """Encode an id into one place of the request, or raise NotExecuted if it cannot be encoded."""
        request, current = prepare(trial, ordinary := trial.appointment())
        trial.outcome(trial.appointment(1))
        usual = {(entry.method, entry.path) for entry in trial.entries() if entry.appointment is None}
        hostile = HOSTILE[kind].format(ordinary)
        trial.simulator.log.clear()
        hostile_request = CancelRequest(appointment_id=hostile, native_reason=request.native_reason)
        known = {**current, "id": hostile} if current is not None else None
        with suppress(SourceError):
            trial.read_directly(hostile)
        with suppress(SourceError):
            trial.cancel_directly(hostile_request, known, lambda: None)
        # A case-insensitive source logs the id in another case.
        reached = [entry for entry in trial.entries() if (entry.appointment or "").casefold() != hostile.casefold()]
        strayed = [entry for entry in reached if (entry.method, entry.path) not in usual]
        must(not strayed, f"an id with {kind} reached another resource of the source; encode it, or raise NotExecuted")
        for call in trial.record.calls:
            found = fault_runs.wrong_result(call) if call.error is not None else ""
            must(not found, f"for an id with {kind} {found}")

    def test_a_late_commit_is_resolved_by_reading(self, harness: Harness) -> None:
        """Raise OutcomeUnknown after a silence, and return status cancelled from read after the source applied it."""
        only_if_readable(harness.plugin)
        if FAULTS["late-commit"].behaviour not in harness.simulator.behaviours:
            not_supported("the transport cannot show a source that never responds (Simulator.behaviours)")
        for patience in fault_runs.PATIENCE:
            with harness.trial(budget=Shares(write=patience)) as trial:
                trial.outcome(appointment_id := trial.faulty("late-commit"))
                if not (before := trial.writes(appointment_id)):
                    continue  # the machine is too slow to send in so short a time
                eventually(
                    lambda: any(entry.operation == "late-commit" for entry in trial.entries(appointment_id)),
                    "the simulator does not apply a late cancel; log it as late-commit once it is applied",
                )
                _probe(trial, appointment_id)
                reported, writes = trial.outcome(appointment_id), trial.writes(appointment_id)
                step = "return status cancelled from read"
                must(reported == "cancelled", f"the response after a late commit is {reported}; {step}")
                must(writes == before, "a cancel that was applied late was sent again; never write while in doubt")
                return
        fail("a cancel was not sent within two seconds; send it immediately after the permit")


def _calls(run: fault_runs.FaultRun, operation: Operation) -> list[Call]:
    return [call for call in run.calls if call.operation == operation]


def _raised(run: fault_runs.FaultRun, operation: Operation) -> list[BaseException | None]:
    return [call.error for call in _calls(run, operation)]


def _describe(error: BaseException | None) -> str:
    return f"{type(error).__name__} with {error.cause}" if isinstance(error, SourceError) else "no SourceError"


def _probe(trial: Trial, appointment_id: str) -> None:
    """Let the reconciler probe, as in the background, at most three times."""
    trial.facade.cancellations.hint(trial.source, appointment_id)
    for _ in range(3):
        trial.facade.reconciler.tick(trial.source)


def _cancel_while_down(harness: Harness) -> tuple[BaseException | None, int]:
    """Cancel while nothing listens. Returns what the adapter raised, and how often it took the permit."""
    taken: list[int] = []
    with harness.trial() as trial:
        request, current = prepare(trial, trial.appointment())
    with harness.trial(url=harness.closed_url()) as trial:
        try:
            trial.cancel_directly(request, current, lambda: taken.append(1))
        except SourceError as error:
            return error, len(taken)
    return None, len(taken)
