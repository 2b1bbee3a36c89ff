"""Define every error that the facade raises, sorted by who acts next.

::

    FacadeError
    ├── ConfigurationError          the operator fixes the configuration; the facade does not start
    ├── RequestError                the client fixes the request; nothing was cancelled
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
    │   ├── NotSupported            501: the source system has no such feature
    │   └── Unavailable             503: the client retries later; this request cancelled nothing
    └── SourceError                 the result of an exchange with a source; adapters raise these and nothing else
        ├── AppointmentNotFound     the source definitely does not know the appointment
        ├── NotExecuted             the write was surely not executed
        │   └── VersionConflict     refused because the appointment changed since it was read: read, retry once
        └── OutcomeUnknown          the write may have been executed: read to find out, never send it again
"""

# Why this long: one module has the whole tree, so that a reader sees every error and every text at once.

import math
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class CauseFacts:
    """How a cause appears in a response: an R4 issue-type code, a data-absent-reason code, and texts for an agent.

    ``text`` states what happened. ``next_step`` is what the agent does if the appointment was not cancelled.
    """

    issue_code: str
    absent_reason: str
    text: str
    next_step: str = ""


_RETRY = "Send the request again in a few minutes."
_ASK_THE_SOURCE = "Ask the source system's operators."
_REPORT = "Report this to the facade's operators."


class Cause(Enum):
    """Why a source did not prove a cancellation. Logs and the ledger contain its code, responses its facts."""

    TIMEOUT = CauseFacts("timeout", "temp-unknown", "The source system did not respond in time.", _RETRY)
    UNREACHABLE = CauseFacts("transient", "temp-unknown", "The source system could not be reached.", _RETRY)
    CONNECTION_LOST = CauseFacts("transient", "temp-unknown", "The connection to the source system was lost.", _RETRY)
    SERVER_ERROR = CauseFacts("transient", "temp-unknown", "The source system reported an internal error.", _RETRY)
    THROTTLED = CauseFacts("throttled", "temp-unknown", "The source system receives too many requests.", _RETRY)
    CREDENTIALS = CauseFacts(
        "security", "temp-unknown", "The source system does not accept this facade's credentials.", _REPORT
    )
    REFUSED = CauseFacts(
        "business-rule", "unknown", "The source system does not allow this cancellation.", _ASK_THE_SOURCE
    )
    NO_REASON = CauseFacts(
        "business-rule",
        "unknown",
        "The source system has no code for this cancellation reason.",
        "Send another cancellation reason.",
    )
    NOT_SHOWN = CauseFacts(
        "business-rule", "unknown", "The source system does not show this appointment.", _ASK_THE_SOURCE
    )
    CONFLICT = CauseFacts(
        "conflict",
        "temp-unknown",
        "The source system reported a conflict.",
        "Read the appointment, then send the request again.",
    )
    UNSUPPORTED = CauseFacts("not-supported", "unknown", "This facade does not support this request.")
    UNREADABLE = CauseFacts("processing", "error", "The facade could not parse the source system's response.", _REPORT)
    UNPROVEN = CauseFacts("processing", "temp-unknown", "The source system did not confirm the cancellation.", _RETRY)
    INTERNAL = CauseFacts("processing", "error", "The facade's plugin for this source system failed.", _REPORT)

    @property
    def code(self) -> str:
        """The code of this cause in logs and in the ledger, for example ``connection-lost``."""
        return self.name.lower().replace("_", "-")

    @property
    def issue_code(self) -> str:
        """The R4 issue-type code (http://hl7.org/fhir/R4/valueset-issue-type.html)."""
        return self.value.issue_code

    @property
    def absent_reason(self) -> str:
        """The data-absent-reason code of required elements if nothing was read.

        A code of http://terminology.hl7.org/CodeSystem/data-absent-reason.
        """
        return self.value.absent_reason

    @property
    def text(self) -> str:
        """What happened, in one sentence for a call-centre agent."""
        return self.value.text

    @property
    def next_step(self) -> str:
        """What the agent does next if the appointment was not cancelled, in one sentence; empty for UNSUPPORTED."""
        return self.value.next_step


