"""The adapter: sends reads and cancels to one Paper."""

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
# An appointment with one of these statuses is over, so it cannot be cancelled.
_ENDED = {"fulfilled", "noshow"}


class PaperAdapter(SourceAdapter):
    """Reads and cancels through Paper's API: JSON, with a key as bearer token."""

    def __init__(self, config: SourceConfig) -> None:
        self._config = config
        key = config.settings["api_key"].reveal()
        self._http = HttpClient(
            config.settings["base_url"],
            headers={"Authorization": f"Bearer {key}"},
            max_concurrent=config.settings["max_concurrent"],
        )

    def read(self, appointment_id: str) -> Appointment:
        """GET the appointment."""
        return self._appointment(self._http.get(_READ, id=appointment_id))

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """POST the cancellation once; the appointment in the response is the evidence."""
        if current is not None and current.get("status") in _ENDED:
            raise NotExecuted(Cause.REFUSED, "the appointment is over")
        body = translate.to_native(request, self._config.settings["note_max_length"])
        response = self._http.send("POST", _CANCEL, id=request.appointment_id, json=body, permit=permit)
        return self._appointment(response)

    def _appointment(self, response: HttpResponse) -> Appointment:
        native = classify(response, own_error=_own_error).json()
        if not isinstance(native, dict):
            raise OutcomeUnknown(Cause.UNREADABLE, "the response is not a JSON object")
        return translate.to_fhir(native, self._config)


def _own_error(response: HttpResponse) -> bool:
    """Return whether an error is Paper's own, ``{"error": {"code": …}}``, and not a gateway's error page."""
    try:
        body = response.json()
    except SourceError:
        return False
    error = body.get("error") if isinstance(body, dict) else None
    return isinstance(error, dict) and isinstance(error.get("code"), str)
