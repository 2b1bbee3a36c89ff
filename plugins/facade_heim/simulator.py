"""A Heim that behaves: its documented API, stateful, with a seeded appointment for every case."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, jsonify, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from facade.testing.simulator import Native, Refusal, Simulator
from facade.testing.simulator.faults import Behaviour, Operation

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

# Written a second time on purpose, from Heim's guide "Cancelling appointments": the simulator rejects a value that is
# wrong in the plugin's lists.
_CANCELLATION = {
    "causingEntity": frozenset({"organisation", "patient", "platform", "practitioner"}),
    "cancellingEntity": frozenset({"organisation", "patient"}),
    "reasonCode": frozenset(
        {
            "patient_cancelled",
            "patient_not_present",
            "patient_unwell",
            "patient_requested_reschedule",
            "practitioner_late",
            "practitioner_cancelled",
            "incorrect_patient_information",
            "no_longer_required",
            "organisation_cancelled",
            "operator_error",
            "duplicate_appointment",
            "organisation_requested_reschedule",
            "missing_organisation_provided_equipment",
            "organisation_service_issue",
            "platform_service_issue",
        }
    ),
}
_PATHS: tuple[tuple[str, re.Pattern[str], Operation], ...] = (
    ("GET", re.compile(r"/v1/appointments/([^/]+)"), "read"),
    ("GET", re.compile(r"/v1/appointments/([^/]+)/cancellation"), "read"),
    ("POST", re.compile(r"/v1/appointments/([^/]+)/cancel"), "cancel"),
)
_KEY = re.compile(r"(test|live)_\S+")  # the bare API key, no "Bearer"
_REFUSALS = {
    Behaviour.UNAUTHORIZED: (401, "unauthorized", "The API key is missing or not valid."),
    Behaviour.REFUSED: (422, "not_cancellable", "This appointment can no longer be cancelled."),
    Behaviour.THROTTLED: (429, "rate_limited", "Too many requests."),
}


class HeimError(Exception):
    """An error in Heim's own shape."""

    def __init__(self, status: int, code: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"error": {"code": code, "message": message}}


class HeimSimulator(Simulator):
    """Heim's API over the seeded appointments."""

    ended_id = "apt_completed"
    odd_status_id = "apt_unknown-status"

    def operation(self, method: str, path: str) -> tuple[Operation, str] | None:
        """Return the operation and the appointment's id. Reading the cancellation counts as a read."""
        for known_method, pattern, operation in _PATHS:
            found = pattern.fullmatch(path)
            if found and method == known_method:
                return operation, found[1]
        return None

    def refusal(self, behaviour: Behaviour) -> Refusal:
        """Return the refusal in Heim's own shape."""
        status, code, message = _REFUSALS[behaviour]
        return status, HeimError(status, code, message).body

    def seeds(self, now: datetime) -> Mapping[str, Native]:
        """Return the appointments of ``_seeds``."""
        return _seeds(now, list(self.fault_ids()))

    def app(self) -> "WSGIApplication":
        """Serve the three documented requests; everything else gets 404 or 405 in Heim's shape."""
        app = Flask("facade_heim.simulator")
        app.json.sort_keys = False  # type: ignore[attr-defined]  # Flask types the provider by its base class
        app.url_map.merge_slashes = False  # a real API does not redirect a path with // in it
        app.register_error_handler(HeimError, lambda error: (jsonify(error.body), error.status))
        app.register_error_handler(HTTPException, _http_error)

        @app.before_request
        def authenticate() -> None:
            if not _KEY.fullmatch(request.headers.get("Authorization", "")):
                raise HeimError(*_REFUSALS[Behaviour.UNAUTHORIZED])

        @app.get("/v1/appointments/<appointment_id>")
        def get_appointment(appointment_id: str) -> Response:
            return jsonify(self._known(appointment_id))

        @app.get("/v1/appointments/<appointment_id>/cancellation")
        def get_cancellation(appointment_id: str) -> Response:
            cancellation = self._known(appointment_id).get("cancellation")
            if cancellation is None:
                raise HeimError(404, "not_found", "This appointment has no cancellation.")
            return jsonify(cancellation)

        @app.post("/v1/appointments/<appointment_id>/cancel")
        def cancel(appointment_id: str) -> Response:
            native = self._known(appointment_id)
            cancellation = _checked_cancellation()
            if native.get("status") == "cancelled":
                raise HeimError(409, "already_cancelled", "This appointment has been cancelled before.")
            if native.get("status") == "completed":
                raise HeimError(*_REFUSALS[Behaviour.REFUSED])
            self.put(appointment_id, {**native, "status": "cancelled", "cancellation": cancellation})
            return jsonify(self._known(appointment_id))

        return app

    def _known(self, appointment_id: str) -> Native:
        native = self.get(appointment_id)
        if native is None:
            raise HeimError(404, "not_found", "There is no such appointment.")
        return native


