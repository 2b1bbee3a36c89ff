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

# Over, or never to take place: Heim has nothing to cancel.
_ENDED = {"fulfilled", "noshow", "entered-in-error"}


class HeimAdapter(SourceAdapter):
    """Reads and cancels by Heim's API: bare key in ``Authorization``, JSON, one object a request."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        self._settings = config.settings
        self._http = HttpClient(
            self._settings["base_url"],
            headers={"Authorization": self._settings["api_key"].reveal()},
            max_concurrent=self._settings["max_concurrent"],
        )

    def read(self, appointment_id: str) -> Appointment:
        """GET the appointment, and its cancellation where the appointment does not hold it."""
        native = self._parse(self._http.get(self._settings["read_path"], id=appointment_id))
        if self._fhir_status(native) != "cancelled":
            return translate.to_fhir(native, self._config, judged_at=self._config.now())
        if native.cancellation_reason is None:
            native = self._with_cancellation(native, appointment_id)
        return translate.to_fhir(native, self._config)

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """POST the cancellation object once; the appointment in the answer is the evidence."""
        if current is not None and current.get("status") in _ENDED:
            raise NotExecuted(Cause.REFUSED, "the appointment has ended")
        body = translate.to_native(request, self._settings)
        CancellationSchema().load(body)
        answer = self._http.send(
            "POST", self._settings["cancel_path"], id=request.appointment_id, json=body, permit=permit
        )
        native = self._parse(answer)
        return translate.to_fhir(native, self._config, judged_at=self._config.now())

    def _parse(self, answer: HttpResponse) -> NativeAppointment:
        classify(
            answer,
            own_error=self._own_error,
            throttles_before_execution=self._settings["throttles_before_execution"],
        )
        return parse(answer.json(), self._settings["places"])

    def _own_error(self, answer: HttpResponse) -> bool:
        try:
            return bool(self._settings["own_error"].search(answer.json()))
        except (SourceError, jmespath.exceptions.JMESPathError):
            return False

    def _fhir_status(self, native: NativeAppointment) -> str | None:
        status: str | None = self._settings["statuses"].get(native.status)
        return status

    def _with_cancellation(self, native: NativeAppointment, appointment_id: str) -> NativeAppointment:
        """Why it was cancelled is worth a second read, and its failure not worth the first one's answer."""
        try:
            answer = self._http.get(self._settings["cancellation_path"], id=appointment_id)
            classify(answer, own_error=self._own_error)
            told = parse(answer.json(), self._settings["cancellation_places"])
        except SourceError:
            return native
        names = ("cancellation_reason", "cancellation_note", "causing_entity", "cancelling_entity")
        return replace(native, **{name: getattr(told, name) for name in names if getattr(told, name) is not None})
