"""Simulate Paper: its API, with state and a seeded appointment for every case."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from facade.testing.simulator import Native, Simulator
from facade.testing.simulator.faults import Behaviour, Operation
from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# Copied from Paper's API guide a second time, so that the simulator rejects a wrong code of the plugin.
_REASONS = {"patient", "practice", "mistake"}
_PATHS: tuple[tuple[str, re.Pattern[str], Operation], ...] = (
    ("GET", re.compile(r"/appointments/([^/]+)"), "read"),
    ("POST", re.compile(r"/appointments/([^/]+)/cancel"), "cancel"),
)
_REFUSALS = {
    Behaviour.UNAUTHORIZED: (401, "unauthorized", "The key is missing or not valid."),
    Behaviour.REFUSED: (422, "too_late", "This appointment can no longer be cancelled."),
    Behaviour.THROTTLED: (429, "slow_down", "Too many requests."),
}


class PaperError(Exception):
    """An error response in Paper's own shape."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message}}


class PaperSimulator(Simulator):
    """Paper's API over the seeded appointments."""

    ended_id = "apt_done"
    odd_status_id = "apt_waiting"

    def operation(self, method: str, path: str) -> tuple[Operation, str] | None:
        """Return the operation and the id of a request, by its method and path."""
        for known_method, pattern, operation in _PATHS:
            found = pattern.fullmatch(path)
            if found and method == known_method:
                return operation, found[1]
        return None

    def refusal(self, behaviour: Behaviour) -> tuple[int, Any]:
        """Return Paper's own error response."""
        error = PaperError(*_REFUSALS[behaviour])
        return error.status, error.body

    def seeds(self, now: datetime) -> Mapping[str, Native]:
        """Return ordinary appointments, also one for each fault, and ended, cancelled and unknown ones."""
        ordinary = [f"apt_{number}" for number in range(1, 10)]
        states = dict.fromkeys([*ordinary, *self.fault_ids()], "planned")
        states |= {"apt_done": "done", "apt_cancelled": "cancelled", "apt_waiting": "waiting"}
        return {
            appointment_id: _appointment(appointment_id, number, state, now + timedelta(days=3))
            for number, (appointment_id, state) in enumerate(states.items(), start=101)
        }

    def app(self) -> "WSGIApplication":
        """Build the API: two requests, and 404 or 405 in Paper's own shape for any other."""
        app = Flask("facade_paper.simulator")
        app.url_map.merge_slashes = False  # a real API would not redirect a path with // in it
        app.register_error_handler(PaperError, lambda error: (jsonify(error.body), error.status))
        app.register_error_handler(HTTPException, _http_error)

        @app.before_request
        def authenticate() -> None:
            if not re.fullmatch(r"Bearer \S+", request.headers.get("Authorization", "")):
                raise PaperError(*_REFUSALS[Behaviour.UNAUTHORIZED])

        @app.get("/appointments/<appointment_id>")
        def get_appointment(appointment_id: str) -> Response:
            return jsonify(self._known(appointment_id))

        @app.post("/appointments/<appointment_id>/cancel")
        def cancel(appointment_id: str) -> Response:
            native = self._known(appointment_id)
            cancellation = _checked_cancellation()
            if native["state"] == "cancelled":
                raise PaperError(409, "already_cancelled", "It was cancelled before.")
            if native["state"] != "planned":
                raise PaperError(*_REFUSALS[Behaviour.REFUSED])
            self.put(appointment_id, {**native, "state": "cancelled", "cancellation": cancellation})
            return jsonify(self._known(appointment_id))

        return app

    def _known(self, appointment_id: str) -> Native:
        native = self.get(appointment_id)
        if native is None:
            raise PaperError(404, "not_found", "There is no such appointment.")
        return native


def _checked_cancellation() -> dict[str, str]:
    match request.get_json(silent=True):
        case {"reason": str(reason), **rest} if reason in _REASONS and rest.keys() <= {"note"}:
            return {"reason": reason, "note": str(rest.get("note", ""))}
    raise PaperError(400, "invalid", "A cancellation has a reason, and may have a note.")


def _http_error(error: HTTPException) -> tuple[Response, int]:
    """Return Paper's error response for an unknown path or method."""
    status, code = error.code or 500, error.name.lower().replace(" ", "_")
    return jsonify(PaperError(status, code, error.name).body), status


def _appointment(appointment_id: str, number: int, state: str, starts: datetime) -> Native:
    """Create an appointment. All its ids contain its number, so that no two appointments share an id."""
    times = {"starts": starts, "ends": starts + timedelta(minutes=30)}
    return {
        "id": appointment_id,
        "state": state,
        **{name: f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for name, instant in times.items()},
        "patient": f"p_{number}",
        "practitioner": f"d_{number}",
        "service": "check-up",
        "kind": "first-visit",
        # Never read, logged or returned: the conformance tests search for the word everywhere.
        "remark": "CANARY: afraid of needles",
        "cancellation": {"reason": "patient"} if state == "cancelled" else None,
    }
