"""Build OperationOutcomes. Only this module and ``proposed_explanation`` do."""

from typing import Any, Literal

from facade.errors import RequestError

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
