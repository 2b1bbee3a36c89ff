"""What the ledger stores of a cancel request: enough to complete its response later, and no more."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from facade.plugin.contract import Appointment, CancelRequest, Coding, NativeReason


@dataclass(frozen=True)
class Requester:
    """Who asks: the client's name, or a component's own, and the id of the HTTP request for the logs."""

    name: str
    request_id: str = ""


def to_json(request: CancelRequest, expected: Appointment) -> dict[str, Any]:
    """Return the reason in the client's and in the source's codes. Comment and note are not stored.

    ``expected`` are the elements of a cancelled response that do not depend on the source: identifiers and reason.
    """
    stored: dict[str, Any] = {
        "codings": [[coding.system, coding.code, coding.display] for coding in request.codings],
        "text": request.text,
        "expected": expected,
    }
    if request.native_reason is not None:
        stored["native"] = [request.native_reason.code, dict(request.native_reason.properties)]
    return stored


def from_json(appointment_id: str, stored: Mapping[str, Any]) -> CancelRequest:
    """Return the request as far as its response depends on it."""
    native = stored.get("native")
    return CancelRequest(
        appointment_id=appointment_id,
        codings=tuple(Coding(*coding) for coding in stored.get("codings", [])),
        text=stored.get("text", ""),
        native_reason=NativeReason(*native) if native else None,
    )


def expected_elements(stored: Mapping[str, Any]) -> Appointment:
    """Return the elements of a cancelled response that do not depend on the source."""
    found: Appointment = stored.get("expected", {})
    return found


def codes(request: CancelRequest) -> list[list[str]]:
    """Return the codes for the journal. It never holds the free text of a repeated request."""
    return [[coding.system, coding.code] for coding in request.codings]
