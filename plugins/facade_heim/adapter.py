"""Talks to one Heim organisation."""

from dataclasses import replace

import jmespath

from facade import (
    Appointment,
    CancelRequest,
    Cause,
    HttpClient,
    HttpResponse,
    NotExecuted,
    SourceAdapter,
    SourceConfig,
    SourceError,
    WritePermit,
    classify,
)
from facade_heim import translate
from facade_heim.schemas import CancellationSchema, NativeAppointment, parse

# The appointment is over or will never take place, so there is nothing to cancel.
_ENDED = {"fulfilled", "noshow", "entered-in-error"}


class HeimAdapter(SourceAdapter):
    """Reads and cancels with Heim's API: JSON, with the bare key in ``Authorization``."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._settings = config.settings
        self._http = HttpClient(
            self._settings["base_url"],
            headers={"Authorization": self._settings["api_key"].reveal()},
            max_concurrent=self._settings["max_concurrent"],
        )

    def read(self, appointment_id: str) -> Appointment:
        """GET the appointment, and its cancellation where the appointment does not contain it."""
        native = self._parse(self._http.get(self._settings["read_path"], id=appointment_id))
        if self._fhir_status(native) != "cancelled":
            return translate.to_fhir(native, self._config, reference_time=self._config.now())
        if native.cancellation_reason is None:
            native = self._with_cancellation(native, appointment_id)
        return translate.to_fhir(native, self._config)

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """POST the cancellation object once; the appointment in the response is the proof."""
        if current is not None and current.get("status") in _ENDED:
            raise NotExecuted(Cause.REFUSED, "the appointment has ended")
        body = translate.to_native(request, self._settings)
        CancellationSchema().load(body)
        response = self._http.send(
            "POST", self._settings["cancel_path"], id=request.appointment_id, json=body, permit=permit
        )
        native = self._parse(response)
        return translate.to_fhir(native, self._config, reference_time=self._config.now())

    def _parse(self, response: HttpResponse) -> NativeAppointment:
        classify(
            response,
            own_error=self._own_error,
            throttles_before_execution=self._settings["throttles_before_execution"],
        )
        return parse(response.json(), self._settings["places"])

    def _own_error(self, response: HttpResponse) -> bool:
        try:
            return bool(self._settings["own_error"].search(response.json()))
        except (SourceError, jmespath.exceptions.JMESPathError):
            return False

    def _fhir_status(self, native: NativeAppointment) -> str | None:
        status: str | None = self._settings["statuses"].get(native.status)
        return status

    def _with_cancellation(self, native: NativeAppointment, appointment_id: str) -> NativeAppointment:
        """Add the cancellation with a second read. If that fails, the result of the first read stands."""
        try:
            response = self._http.get(self._settings["cancellation_path"], id=appointment_id)
            classify(response, own_error=self._own_error)
            cancellation = parse(response.json(), self._settings["cancellation_places"])
        except SourceError:
            return native
        names = ("cancellation_reason", "cancellation_note", "causing_entity", "cancelling_entity")
        found = {name: value for name in names if (value := getattr(cancellation, name)) is not None}
        return replace(native, **found)
