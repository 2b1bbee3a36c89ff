"""Simulates a FHIR R4 server: versions, conditional writes, tokens, and a seeded appointment for every case."""

import re
import secrets
import time
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from flask import Flask, Response, json, request
from werkzeug.exceptions import HTTPException, MethodNotAllowed

from facade.testing.simulator import Native, Simulator
from facade.testing.simulator.faults import Behaviour, Operation
from facade_fhir_r4.seeds import seeds

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

_PATH = re.compile(r"/Appointment/([^/]+)")
_OPERATIONS: dict[str, Operation] = {"GET": "read", "PATCH": "cancel", "PUT": "cancel"}
_STATIC_TOKEN = re.compile(r"test_[!-~]+")  # the simulator accepts any of these
# Written a second time on purpose: the simulator must not repeat an error of the plugin. Oracle Health, "Appointment
# REST Endpoints": the statuses from which an appointment can be cancelled.
_CANCELLABLE = {"proposed", "booked", "arrived", "checked-in"}
_NOT_CANCELABLE = {"url": "https://fhir-ehr.cerner.com/r4/StructureDefinition/is-cancelable", "valueBoolean": False}
_REFUSALS = {
    Behaviour.UNAUTHORIZED: (401, "login", "The token is missing, unknown or expired."),
    Behaviour.REFUSED: (422, "business-rule", "This appointment cannot be cancelled."),
    Behaviour.THROTTLED: (429, "throttled", "Too many requests."),
}


class FhirError(Exception):
    """An OperationOutcome."""

    def __init__(self, status: int, code: str, text: str) -> None:
        super().__init__(text)
        self.status = status
        issue = {"severity": "error", "code": code, "details": {"text": text}}
        self.body = {"resourceType": "OperationOutcome", "issue": [issue]}


