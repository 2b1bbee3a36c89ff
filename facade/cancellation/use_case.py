"""One cancel from the first read to the answer: read, send once, and after anything unclear read again."""

import threading
from dataclasses import replace
from typing import Any

import structlog

from facade.cancellation import answer
from facade.cancellation.answer import Answer
from facade.cancellation.budget import Budget
from facade.contract import Appointment, Can, CancelRequest
from facade.deadline import deadline, remaining
from facade.errors import (
    AppointmentNotFound,
    Cause,
    NotDone,
    NotFound,
    PreconditionFailed,
    SourceError,
    Unavailable,
    Unknown,
)
from facade.log import where
from facade.registry import Source

log = structlog.get_logger()

_NOT_KNOWN = "The source system does not know this appointment; check the id."


class OncePermit:
    """The right to one native write; a second taking is refused whatever the adapter does."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = False

    def __call__(self) -> None:
        """Take it. Raises NotDone when it was taken before."""
        with self._lock:
            if self.taken:
                raise NotDone(Cause.INTERNAL, "the adapter asked to write a second time")
            self.taken = True


class Cancellations:
    """Cancels and reads appointments of configured sources, inside the budget."""

    def __init__(self, budget: Budget, *, explain: bool = True) -> None:
        self._budget = budget
        self._explain = explain

    def cancel(self, source: Source, request: CancelRequest) -> Answer:
        """Cancel, with at most one native write.

        Raises NotFound when the source definitely does not know the appointment, PreconditionFailed
        for a stale ``If-Match``. Every other failure is a proposed answer.
        """
        if request.unsupported:
            error = NotDone(Cause.UNSUPPORTED)
            return self._proposed(source, request, error, None, text=request.unsupported)
        with deadline(self._budget.work):
            current: Appointment | None = None
            if source.system.capabilities.read is Can.YES:
                try:
                    current = _read(source, request.appointment_id, self._budget.read)
                except AppointmentNotFound:
                    raise NotFound(_NOT_KNOWN) from None
                except SourceError as error:
                    # What was not read is not known to be cancellable: nothing is sent.
                    return self._proposed(source, request, NotDone(error.cause, error.detail), None)
                if _is_cancelled(current):
                    return answer.cancelled(source, request, current, by_us=False)
            if request.if_match is not None and not request.if_match & {"*", "0"}:
                raise PreconditionFailed("If-Match names another version of this appointment; read it again.")
            return self._send_once(source, request, current)

    def read(self, source: Source, appointment_id: str) -> Answer:
        """The appointment as the source has it now. Raises NotFound, Unavailable."""
        if source.system.capabilities.read is not Can.YES:
            raise Unavailable("This source system cannot be read.", retry_after=3600)
        try:
            with deadline(self._budget.work):
                native = _read(source, appointment_id, self._budget.write)
            return answer.as_read(source, appointment_id, native)
        except AppointmentNotFound:
            raise NotFound(_NOT_KNOWN) from None
        except SourceError as error:
            _alarm(source, error)
            raise Unavailable(error.cause.text) from error

    def _send_once(self, source: Source, request: CancelRequest, current: Appointment | None) -> Answer:
        permit = OncePermit()
        try:
            request = _with_native_reason(source, request)
            if remaining() < self._budget.write + self._budget.probe:
                raise NotDone(Cause.TIMEOUT, "too little time left to send and to read afterwards")
            with deadline(self._budget.write):
                evidence = _checked(source.adapter.cancel(request, current, permit), request.appointment_id)
            if not _is_cancelled(evidence):
                raise Unknown(Cause.UNPROVEN, "the answer does not say cancelled")
        except NotDone as error:
            return self._proposed(source, request, error, current)
        except AppointmentNotFound as error:
            # Unknown to the write although a read found it: proves nothing either way.
            doubt = Unknown(Cause.UNPROVEN, error.detail)
        except Unknown as error:
            doubt = error
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, its caller must not
            log.error("adapter-failed", source=source.name, error=type(error).__name__, where=where(error))
            if not permit.taken:
                return self._proposed(source, request, NotDone(Cause.INTERNAL), current)
            doubt = Unknown(Cause.INTERNAL, type(error).__name__)
        else:
            return answer.cancelled(source, request, _overlay(current, evidence), by_us=True)
        return self._settle(source, request, current, doubt)

    def _settle(self, source: Source, request: CancelRequest, current: Appointment | None, doubt: Unknown) -> Answer:
        """After a write that proved nothing: one read, and belief in what it says."""
        _alarm(source, doubt)
        if source.system.capabilities.read is Can.YES:
            try:
                current = _overlay(current, _read(source, request.appointment_id, self._budget.probe))
            except SourceError as error:
                log.warning("probe-failed", source=source.name, cause=error.cause.name, detail=error.detail)
            if current is not None and _is_cancelled(current):
                return answer.cancelled(source, request, current, by_us=True)
        return self._proposed(source, request, doubt, current)

    def _proposed(
        self,
        source: Source,
        request: CancelRequest,
        error: SourceError,
        known: Appointment | None,
        *,
        text: str = "",
    ) -> Answer:
        _alarm(source, error)
        return answer.proposed(source, request.appointment_id, error, known, explain=self._explain, text=text)


def _with_native_reason(source: Source, request: CancelRequest) -> CancelRequest:
    if source.mapping is None:
        return request
    native = source.mapping.choose(request.codings)
    if native is None:
        raise NotDone(Cause.NO_REASON, "no reason maps to a native code, and fallback_reason is refuse")
    return replace(request, native_reason=native)


def _read(source: Source, appointment_id: str, seconds: float) -> Appointment:
    try:
        with deadline(seconds):
            return _checked(source.adapter.read(appointment_id), appointment_id)
    except SourceError:
        raise
    except Exception as error:
        log.error("adapter-failed", source=source.name, error=type(error).__name__, where=where(error))
        raise Unknown(Cause.INTERNAL, type(error).__name__) from error


def _checked(native: Any, appointment_id: str) -> Appointment:
    if not isinstance(native, dict):
        raise Unknown(Cause.INTERNAL, "the adapter returned no Appointment; mend its return statement")
    if native.get("id") != appointment_id:
        raise Unknown(Cause.UNREADABLE, "the source answered with another appointment's id")
    return native


def _is_cancelled(native: Appointment) -> bool:
    return native.get("status") == "cancelled"


def _overlay(before: Appointment | None, after: Appointment) -> Appointment:
    """What the source says now over what it said before: a sparse answer loses nothing that was read."""
    return {**(before or {}), **after}


def _alarm(source: Source, error: SourceError) -> None:
    if error.cause is Cause.CREDENTIALS:
        log.error("source-refuses-credentials", source=source.name, detail=error.detail)
