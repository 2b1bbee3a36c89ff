"""What a ``proposed`` response says: its contained OperationOutcome, with a text for a call-centre agent.

The texts of the causes are in ``facade.errors.Cause``.
"""

from typing import Any

from facade.errors import OutcomeUnknown, SourceError
from facade.fhir.operation_outcome import WHY, Severity, operation_outcome

_READ_AGAIN = "Read the appointment again before you inform the patient."
_ASK_THE_OPERATORS = (
    "The facade cannot read appointments of this source system. Ask the facade's operators to find out and to record "
    "the outcome before you inform the patient."
)
_NOT_READ = (
    "This request did not cancel the appointment. Another party may have cancelled it. Check the appointment in the "
    "source system before you inform the patient."
)


def why_proposed(error: SourceError, text: str = "", *, known: bool, readable: bool = True) -> dict[str, Any]:
    """Build the OperationOutcome of a proposed Appointment, with a text for a call-centre agent.

    It never contains native content. ``text`` replaces the text of the cause. ``known``: the appointment was read.
    Otherwise another party may have cancelled it. ``readable``: the source can be read.

    The severity is ``error`` if the appointment is not cancelled, and ``warning`` if that is not known.
    """
    severity: Severity
    if isinstance(error, OutcomeUnknown):
        severity, next_step = "warning", _READ_AGAIN if readable else _ASK_THE_OPERATORS
        what = f"It is not known whether the cancellation took effect. {next_step}"
    elif not known:
        severity, what = "warning", _NOT_READ
    else:
        severity, what = "error", f"The appointment was not cancelled. {error.cause.next_step}".rstrip()
    return operation_outcome(severity, error.cause.issue_code, f"{text or error.cause.text} {what}", id=WHY)