class FhirR4Simulator(Simulator):
    """FHIR's read, patch and update of Appointments, and a token endpoint.

    ``stale_status`` is the status of the response to a stale ``If-Match``. ``empty_responses`` is whether the
    response to a write is an empty 200, as Oracle Health sends it. ``apt-stale-409`` and ``apt-empty-response`` always
    get these responses.
    ``strong_tags`` is whether ETags are strong, and ``If-Match`` is therefore compared strongly.
    ``clients`` has the public keys of SMART clients, as PEM, by client id and key id.
    """

    fault_id = "apt-{}"
    ended_id = "apt-fulfilled"

    def __init__(self) -> None:
        super().__init__()
        self.stale_status = 412
        self.empty_responses = False
        self.strong_tags = False
        self.token_life = 300
        self.clients: dict[tuple[str, str], str] = {}
        self._tokens: dict[str, float] = {}
        self._assertions: set[str] = set()
        self._edited: set[str] = set()

    def operation(self, method: str, path: str) -> tuple[Operation, str] | None:
        """Return the operation and the appointment's id; None for the token endpoint, which is neither."""
        found = _PATH.fullmatch(path)
        return (_OPERATIONS[method], found[1]) if found and method in _OPERATIONS else None

    def refusal(self, behaviour: Behaviour) -> tuple[int, Any]:
        """Return the refusal as an OperationOutcome."""
        error = FhirError(*_REFUSALS[behaviour])
        return error.status, error.body

    def seeds(self, now: datetime) -> Mapping[str, Native]:
        """Return the appointments of ``facade_fhir_r4.seeds``."""
        return seeds(now, list(self.fault_ids()))

    def reset(self) -> None:
        """Restore the seeds, and invalidate every token."""
        with self.lock:
            super().reset()
            self._tokens, self._assertions, self._edited = {}, set(), set()

    def put(self, appointment_id: str, native: Native) -> None:
        """Create or replace the appointment. The server sets its version and the time of the change."""
        with self.lock:
            before = self.get(appointment_id)
            number = int(before["meta"]["versionId"]) + 1 if before else 1
            stamp = {"versionId": str(number), "lastUpdated": self.clock.now().isoformat(timespec="milliseconds")}
            meta = {**(native.get("meta") or {}), **stamp}
            super().put(appointment_id, {"id": appointment_id, **native, "resourceType": "Appointment", "meta": meta})

    def app(self) -> "WSGIApplication":
        """Serve the requests above; everything else gets 404 or 405 with an OperationOutcome."""
        app = Flask("facade_fhir_r4.simulator")
        app.url_map.merge_slashes = False  # a real API does not redirect a path with // in it
        app.register_error_handler(FhirError, lambda error: _json(error.body, error.status))
        app.register_error_handler(HTTPException, _http_error)

        @app.post("/token")
        def token() -> Response:
            return self._new_token()

        @app.get("/Appointment/<appointment_id>")
        def read(appointment_id: str) -> Response:
            self._authenticate()
            response = self._resource(self._known(appointment_id))
            self._edit_meanwhile(appointment_id)
            return response

        @app.patch("/Appointment/<appointment_id>")
        def patch(appointment_id: str) -> Response:
            self._authenticate()
            native = self._writable(appointment_id, "application/json-patch+json")
            return self._written(appointment_id, _patched(native, request.get_json(force=True, silent=True)))

        @app.put("/Appointment/<appointment_id>")
        def update(appointment_id: str) -> Response:
            self._authenticate()
            native = self._writable(appointment_id, "application/fhir+json")
            return self._written(appointment_id, _updated(native, request.get_json(force=True, silent=True)))

        return app

    def _authenticate(self) -> None:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        known = _STATIC_TOKEN.fullmatch(token) or self._tokens.get(token, 0.0) > time.monotonic()
        if scheme != "Bearer" or not known:
            raise FhirError(*_REFUSALS[Behaviour.UNAUTHORIZED])

    def _new_token(self) -> Response:
        """Issue a token as SMART Backend Services does.

        The assertion must be from a known client, for this endpoint, short-lived and new.
        """
        import jwt  # imported here, because only client credentials need it

        assertion = request.form.get("client_assertion", "")
        try:
            header = jwt.get_unverified_header(assertion)
            claimed = jwt.decode(assertion, options={"verify_signature": False})
            key = self.clients[claimed["sub"], header["kid"]]
            claims = jwt.decode(
                assertion,
                key,
                algorithms=["RS384", "ES384"],
                audience=request.base_url,
                issuer=claimed["sub"],
                options={"require": ["exp", "jti", "sub", "aud", "iss"]},
            )
        except (jwt.PyJWTError, KeyError):
            return _json({"error": "invalid_client"}, 401)
        if claims["exp"] > time.time() + 300 or claims["jti"] in self._assertions:
            return _json({"error": "invalid_client"}, 401)
        if request.form.get("grant_type") != "client_credentials" or "system/" not in request.form.get("scope", ""):
            return _json({"error": "invalid_request"}, 400)
        self._assertions.add(claims["jti"])
        token = secrets.token_urlsafe()
        self._tokens[token] = time.monotonic() + self.token_life
        body = {"access_token": token, "token_type": "bearer", "expires_in": self.token_life}
        return _json({**body, "scope": request.form["scope"]})

    def expire_tokens(self) -> None:
        """Expire every issued token before its time."""
        self._tokens = {}

    def _known(self, appointment_id: str) -> Native:
        native = self.get(appointment_id)
        if native is None:
            raise FhirError(404, "not-found", "There is no such appointment.")
        return native

    def _edit_meanwhile(self, appointment_id: str) -> None:
        """Change the appointment between a client's read and its write: the first time, or every time."""
        once = appointment_id in {"apt-stale", "apt-stale-409"} and appointment_id not in self._edited
        if once or appointment_id == "apt-stale-always":
            self._edited.add(appointment_id)
            self.put(appointment_id, self._known(appointment_id))

    def _writable(self, appointment_id: str, content_type: str) -> Native:
        """Return the appointment if its version is in ``If-Match`` and it can be cancelled. Raises FhirError."""
        native = self._known(appointment_id)
        if request.mimetype != content_type:
            raise FhirError(415, "not-supported", f"Send {content_type}.")
        if "If-Match" not in request.headers:
            raise FhirError(412, "required", "If-Match is required.")
        if appointment_id == "apt-locked":
            raise FhirError(423, "lock-error", "This appointment is being modified.")
        if request.headers["If-Match"] != self._entity_tag(native):
            status = 409 if appointment_id == "apt-stale-409" else self.stale_status
            raise FhirError(status, "conflict", "There is another version.")
        if native.get("status") not in _CANCELLABLE or _NOT_CANCELABLE in native.get("extension", []):
            raise FhirError(*_REFUSALS[Behaviour.REFUSED])
        return native

    def _written(self, appointment_id: str, changed: Native) -> Response:
        self.put(appointment_id, changed)
        empty = self.empty_responses or appointment_id == "apt-empty-response"
        return Response(status=200) if empty else self._resource(self._known(appointment_id))

    def _resource(self, native: Native) -> Response:
        response = _json(native)
        response.headers["ETag"] = self._entity_tag(native)
        return response

    def _entity_tag(self, native: Native) -> str:
        tag = f'"{native["meta"]["versionId"]}"'
        return tag if self.strong_tags else f"W/{tag}"


def _patched(native: Native, patch: Any) -> Native:
    """Apply the two operations of a cancel (RFC 6902), as Oracle Health documents them: one coding, no text."""
    match patch:
        case [
            {"op": "replace", "path": "/status", "value": "cancelled", **more},
            {"op": "add", "path": "/cancelationReason", "value": {"coding": [{"code": str()} as coding]}, **most},
        ] if not more and not most:
            return {**native, "status": "cancelled", "cancelationReason": {"coding": [coding]}}
    raise FhirError(422, "business-rule", "Only a cancel is supported: a status and one coding of a reason.")


def _updated(native: Native, resource: Any) -> Native:
    if not isinstance(resource, dict) or (resource.get("resourceType"), resource.get("id")) != (
        "Appointment",
        native["id"],
    ):
        raise FhirError(400, "invalid", "Send this Appointment.")
    if not resource.get("participant") or resource.get("status") != "cancelled":
        raise FhirError(422, "business-rule", "Only a cancel is supported, of a whole Appointment.")
    return resource


def _json(body: Any, status: int = 200) -> Response:
    mimetype = "application/fhir+json" if "resourceType" in body else "application/json"
    return Response(json.dumps(body, sort_keys=False), status, mimetype=mimetype)


def _http_error(error: HTTPException) -> Response:
    """Return an unknown path or method as an OperationOutcome, with the ``Allow`` header."""
    response = _json(FhirError(0, "not-supported", f"{error.name}.").body, error.code or 500)
    if isinstance(error, MethodNotAllowed):
        response.headers["Allow"] = ", ".join(error.valid_methods or ())
    return response
