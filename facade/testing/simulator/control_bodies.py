"""Parse and format the control API's JSON bodies. A wrong body raises BadRequest with a sentence for the tester."""

from datetime import datetime
from typing import Any

from flask import request

from facade.errors import BadRequest
from facade.testing.simulator.faults import FAULTS, Armed


def json_object() -> dict[str, Any]:
    """Return the request's body, which must be a JSON object."""
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise BadRequest(f"{request.method} {request.path} needs a body. Send a JSON object.")
    return body


def copied(body: dict[str, Any]) -> tuple[str | None, str | None]:
    """Parse the body that copies an appointment. Returns the id to copy and the new id, each None if absent."""
    if body.keys() - {"like", "id"} or not all(isinstance(value, str) and value for value in body.values()):
        raise BadRequest(
            f'{body} does not copy an appointment. Send {{"like": id, "id": id}}; without "like" an ordinary '
            'appointment is copied, as it is seeded, and without "id" the copy gets an unused id.'
        )
    return body.get("like"), body.get("id")


def armed_fault(body: dict[str, Any]) -> Armed:
    """Parse the body that arms a fault."""
    match body:
        case {"appointment": str(appointment_id), "fault": str(name), **rest} if rest.keys() <= {"times"}:
            times = rest.get("times")
        case _:
            raise BadRequest(
                f'{body} does not arm a fault. Send {{"appointment": id, "fault": name, "times": 1}}; without '
                '"times" the fault stays armed.'
            )
    if name not in FAULTS:
        raise BadRequest(f'There is no fault "{name}". Use one of: {", ".join(FAULTS)}.')
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise BadRequest(f"times is a number of requests, 1 or more, not {times!r}. Leave it out for all requests.")
    return Armed(appointment_id, FAULTS[name], times)


def as_json(armed: Armed) -> dict[str, Any]:
    """Format an armed fault as the control API shows it."""
    fault = armed.fault
    return {
        "appointment": armed.appointment,
        "fault": fault.name,
        "operation": fault.operation,
        "times": armed.times,
        "description": fault.description,
    }


def instant(text: str) -> datetime:
    """Parse an instant with a zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadRequest(f'"{text}" is not an instant with a zone. Write it like 2026-01-31T12:00:00Z.')
    return found
