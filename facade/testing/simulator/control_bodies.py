"""What the control API takes and gives as JSON; every wrong body is refused with a sentence. Raises BadRequest."""

from datetime import datetime
from typing import Any

from flask import request

from facade.errors import BadRequest
from facade.testing.simulator.faults import FAULTS, Armed


def json_object() -> dict[str, Any]:
    """The request's body, which must be a JSON object."""
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise BadRequest(f"{request.method} {request.path} needs a body. Send a JSON object.")
    return body


def copied(body: dict[str, Any]) -> tuple[str | None, str | None]:
    """Check the body that copies an appointment: which, and under which id."""
    if body.keys() - {"like", "id"} or not all(isinstance(value, str) and value for value in body.values()):
        raise BadRequest(
            'An appointment is copied by {"like": id, "id": id}; without "like" an ordinary one, as it '
            f'is seeded, and without "id" under a new one. Send that instead of {body}.'
        )
    return body.get("like"), body.get("id")


def armed_fault(body: dict[str, Any]) -> Armed:
    """Check the body that arms a fault."""
    match body:
        case {"appointment": str(appointment_id), "fault": str(name), **rest} if rest.keys() <= {"times"}:
            times = rest.get("times")
        case _:
            raise BadRequest(
                'A fault is armed by {"appointment": id, "fault": name, "times": 1}, without times for ever. '
                f"Send that instead of {body}."
            )
    if name not in FAULTS:
        raise BadRequest(f'There is no fault "{name}". Use one of: {", ".join(FAULTS)}.')
    if times is not None and (isinstance(times, bool) or not isinstance(times, int) or times < 1):
        raise BadRequest(f"times is a number of requests, 1 or more, not {times!r}. Leave it out for always.")
    return Armed(appointment_id, FAULTS[name], times)


def as_json(armed: Armed) -> dict[str, Any]:
    """An armed fault as the control API shows it."""
    fault = armed.fault
    return {
        "appointment": armed.appointment,
        "fault": fault.name,
        "operation": fault.operation,
        "times": armed.times,
        "description": fault.description,
    }


def instant(text: str) -> datetime:
    """An instant with a zone."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        found = None
    if found is None or found.tzinfo is None:
        raise BadRequest(f'"{text}" is not an instant with a zone. Write it like 2026-01-31T12:00:00Z.')
    return found
