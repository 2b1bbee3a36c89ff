"""Talks to one Paper."""

from facade import (
    Appointment,
    CancelRequest,
    Cause,
    HttpClient,
    HttpResponse,
    NotExecuted,
    OutcomeUnknown,
    SourceAdapter,
    SourceConfig,
    SourceError,
    WritePermit,
    classify,
)

from facade_paper import translate

_READ = "/appointments/{id}"
_CANCEL = "/appointments/{id}/cancel"
# Over: there is nothing left to cancel.
_ENDED = {"fulfilled", "noshow"}


class PaperAdapter(SourceAdapter):
    """Reads and cancels by Paper's API: JSON, and a key as bearer token."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        key = config.settings["api_key"].reveal()
        self._http = HttpClient(config.settings["base_url"], headers={"Authorization": f"Bearer {key}"})

    def read(self, appointment_id: str) -> Appointment:
        """GET the appointment."""
        return self._appointment(self._http.get(_READ, id=appointment_id))

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """POST the cancellation once; the appointment in the answer is the evidence."""
        if current is not None and current.get("status") in _ENDED:
            raise NotExecuted(Cause.REFUSED, "the appointment is over")
        body = translate.to_native(request, self._config.settings["note_max_length"])
        answer = self._http.send("POST", _CANCEL, id=request.appointment_id, json=body, permit=permit)
        return self._appointment(answer)

    def _appointment(self, answer: HttpResponse) -> Appointment:
        native = classify(answer, own_error=_own_error).json()
        if not isinstance(native, dict):
            raise OutcomeUnknown(Cause.UNREADABLE, "the answer is no JSON object")
        return translate.to_fhir(native, self._config)


def _own_error(answer: HttpResponse) -> bool:
    """Whether Paper itself says no: ``{"error": {"code": …}}``. A gateway's error page is none of its words."""
    try:
        body = answer.json()
    except SourceError:
        return False
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and isinstance(error.get("code"), str)
