"""Every error the facade raises, sorted by who acts next.

::

    FacadeError
    ├── ConfigurationError          the operator fixes the configuration; the start is refused
    ├── RequestError                the client fixes the request; the source system was not asked to cancel
    │   ├── BadRequest              400
    │   ├── Unauthenticated         401
    │   ├── Forbidden               403
    │   ├── NotFound                404
    │   ├── MethodNotAllowed        405
    │   ├── NotAcceptable           406
    │   ├── RequestTimeout          408
    │   ├── PreconditionFailed      412
    │   ├── ContentTooLarge         413
    │   ├── UnsupportedMediaType    415
    │   └── UnprocessableContent    422
    ├── NotSupported                501: the source system has no such thing
    ├── Unavailable                 503: the client tries again later; this request sent nothing to the source system
    └── SourceError                 what a source system did; adapters raise these and nothing else
        ├── AppointmentNotFound     the source's own, definite "I do not know this appointment"
        ├── NotExecuted                 surely not executed
        │   └── VersionConflict        refused for having changed since it was read: read again, then once more
        └── OutcomeUnknown                 may have been executed: read to find out, never send again
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class CauseFacts:
    """What a cause means to others: an R4 issue-type code, a data-absent-reason code, a text for an agent."""

    issue_code: str
    absent_reason: str
    text: str


class Cause(Enum):
    """Why a source did not prove a cancellation; the name goes to logs, the facts into answers."""

    TIMEOUT = CauseFacts("timeout", "temp-unknown", "The source system did not answer in time.")
    UNREACHABLE = CauseFacts("transient", "temp-unknown", "The source system could not be reached.")
    CONNECTION_LOST = CauseFacts("transient", "temp-unknown", "The connection to the source system broke off.")
    SERVER_ERROR = CauseFacts("transient", "temp-unknown", "The source system reported a fault of its own.")
    THROTTLED = CauseFacts("throttled", "temp-unknown", "The source system is being asked too often.")
    CREDENTIALS = CauseFacts(
        "security",
        "temp-unknown",
        "The source system does not accept this facade's credentials; its operators know.",
    )
    REFUSED = CauseFacts("business-rule", "unknown", "The source system does not allow this cancellation.")
    NO_REASON = CauseFacts(
        "business-rule", "unknown", "The source system has no word for this reason; send another cancellation reason."
    )
    NOT_SHOWN = CauseFacts("business-rule", "unknown", "The source system refuses to show this appointment.")
    CONFLICT = CauseFacts("conflict", "temp-unknown", "The source system reported a conflict.")
    UNSUPPORTED = CauseFacts("not-supported", "unknown", "This request is not supported.")
    UNREADABLE = CauseFacts("processing", "error", "The source system's answer could not be understood.")
    UNPROVEN = CauseFacts("processing", "temp-unknown", "The source system did not confirm the cancellation.")
    INTERNAL = CauseFacts("processing", "error", "The adapter of this source system failed; its operators know.")

    @property
    def word(self) -> str:
        """The cause's word in logs and in the ledger."""
        return self.name.lower().replace("_", "-")

    @property
    def issue_code(self) -> str:
        """The R4 issue-type code (http://hl7.org/fhir/R4/valueset-issue-type.html)."""
        return self.value.issue_code

    @property
    def absent_reason(self) -> str:
        """The data-absent-reason code for a required element that no one could learn."""
        return self.value.absent_reason

    @property
    def text(self) -> str:
        """One sentence a call-centre agent can act on."""
        return self.value.text


class FacadeError(Exception):
    """The root of every error this package raises."""


class ConfigurationError(FacadeError):
    """The start is refused; ``problems`` holds one sentence a problem, all of them at once."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(FacadeError):
    """The request cannot be served as it is; rendered as ``status`` with an OperationOutcome."""

    status = 400
    issue_code = "invalid"

    def __init__(self, text: str, *, issue_code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.issue_code = issue_code or self.issue_code
        self.headers = dict(headers or {})


class BadRequest(RequestError):
    """400: not a request this facade can read."""


class Unauthenticated(RequestError):
    """401: no credentials, or none that are known."""

    status, issue_code = 401, "login"


class Forbidden(RequestError):
    """403: known, but not allowed to do this."""

    status, issue_code = 403, "forbidden"


class NotFound(RequestError):
    """404: no such route, source system or appointment."""

    status, issue_code = 404, "not-found"


class MethodNotAllowed(RequestError):
    """405; carries ``Allow``."""

    status, issue_code = 405, "not-supported"


class NotAcceptable(RequestError):
    """406: an answer in a format this facade does not write."""

    status, issue_code = 406, "not-supported"


class RequestTimeout(RequestError):
    """408: the body did not come in time."""

    status, issue_code = 408, "timeout"


class PreconditionFailed(RequestError):
    """412: ``If-Match`` names another version."""

    status, issue_code = 412, "conflict"


class ContentTooLarge(RequestError):
    """413: the body is over the limit."""

    status, issue_code = 413, "too-long"


class UnsupportedMediaType(RequestError):
    """415: a body in a format this facade does not read."""

    status, issue_code = 415, "not-supported"


class UnprocessableContent(RequestError):
    """422: JSON, an Appointment, but with content that R4 does not allow."""

    status, issue_code = 422, "value"


class Unavailable(RequestError):
    """503: not now; carries ``Retry-After``, seconds. A RequestError in shape only: the client sends the same again."""

    status, issue_code = 503, "transient"

    def __init__(self, text: str, *, retry_after: float | None = None, cause: Cause | None = None) -> None:
        seconds = max(1, math.ceil(5 if retry_after is None else retry_after))
        super().__init__(text, headers={"Retry-After": str(seconds)})
        self.cause = cause


class NotSupported(RequestError):
    """501: the source system has no such thing, so asking again would not help."""

    status, issue_code = 501, "not-supported"


MAX_RETRY_AFTER = 86_400.0
"""Seconds: a source that asks for more is asked again after a day."""


class SourceError(FacadeError):
    """What a source system did. ``detail`` is for logs: it names facts of the exchange, never native content.

    ``retry_after`` is how many seconds the source asked to be left alone, None where it did not say. More than
    MAX_RETRY_AFTER counts as that, and less than none as none.
    """

    def __init__(self, cause: Cause, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(f"{cause.name}: {detail}" if detail else cause.name)
        self.cause = cause
        self.detail = detail
        self.retry_after = None if retry_after is None else min(max(0.0, retry_after), MAX_RETRY_AFTER)


class AppointmentNotFound(SourceError):
    """The source's own error shape says that it does not know the appointment."""

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(Cause.REFUSED, detail, retry_after=retry_after)


class NotExecuted(SourceError):
    """Surely not executed: refused before it left, or refused by the source in its own error shape."""


class VersionConflict(NotExecuted):
    """A versioned write was refused because the appointment has changed since it was read.

    For a source declared to have ``versioned_writes``; of any other it proves nothing and counts as OutcomeUnknown.
    """

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(Cause.CONFLICT, detail, retry_after=retry_after)


class OutcomeUnknown(SourceError):
    """May have been executed. The only permitted next step is a read."""
