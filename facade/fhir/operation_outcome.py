"""Build OperationOutcomes. No other module does."""

from typing import Any, Literal

from facade.errors import OutcomeUnknown, RequestError, SourceError

_READ_AGAIN = "Read the appointment again before you inform the patient."
_ASK_THE_OPERATORS = (
    "The facade cannot read appointments of this source system. Ask the facade's operators to find out and to record "
    "the outcome before you inform the patient."
)
_NOT_READ = (
    "This request did not cancel the appointment. Another party may have cancelled it. Check the appointment in the "
    "source system before you inform the patient."
)
WHY = "why"
"""The id of the contained OperationOutcome of a proposed Appointment, or the beginning of its id."""
Severity = Literal["error", "warning"]


def operation_outcome(
    severity: Severity,
    issue_code: str,
    text: str,
    *,
    id: str | None = None,  # noqa: A002 - FHIR's name
) -> dict[str, Any]:
    """Build an OperationOutcome with one issue.

    ``issue_code`` is a code of http://hl7.org/fhir/R4/valueset-issue-type.html. ``id`` is set for a contained one.
    """
    resource = {"resourceType": "OperationOutcome", **({"id": id} if id else {})}
    return {**resource, "issue": [{"severity": severity, "code": issue_code, "details": {"text": text}}]}


def of_request_error(error: RequestError) -> dict[str, Any]:
    """Build the body of an error response to a request that was rejected."""
    return operation_outcome("error", error.issue_code, error.text)


def of_failure() -> dict[str, Any]:
    """Build the body of a 500 response. It reveals nothing about the bug."""
    text = "The facade failed. Report the X-Request-Id of this response to the facade's operators."
    return operation_outcome("error", "exception", text)


def of_source_error(error: SourceError, text: str = "", *, known: bool, readable: bool = True) -> dict[str, Any]:
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
