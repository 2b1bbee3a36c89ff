"""What came of one cancel under one fault, and everything that can be wrong with it, a sentence each."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from facade.errors import AppointmentNotFound, FacadeError, NotExecuted, NotFound, SourceError, Unavailable
from facade.plugin.contract import Appointment
from facade.testing.conformance.harness import ROOM, Bench, Shares
from facade.testing.conformance.recording_adapter import Call
from facade.testing.simulator import LogEntry
from facade.testing.simulator.faults import FAULTS, Behaviour, Commit, Fault

_SILENT = {Behaviour.SILENCE, Behaviour.SLOW_DRIP}
_OWN_REFUSALS = {Behaviour.UNAUTHORIZED, Behaviour.REFUSED, Behaviour.THROTTLED, Behaviour.THROTTLED_FOR}
# Seconds given to what never ends. A verdict is believed only if it stands with more of them: the machine may be slow.
PATIENCE = (0.4, 2.0)


@dataclass(frozen=True)
class Run:
    """One cancel through the facade: what the client was told, what the adapter did, what the source received."""

    fault: Fault
    told: str
    answer: Appointment | None
    calls: list[Call]
    entries: list[LogEntry]
    others: list[str]
    lines: list[str]
    readable: bool

    @property
    def under(self) -> str:
        """Where it happened, to begin a sentence with."""
        return f'under "{self.fault.name}" ({self.fault.description[:-1].lower()})'


def run(bench: Bench, name: str) -> Run:
    """Cancel the appointment that is armed with this fault."""
    fault = FAULTS[name]
    for patience in PATIENCE if fault.behaviour in _SILENT else (ROOM,):
        part = "read" if fault.operation == "read" else "write"
        found = _once(bench, fault, Shares(**{part: patience}))
        if not any(problem(found) for problem in PROBLEMS):
            break
    return found


def _once(bench: Bench, fault: Fault, budget: Shares) -> Run:
    answer: Appointment | None = None
    with bench.trial(budget=budget) as trial:
        appointment_id = trial.faulty(fault.name)
        try:
            answer = trial.cancel(appointment_id)
            told = str(answer["status"])
        except NotFound:
            told = "not found"
        except Unavailable:
            told = "unavailable"
        entries, others = trial.entries(appointment_id), trial.other_writes(appointment_id)
    return Run(fault, told, answer, trial.record.calls, entries, others, trial.lines, trial.readable)


def wrong_end(run: Run) -> str:
    """What is wrong with what the client was told."""
    expected = _expected(run)
    if run.told in expected:
        return ""
    wanted = " or ".join(sorted(expected))
    if run.told == "not found":
        step = "take a 404 for the source's word only in the source's own error shape"
    elif run.told == "cancelled":
        step = "return status cancelled only on the source's own evidence, and raise OutcomeUnknown for everything else"
    else:
        step = "raise OutcomeUnknown after a write that proved nothing, so that the facade reads and finds out"
    return f"{run.under} the client is told {run.told} and must be told {wanted}; {step}"


def _expected(run: Run) -> set[str]:
    fault = run.fault
    if fault.operation == "read" or fault.commit is Commit.NO:
        return {"proposed"}
    if not run.readable:
        return {"cancelled", "proposed"}
    if fault.commit is Commit.YES:
        return {"cancelled"}
    # Late: whether the read afterwards could see it is for the source's log to say.
    operations = [entry.operation for entry in run.entries]
    seen = operations[::-1].index("read") if "read" in operations else len(operations)
    return {"cancelled"} if "late-commit" in operations[: len(operations) - seen] else {"proposed"}


def wrong_writes(run: Run) -> str:
    """What is wrong with how often the source was written to."""
    if run.others:
        return f"{run.under} {', '.join(run.others)} was sent about the appointment; send nothing but the cancel"
    writes = sum(entry.operation == "cancel" for entry in run.entries)
    if run.fault.operation == "read":
        return f"{run.under} the source was written to; write nothing after a failed read" if writes else ""
    if writes > 1:
        return f"{run.under} the source was written to {writes} times; write once, and never again after an unclear end"
    return "" if writes else f"{run.under} the source was not written to at all; make the write"


def wrong_certainty(run: Run) -> str:
    """A write said to be surely not executed although no one can know."""
    if run.fault.behaviour in _OWN_REFUSALS:
        return ""
    for call in run.calls:
        said = type(call.error).__name__
        if call.permits and isinstance(call.error, (NotExecuted, AppointmentNotFound)):
            return (
                f"{run.under} the adapter raises {said} from cancel; the write may have been executed, "
                "so raise OutcomeUnknown"
            )
    return ""


def wrong_kind(run: Run) -> str:
    """Something other than an Appointment or one of the three errors that came out of the adapter."""
    for call in run.calls:
        if found := strange(call):
            return f"{run.under} {found}"
    return ""


def strange(call: Call) -> str:
    """What an adapter may neither raise nor return."""
    only = "return an Appointment, or raise facade.AppointmentNotFound, NotExecuted or OutcomeUnknown"
    if call.error is not None and not isinstance(call.error, (SourceError, Unavailable)):
        kind = "facade." if isinstance(call.error, FacadeError) else ""
        return f"the adapter raises {kind}{type(call.error).__name__} from {call.operation}; {only}"
    if call.error is None and not isinstance(call.result, dict):
        return f"the adapter returns a {type(call.result).__name__} from {call.operation}; {only}"
    return ""


PROBLEMS: tuple[Callable[[Run], str], ...] = (wrong_end, wrong_writes, wrong_certainty, wrong_kind)


def texts(error: BaseException | None) -> str:
    """Everything an error may say of itself."""
    said: list[Any] = [] if error is None else [error, *error.args, getattr(error, "detail", "")]
    return " ".join(str(part) for part in said)
