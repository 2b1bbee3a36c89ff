"""The one place that renders an OperationOutcome."""

from typing import Any, Literal

from facade.errors import RequestError, SourceError, Unknown


def operation_outcome(
    severity: Literal["error", "warning"],
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


def of_source_error(error: SourceError, text: str = "", *, known: bool) -> dict[str, Any]:
    """Why an appointment is not cancelled, for the agent who must act on it. Never native content.

    ``known`` says whether the appointment was read: without that, nobody knows that it is not cancelled.
    """
    if isinstance(error, Unknown):
        what = (
            "It is not known whether the cancellation took effect. "
            "Read the appointment again before telling the patient anything."
        )
        return operation_outcome("warning", error.cause.issue_code, f"{text or error.cause.text} {what}", id="why")
    if not known:
        what = "This request cancelled nothing; whether the appointment is cancelled was not seen."
        return operation_outcome("warning", error.cause.issue_code, f"{text or error.cause.text} {what}", id="why")
    what = "The appointment was not cancelled."
    return operation_outcome("error", error.cause.issue_code, f"{text or error.cause.text} {what}", id="why")