class FacadeError(Exception):
    """The base class of every error of the facade."""


class ConfigurationError(FacadeError):
    """The configuration is not valid, so the facade does not start. ``problems`` has one text for each problem."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class RequestError(FacadeError):
    """A request that gets an error response: HTTP ``status``, and an OperationOutcome with ``issue_code`` and text.

    ``issue_code`` is an R4 issue-type code. ``headers`` are added to the response.
    """

    status = 400
    issue_code = "invalid"

    def __init__(self, text: str, *, issue_code: str = "", headers: Mapping[str, str] | None = None) -> None:
        super().__init__(text)
        self.text = text
        self.issue_code = issue_code or self.issue_code
        self.headers = dict(headers or {})


class BadRequest(RequestError):
    """400: the request is malformed."""


class Unauthenticated(RequestError):
    """401: the credentials are missing or unknown."""

    status, issue_code = 401, "login"


class Forbidden(RequestError):
    """403: the client is not allowed to do this."""

    status, issue_code = 403, "forbidden"


class NotFound(RequestError):
    """404: no such route, source system or appointment."""

    status, issue_code = 404, "not-found"


class MethodNotAllowed(RequestError):
    """405: the route has other methods; the header ``Allow`` lists them."""

    status, issue_code = 405, "not-supported"


class NotAcceptable(RequestError):
    """406: the client accepts no format that the facade can write."""

    status, issue_code = 406, "not-supported"


class RequestTimeout(RequestError):
    """408: the body did not arrive in time."""

    status, issue_code = 408, "timeout"


class PreconditionFailed(RequestError):
    """412: ``If-Match`` names another version."""

    status, issue_code = 412, "conflict"


class ContentTooLarge(RequestError):
    """413: the body is over the limit."""

    status, issue_code = 413, "too-long"


class UnsupportedMediaType(RequestError):
    """415: the body has a format that the facade cannot read."""

    status, issue_code = 415, "not-supported"


class UnprocessableContent(RequestError):
    """422: the body is an Appointment with content that R4 or this facade does not allow."""

    status, issue_code = 422, "value"


class Unavailable(RequestError):
    """503: the ledger or the source cannot be used now. The client sends the same request again later.

    ``retry_after`` is in seconds, 5 by default; it is rounded up, to at least 1. ``cause`` is set if a source failed.
    """

    status, issue_code = 503, "transient"

    def __init__(self, text: str, *, retry_after: float | None = None, cause: Cause | None = None) -> None:
        seconds = max(1, math.ceil(5 if retry_after is None else retry_after))
        super().__init__(text, headers={"Retry-After": str(seconds)})
        self.cause = cause


class NotSupported(RequestError):
    """501: the source system does not have the feature, so a retry does not help."""

    status, issue_code = 501, "not-supported"


MAX_RETRY_AFTER = 86_400.0
"""The longest ``retry_after`` in seconds, one day. A longer one is shortened to this."""


class SourceError(FacadeError):
    """A failed exchange with a source system. ``cause`` says why.

    ``detail`` is for logs. It states facts of the exchange and never contains native content. ``retry_after`` is for
    how many seconds the source asks not to be called, None if it does not say. It is limited to 0 to MAX_RETRY_AFTER.
    """

    def __init__(self, cause: Cause, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(f"{cause.name}: {detail}" if detail else cause.name)
        self.cause = cause
        self.detail = detail
        self.retry_after = None if retry_after is None else min(max(0.0, retry_after), MAX_RETRY_AFTER)


class AppointmentNotFound(SourceError):
    """The source states, in its own error shape, that it does not know the appointment."""

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(Cause.REFUSED, detail, retry_after=retry_after)


class NotExecuted(SourceError):
    """The write was surely not executed: it was never sent, or the source refused it in its own error shape."""


class VersionConflict(NotExecuted):
    """A versioned write was refused because the appointment has changed since it was read.

    Only for a source that declares ``versioned_writes``. From any other source it counts as OutcomeUnknown.
    """

    def __init__(self, detail: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(Cause.CONFLICT, detail, retry_after=retry_after)


class OutcomeUnknown(SourceError):
    """The write may have been executed. The only permitted next step is a read."""