def _checked_cancellation() -> dict[str, Any]:
    body = request.get_json(silent=True)
    if not isinstance(body, dict):
        raise HeimError(400, "invalid_request", "The body must be a cancellation as a JSON object.")
    for name in sorted(body.keys() - _CANCELLATION.keys() - {"note"}):
        raise HeimError(400, "invalid_request", f"{name} is not a member of a cancellation.")
    if not isinstance(body.get("note", ""), str):
        raise HeimError(400, "invalid_request", "note must be a string.")
    for name, values in _CANCELLATION.items():
        if not isinstance(body.get(name), str) or body[name] not in values:
            raise HeimError(400, "invalid_request", f"{name} must be one of {', '.join(sorted(values))}.")
    return body


def _http_error(error: HTTPException) -> Response:
    """Return an unknown path or method in Heim's shape, with the ``Allow`` header."""
    response = jsonify(HeimError(0, error.name.lower().replace(" ", "_"), f"{error.name}.").body)
    response.status_code = error.code or 500
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
    return response


def _seeds(now: datetime, fault_ids: list[str]) -> dict[str, Native]:
    """Return every status, with and without an ETA, within and beyond 24 hours, and the faults' appointments."""
    hour = timedelta(hours=1)
    ordinary = ["1839594", *(f"apt_{n}" for n in range(1, 10)), "apt_scheduled", *fault_ids]
    unknown = ("windowId", "windowStart", "windowEnd", "estimatedTimeOfArrival", "practitionerId")
    cancellation = {
        "note": "Patient called in with a fever",
        "causingEntity": "patient",
        "cancellingEntity": "patient",
        "reasonCode": "patient_unwell",
    }
    special: dict[str, Native] = {
        "apt_scheduling": {"status": "scheduling", **dict.fromkeys(unknown)},
        "apt_completed": {"status": "completed", **_times(now - 26 * hour)},
        "apt_cancelled": {"status": "cancelled", "cancellation": cancellation},
        "apt_eta-in-2h": _times(now + 2 * hour),
        "apt_eta-in-25h": _times(now + 25 * hour),
        "apt_eta-passed": _times(now - hour),
        "apt_no-eta": {},
        "apt_unknown-status": {"status": "on_hold"},
        "apt_local-time": {
            "windowStart": f"{now + 72 * hour:%Y-%m-%dT%H:00:00}",
            "windowEnd": f"{now + 74 * hour:%Y-%m-%dT%H:00:00}",
        },
    }
    changes: dict[str, Native] = {**{appointment_id: {} for appointment_id in ordinary}, **special}
    seeds = {
        appointment_id: {**_appointment(appointment_id, number, now + 73 * hour), **changed}
        for number, (appointment_id, changed) in enumerate(changes.items(), start=101)
    }
    # Heim does not state whether an unknown member is null or absent: it is absent here, and null in apt_scheduling.
    del seeds["apt_no-eta"]["estimatedTimeOfArrival"]
    return seeds


def _appointment(appointment_id: str, number: int, eta: datetime) -> Native:
    """Return an ordinary appointment. All its ids contain its number, so that they differ from every other's."""
    return {
        "id": appointment_id,
        "status": "scheduled",
        "patientId": f"p_{number}",
        "practitionerId": f"pr_{number}",
        "taskId": f"tsk_{number}",
        "windowId": f"win_{number}",
        **_times(eta),
        "appointmentType": "standard",
        "externalReference": f"EXT-{number}",
        # Neither may be used, logged or passed on; tests search for the canaries everywhere.
        "metadata": {"floor": "CANARY-metadata"},
        "data": {"bloodPressure": "CANARY-120/80"},
        "cancellation": None,
    }


def _times(eta: datetime) -> Native:
    """Return the ETA, and a window of two hours around it."""
    hour = timedelta(hours=1)
    members = {"windowStart": eta - hour, "windowEnd": eta + hour, "estimatedTimeOfArrival": eta}
    return {name: f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}" for name, instant in members.items()}
