"""The one place that renders an OperationOutcome."""

from typing import Any, Literal

from facade.errors import OutcomeUnknown, RequestError, SourceError

_READ_AGAIN = "Read the appointment again before telling the patient anything."
_ASK_THE_OPERATORS = (
    "This source system cannot be read. Ask the facade's operators, who find out and record it, before telling the "
    "patient anything."
)
WHY = "why"
"""The id of a contained OperationOutcome that says why an Appointment is proposed, or how it begins."""
Severity = Literal["error", "warning"]


def operation_outcome(
    severity: Severity,
    issue_code: str,
    text: str,
    *,
    id: str | None = None,  # noqa: A002 - FHIR's name
) -> dict[str, Any]:
    """An OperationOutcome with one issue; ``issue_code`` is an R4 issue-type code."""
    resource = {"resourceType": "OperationOutcome", **({"id": id} if id else {})}
    return {**resource, "issue": [{"severity": severity, "code": issue_code, "details": {"text": text}}]}


def of_request_error(error: RequestError) -> dict[str, Any]:
    """Why a request was not served."""
    return operation_outcome("error", error.issue_code, error.text)


def of_failure() -> dict[str, Any]:
    """That the facade has a bug, and no more of it."""
    text = "The facade failed; quote the X-Request-Id of this answer to its operators."
    return operation_outcome("error", "exception", text)


def of_source_error(error: SourceError, text: str = "", *, known: bool, readable: bool = True) -> dict[str, Any]:
    """Why an appointment is not cancelled, for the agent who must act on it. Never native content.

    ``known`` says whether the appointment was read: without that, no one knows that it is not cancelled. ``readable``
    says whether another read could show it.
    """
    severity: Severity
    if isinstance(error, OutcomeUnknown):
        severity, next_step = "warning", _READ_AGAIN if readable else _ASK_THE_OPERATORS
        what = f"It is not known whether the cancellation took effect. {next_step}"
    elif not known:
        severity, what = "warning", "This request cancelled nothing; whether the appointment is cancelled was not seen."
    else:
        severity, what = "error", "The appointment was not cancelled."
    return operation_outcome(severity, error.cause.issue_code, f"{text or error.cause.text} {what}", id=WHY)
