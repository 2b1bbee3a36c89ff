"""Cancel and read appointments: the use case, from the first lookup in the ledger to the result."""

import time
from dataclasses import replace

import structlog

from facade.cancellation import native, results, stored_request
from facade.cancellation.attempt import NOT_KNOWN, Attempt
from facade.cancellation.attempt_context import AttemptContext
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.results import NOT_FOUND, OWNER_LOST, REPEAT, STALE_IF_MATCH, CancelResult, Outcome
from facade.cancellation.states import CLAIMABLE, IN_FLIGHT, UNRESOLVED, State
from facade.cancellation.stored_request import Requester
from facade.deadline import deadline, remaining
from facade.errors import (
    AppointmentNotFound,
    Cause,
    NotExecuted,
    NotFound,
    NotSupported,
    OutcomeUnknown,
    SourceError,
    Unavailable,
)
from facade.ledger.tables import Row
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest

log = structlog.get_logger()

NOT_READABLE = (
    "The facade cannot read appointments of this source system, and it has no record of a cancellation of this one. "
    "Ask the source system's operators."
)
READ_LATER = "Read the appointment again later."
NOT_RECORDED = (
    "The record of this appointment was deleted or moved just now, so this request sent nothing to the source system. "
    "Send the request again."
)
_READER = Requester("reader")


