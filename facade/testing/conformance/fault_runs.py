"""Run one cancel under one fault, and find everything that is wrong with the result, one sentence each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from facade.errors import AppointmentNotFound, FacadeError, NotExecuted, NotFound, SourceError, Unavailable
from facade.plugin.contract import Appointment
from facade.testing.conformance.harness import TIME_LIMIT, Harness, Shares
from facade.testing.conformance.recording_adapter import Call
from facade.testing.simulator import LogEntry
from facade.testing.simulator.faults import FAULTS, Behaviour, Commit, Fault

_SILENT = {Behaviour.SILENCE, Behaviour.SLOW_DRIP}
_OWN_REFUSALS = {Behaviour.UNAUTHORIZED, Behaviour.REFUSED, Behaviour.THROTTLED, Behaviour.THROTTLED_FOR}
# Seconds to wait for a source that never responds. A problem counts only if it remains with the longer time, because
# the machine may be slow.
PATIENCE = (0.4, 2.0)


@dataclass(frozen=True)
class FaultRun:
    """One cancel through the facade: the response to the client, the adapter's calls, the source's log."""

    fault: Fault
    reported: str
    response: Appointment | None
    calls: list[Call]
    entries: list[LogEntry]
    others: list[str]
    lines: list[str]
    readable: bool

    @property
    def where(self) -> str:
        """The fault, as the beginning of a sentence."""
        return f'under "{self.fault.name}" ({self.fault.description[:-1].lower()})'


def run_fault(harness: Harness, name: str) -> FaultRun:
    """Cancel the appointment for which this fault is armed."""
    fault = FAULTS[name]
    for patience in PATIENCE if fault.behaviour in _SILENT else (TIME_LIMIT,):
        part = "read" if fault.operation == "read" else "write"
        found = _run_once(harness, fault, Shares(**{part: patience}))
        if not any(problem(found) for problem in PROBLEMS):
            break
    return found


def _run_once(harness: Harness, fault: Fault, budget: Shares) -> FaultRun:
    response: Appointment | None = None
    with harness.trial(budget=budget) as trial:
        appointment_id = trial.faulty(fault.name)
        try:
            response = trial.cancel(appointment_id)
            reported = str(response["status"])
        except NotFound:
            reported = "not found"
        except Unavailable:
            reported = "unavailable"
        entries, others = trial.entries(appointment_id), trial.other_writes(appointment_id)
    return FaultRun(fault, reported, response, trial.record.calls, entries, others, trial.lines, trial.readable)


def wrong_response(run: FaultRun) -> str:
    """Describe what is wrong with the response to the client."""
    expected = _expected(run)
    if run.reported in expected:
        return ""
    wanted = " or ".join(sorted(expected))
    if run.reported == "not found":
        step = "raise AppointmentNotFound for a 404 only if it has the source's own error shape"
    elif run.reported == "cancelled":
        step = "return status cancelled only on the source's own evidence, and raise OutcomeUnknown for everything else"
    else:
        step = "raise OutcomeUnknown after a write that proved nothing, so that the facade probes"
    return f"{run.where} the response is {run.reported} and must be {wanted}; {step}"


def _expected(run: FaultRun) -> set[str]:
    fault = run.fault
    if fault.operation == "read" or fault.commit is Commit.NO:
        return {"proposed"}
    if not run.readable:
        return {"cancelled", "proposed"}
    if fault.commit is Commit.YES:
        return {"cancelled"}
    # A late commit: the source's log shows whether the read afterwards could see it.
    operations = [entry.operation for entry in run.entries]
    seen = operations[::-1].index("read") if "read" in operations else len(operations)
    return {"cancelled"} if "late-commit" in operations[: len(operations) - seen] else {"proposed"}


def wrong_writes(run: FaultRun) -> str:
    """Describe what is wrong with the number of writes to the source."""
    if run.others:
        return f"{run.where} {', '.join(run.others)} was sent about the appointment; send nothing but the cancel"
    writes = sum(entry.operation == "cancel" for entry in run.entries)
    if run.fault.operation == "read":
        return f"{run.where} the source was written to; write nothing after a failed read" if writes else ""
    if writes > 1:
        return f"{run.where} the source was written to {writes} times; write once, and do not retry an unknown outcome"
    return "" if writes else f"{run.where} the source was not written to; send the write"


def wrong_certainty(run: FaultRun) -> str:
    """Describe an error that states that the write was not executed although its outcome is unknown."""
    if run.fault.behaviour in _OWN_REFUSALS:
        return ""
    for call in run.calls:
        name = type(call.error).__name__
        if call.permits and isinstance(call.error, (NotExecuted, AppointmentNotFound)):
            return (
                f"{run.where} the adapter raises {name} from cancel; the write may have been executed, "
                "so raise OutcomeUnknown"
            )
    return ""


def wrong_kind(run: FaultRun) -> str:
    """Describe a result of the adapter that is neither an Appointment nor one of the three errors."""
    for call in run.calls:
        if found := wrong_result(call):
            return f"{run.where} {found}"
    return ""


def wrong_result(call: Call) -> str:
    """Describe a result of one call that an adapter may neither raise nor return."""
    only = "return an Appointment, or raise facade.AppointmentNotFound, NotExecuted or OutcomeUnknown"
    if call.error is not None and not isinstance(call.error, (SourceError, Unavailable)):
        kind = "facade." if isinstance(call.error, FacadeError) else ""
        return f"the adapter raises {kind}{type(call.error).__name__} from {call.operation}; {only}"
    if call.error is None and not isinstance(call.result, dict):
        return f"the adapter returns a {type(call.result).__name__} from {call.operation}; {only}"
    return ""


PROBLEMS: tuple[Callable[[FaultRun], str], ...] = (wrong_response, wrong_writes, wrong_certainty, wrong_kind)


def texts(error: BaseException | None) -> str:
    """Return all texts of an error: its message, its arguments and its detail."""
    parts: list[Any] = [] if error is None else [error, *error.args, getattr(error, "detail", "")]
    return " ".join(str(part) for part in parts)
