"""What a request wished, as the ledger keeps it: enough to complete its answer later, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facade.plugin.contract import Appointment, CancelRequest, Coding, NativeReason


@dataclass(frozen=True)
class Requester:
    """Who asks: the client's name, and the request's id for the logs."""

    name: str
    request_id: str = ""


def to_json(request: CancelRequest, stated: Appointment) -> dict[str, Any]:
    """The reason in the requester's and the source's words; no comment and no note, which are not answered.

    ``stated`` are the elements that a cancelled answer has whatever the source says: identifiers and reason. With them
    a person can settle doubt without the source's plugin.
    """
    cancel_request: dict[str, Any] = {
        "codings": [[coding.system, coding.code, coding.display] for coding in request.codings],
        "text": request.text,
        "stated": stated,
    }
    if request.native_reason is not None:
        cancel_request["native"] = [request.native_reason.code, dict(request.native_reason.properties)]
    return cancel_request


def from_json(appointment_id: str, cancel_request: dict[str, Any]) -> CancelRequest:
    """The request as far as its answer depends on it."""
    native = cancel_request.get("native")
    return CancelRequest(
        appointment_id=appointment_id,
        codings=tuple(Coding(*coding) for coding in cancel_request.get("codings", [])),
        text=cancel_request.get("text", ""),
        native_reason=NativeReason(*native) if native else None,
    )


def stated(cancel_request: Mapping[str, Any]) -> Appointment:
    """The elements that a cancelled answer has whatever the source says; none in a row of an older version."""
    found: Appointment = cancel_request.get("stated", {})
    return found


def codes(request: CancelRequest) -> list[list[str]]:
    """The codes only, for the journal: a repeat's free text is no one's business later."""
    return [[coding.system, coding.code] for coding in request.codings]