class CancellationService:
    """Cancels and reads appointments of configured sources, within the time budget."""

    def __init__(self, context: AttemptContext, resolver: InDoubtResolver) -> None:
        self._context = context
        self._budget = context.budget
        self._timers = context.timers
        self._repository = context.repository
        self._resolver = resolver

    def cancel(
        self, source: ConfiguredSource, request: CancelRequest, requester: Requester, *, spent: float = 0.0
    ) -> CancelResult:
        """Cancel, with at most one native write however many requests come for this appointment.

        ``spent`` is how many seconds of the budget passed while the request arrived. Raises NotFound if the source
        definitely does not know the appointment, PreconditionFailed for a stale ``If-Match``, Unavailable if the
        ledger cannot be used. Every other failure is a proposed result.
        """
        request = replace(request, appointment_id=source.canonical(request.appointment_id))
        key = (source.name, request.appointment_id)
        codes = stored_request.codes(request)
        with deadline(max(0.0, self._budget.work - spent)):
            row = self._repository.find(key)
            if request.unsupported and (row is None or row.state != State.CANCELLED):
                return self._proposed(source, request, NotExecuted(Cause.UNSUPPORTED), text=request.unsupported)
            awaited: int | None = None  # the number of the attempt that this request waits for
            while True:
                if self._may_claim(row, awaited):
                    attempt = self._claim(source, request, requester, row)
                    if attempt is not None:
                        return attempt.run()
                    row = self._repository.find(key)
                    if row is None:  # deleted just now, or its source was renamed
                        raise Unavailable(NOT_RECORDED)
                    continue
                if row is not None and row.state not in IN_FLIGHT:
                    return self._repeat(source, request, row, requester, codes if awaited is None else None)
                if row is not None:
                    if awaited is None:
                        self._repository.record_repeat(row, codes, requester)
                    awaited = row.attempt_number
                    if row.state == State.SENDING and self._repository.owner_is_silent(row):
                        self._repository.record_doubt(row, OWNER_LOST, readable=source.readable)
                    elif remaining() <= self._timers.poll:
                        error = OutcomeUnknown(Cause.TIMEOUT, "the first request is still under way")
                        result = self._proposed(source, request, error)
                        self._repository.record_reply(row, requester, result.outcome, result.cause)
                        return result
                    else:
                        time.sleep(self._timers.poll)
                row = self._repository.find(key)

    def read(self, source: ConfiguredSource, appointment_id: str) -> CancelResult:
        """Return the appointment as the source has it now, with the recorded cancellation state.

        If the source does not respond and the appointment is cancelled: the recorded result. For a source that cannot
        be read: what is recorded. Raises NotFound, Unavailable, and NotSupported for a source that cannot be read if
        nothing is recorded.
        """
        appointment_id = source.canonical(appointment_id)
        row = self._repository.find((source.name, appointment_id))
        if not source.readable:
            if row is None:
                raise NotSupported(NOT_READABLE)
            if row.state == State.CANCELLED:
                self._repository.recorded_result(row)  # a reader is a client too: the resolution is final now
            return results.as_recorded(source, row)
        recorded = None
        if row is not None and row.state == State.CANCELLED:
            recorded = self._repository.recorded_result(row)
        try:
            with deadline(self._budget.work):
                found = native.read(source, appointment_id, self._budget.write)
                if recorded is None and native.is_cancelled(found):
                    # Once reported it must stay true, also for a request whose own read fails.
                    row = self._record_seen(source, appointment_id, found)
            return results.as_read(source, appointment_id, found, row)
        except AppointmentNotFound:
            if recorded is None:
                raise NotFound(NOT_KNOWN) from None
            return recorded
        except SourceError as error:
            native.alarm(source, error)
            if recorded is None:
                text = f"{error.cause.text} {READ_LATER}"
                raise Unavailable(text, cause=error.cause, retry_after=error.retry_after) from error
            return recorded

    def hint(self, source: ConfiguredSource, appointment_id: str) -> None:
        """Move the next probe of this appointment forward. An appointment without a record is ignored."""
        row = self._repository.find((source.name, source.canonical(appointment_id)))
        if row is not None and source.readable:
            self._repository.record_hint(row)

    def _record_seen(self, source: ConfiguredSource, appointment_id: str, evidence: Appointment) -> Row | None:
        """Record a cancellation that a reader is about to receive; return its row."""
        key = (source.name, appointment_id)
        # A reader requests nothing. If an attempt has the row, the evidence is recorded over its claim.
        row = self._repository.find(key) or self._repository.claim(key, None, {}, _READER, [])
        row = row or self._repository.find(key)
        if row is not None and row.state != State.CANCELLED:
            self._resolver.record_evidence(source, row, evidence, _READER)
        row = self._repository.find(key)
        if row is not None and row.state == State.CANCELLED:
            self._repository.recorded_result(row)  # an operator's resolution that came meanwhile is final now
        return row

    def _may_claim(self, row: Row | None, awaited: int | None) -> bool:
        if row is None:
            return True
        if row.state not in CLAIMABLE:
            return False
        if row.state == State.CLAIMED:
            return self._repository.lease_expired(row)
        # A repeated request that waited for this attempt receives its result and starts no attempt of its own, unless
        # the attempt ended because of a condition that only its own client had set.
        return row.attempt_number != awaited or row.cause == STALE_IF_MATCH

    def _claim(
        self, source: ConfiguredSource, request: CancelRequest, requester: Requester, row: Row | None
    ) -> Attempt | None:
        mapped = source.mapping.choose(request.codings) if source.mapping is not None else None
        request = replace(request, native_reason=mapped)
        key = (source.name, request.appointment_id)
        stored = stored_request.to_json(request, results.expected_elements(source, request))
        claimed = self._repository.claim(key, row, stored, requester, stored_request.codes(request))
        return None if claimed is None else Attempt(source, request, requester, claimed, self._context)

    def _repeat(
        self,
        source: ConfiguredSource,
        request: CancelRequest,
        row: Row,
        requester: Requester,
        codes: list[list[str]] | None,
    ) -> CancelResult:
        """Return the result of a repeated request once its audit record is durable.

        ``codes`` are for the journal; None if the journal has this request already.
        """
        if row.cause == NOT_FOUND and row.state not in UNRESOLVED:
            self._repository.record_reply(row, requester, Outcome.NOT_EXECUTED, NOT_FOUND, repeat=codes)
            raise NotFound(NOT_KNOWN)
        result = self._repeated_result(source, request, row, requester)
        self._repository.record_reply(row, requester, result.outcome, result.cause, repeat=codes)
        return result

    def _repeated_result(
        self, source: ConfiguredSource, request: CancelRequest, row: Row, requester: Requester
    ) -> CancelResult:
        """Return what is recorded or, for a row in doubt, what one probe shows."""
        if row.state in UNRESOLVED:
            found = self._resolver.probe(source, row, self._budget.read, Requester(requester.name))
            return found or self._proposed(source, request, OutcomeUnknown(_cause(row), "still in doubt"))
        if row.response is not None:
            cause = row.cause or "" if row.state != State.CANCELLED else REPEAT
            return self._repository.recorded_result(row, cause)
        return self._proposed(source, request, NotExecuted(_cause(row), "as for the first request"))

    def _proposed(
        self, source: ConfiguredSource, request: CancelRequest, error: SourceError, *, text: str = ""
    ) -> CancelResult:
        return results.proposed(source, request.appointment_id, error, None, explain=self._context.explain, text=text)


def _cause(row: Row) -> Cause:
    return next((cause for cause in Cause if cause.code == row.cause), Cause.UNPROVEN)
