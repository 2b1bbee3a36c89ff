"""Talks to one FHIR R4 server."""

from typing import Any

from facade import (
    Appointment,
    AppointmentNotFound,
    CancelRequest,
    Cause,
    HttpClient,
    HttpResponse,
    NotExecuted,
    OutcomeUnknown,
    SourceAdapter,
    SourceConfig,
    SourceError,
    VersionConflict,
    WritePermit,
    classify,
)
from facade_fhir_r4 import translate
from facade_fhir_r4.credentials import credentials

_PATH = "/Appointment/{id}"
_CONTENT_TYPES = {"PATCH": "application/json-patch+json", "PUT": "application/fhir+json"}


class FhirR4Adapter(SourceAdapter):
    """Reads and cancels with FHIR's RESTful API. Every write has an ``If-Match``."""

    def __init__(self, config: SourceConfig) -> None:
        self._settings = config.settings
        self._credentials = credentials(config)
        self._http = HttpClient(
            self._settings["base_url"],
            headers={"Accept": "application/fhir+json"},
            max_concurrent=self._settings["max_concurrent"],
        )

    def read(self, appointment_id: str) -> Appointment:
        """GET the appointment; its entity tag is in ``meta.versionId``."""
        return _appointment(self._get(appointment_id), appointment_id)

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """PATCH or PUT once, on the version that was read; the appointment in the response is the proof."""
        if self._settings["mode"] == "patch":
            current = current or self.read(request.appointment_id)
            return self._write("PATCH", current, translate.to_patch(request), permit)
        # The PUT must return exactly what the server has, to the last digit. ``current`` went through the facade.
        response = self._get(request.appointment_id)
        current = _appointment(response, request.appointment_id)
        return self._write("PUT", current, translate.to_update(response.json(exact=True), request), permit)

    def _get(self, appointment_id: str) -> HttpResponse:
        token = self._credentials.token()
        response = self._http.get(_PATH, headers=_bearer(token), id=appointment_id)
        if response.status == 401 and self._credentials.drop(token):
            response = self._http.get(_PATH, headers=_bearer(self._credentials.token()), id=appointment_id)
        # Deleted: http://hl7.org/fhir/R4/http.html#delete
        if response.status == 410 and _own_error(response):
            raise AppointmentNotFound("HTTP 410")
        return classify(response, own_error=_own_error)

    def _write(self, method: str, current: Appointment, body: Any, permit: WritePermit) -> Appointment:
        if current.get("status") == "cancelled":
            return current
        if reason := translate.obstacle(current, self._settings):
            raise NotExecuted(Cause.REFUSED, reason)
        tag = translate.entity_tag(current)
        if tag is None:
            raise NotExecuted(
                Cause.UNREADABLE, "the server reports no version, and a write without one could undo another's"
            )
        token = self._credentials.token()
        headers = {
            **_bearer(token),
            "Content-Type": _CONTENT_TYPES[method],
            "If-Match": tag,
            "Prefer": "return=representation",
        }
        response = self._http.send(method, _PATH, id=current["id"], json=body, headers=headers, permit=permit)
        if response.status == 401:
            self._credentials.drop(token)  # for the next request; this write is never sent again
        # After a failed precondition nothing was executed (RFC 9110, section 15.5.13). Oracle Health sends 409.
        if response.status == 412 or (response.status == 409 and _own_error(response)):
            raise VersionConflict(f"HTTP {response.status}")
        classify(response, own_error=_own_error)
        if not response.body.strip():
            raise OutcomeUnknown(Cause.UNPROVEN, f"HTTP {response.status} with an empty body")
        return _appointment(response, current["id"])


def _appointment(response: HttpResponse, appointment_id: str) -> Appointment:
    return translate.to_fhir(response.json(), response.headers.get("ETag", ""), appointment_id)


def _bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def _own_error(response: HttpResponse) -> bool:
    try:
        body = response.json()
    except SourceError:
        return False
    return isinstance(body, dict) and body.get("resourceType") == "OperationOutcome"
