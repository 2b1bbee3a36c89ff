"""One cancel from the first look into the ledger to the answer: at most one native write an attempt."""

import time
from dataclasses import replace

import structlog

from facade.cancellation import native, results, stored_request
from facade.cancellation.attempt import NOT_FOUND, NOT_KNOWN, STALE, Attempt, AttemptContext
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.results import CancelResult
from facade.cancellation.states import CLAIMABLE, DOUBTFUL, IN_FLIGHT, State
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
from facade.ledger.store import AuditRecord, JournalEntry
from facade.ledger.tables import Row
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest

log = structlog.get_logger()

NOT_READABLE = (
    "This source system cannot be read, and no cancellation of this appointment is recorded here. "
    "Ask the source system's operators."
)
NOT_RECORDED = (
    "The record of this appointment was deleted or moved just now, so this request sent nothing to the source system. "
    "Try again."
)


class CancellationService:
    """Cancels and reads appointments of configured sources, inside the budget."""

    def __init__(self, context: AttemptContext, doubt: InDoubtResolver) -> None:
        self._context = context
        self._budget = context.budget
        self._timers = context.timers
        self._repository = context.repository
        self._ledger = context.repository.ledger
        self._doubt = doubt

    def cancel(
        self, source: ConfiguredSource, request: CancelRequest, requester: Requester, *, spent: float = 0.0
    ) -> CancelResult:
        """Cancel, with at most one native write for as many requests as come for this appointment.

        ``spent`` is how many seconds of the budget went by while the request arrived.
        Raises NotFound when the source definitely does not know the appointment, PreconditionFailed for a
        stale ``If-Match``, Unavailable when the ledger cannot be used. Every other failure is a proposed answer.
        """
        request = replace(request, appointment_id=source.canonical(request.appointment_id))
        key = (source.name, request.appointment_id)
        with deadline(max(0.0, self._budget.work - spent)):
            row = self._ledger.find(key)
            if request.unsupported and (row is None or row.state != State.CANCELLED):
                return self._proposed(source, request, NotExecuted(Cause.UNSUPPORTED), text=request.unsupported)
            joined: int | None = None
            while True:
                if self._may_claim(row, joined):
                    attempt = self._claim(source, request, requester, row)
                    if attempt is not None:
                        return attempt.run()
                    row = self._ledger.find(key)
                    if row is None:
                        # Deleted just now, or its source was given another name.
                        raise Unavailable(NOT_RECORDED)
                    continue
                if row is not None and row.state not in IN_FLIGHT:
                    entry = self._repeat(row, request, requester) if joined is None else None
                    return self._settled(source, request, row, requester, entry)
                if row is not None:
                    if joined is None:
                        self._ledger.note(row.key, self._repeat(row, request, requester))
                    joined = row.attempt_number
                    if row.state == State.SENDING and self._repository.silence_is_doubt(row):
                        self._repository.doubt(row, "owner-lost", readable=source.readable)
                    elif remaining() <= self._timers.poll:
                        waited = self._proposed(
                            source, request, OutcomeUnknown(Cause.TIMEOUT, "the first request goes on")
                        )
                        self._ledger.note(row.key, done=_audit(requester, waited.outcome, waited.cause))
                        return waited
                    else:
                        time.sleep(self._timers.poll)
                row = self._ledger.find(key)

    def read(self, source: ConfiguredSource, appointment_id: str) -> CancelResult:
        """The appointment as the source has it now, with the recorded state.

        A source that does not answer: the recorded answer if cancelled. A source that cannot be read: what is recorded.
        Raises NotFound, Unavailable, and NotSupported for a source that cannot be read where nothing is recorded.
        """
        appointment_id = source.canonical(appointment_id)
        row = self._ledger.find((source.name, appointment_id))
        if not source.readable:
            if row is None:
                raise NotSupported(NOT_READABLE)
            if row.state == State.CANCELLED:
                self._repository.recorded(row)  # whoever reads is told, too
            return results.as_recorded(source, row)
        recorded = self._repository.recorded(row) if row is not None and row.state == State.CANCELLED else None
        try:
            with deadline(self._budget.work):
                found = native.read(source, appointment_id, self._budget.write)
                if recorded is None and native.is_cancelled(found):
                    # Said once, it must stay said: also to a request whose own read fails.
                    row = self._record_seen(source, appointment_id, found)
            return results.as_read(source, appointment_id, found, row)
        except AppointmentNotFound:
            if recorded is None:
                raise NotFound(NOT_KNOWN) from None
            return recorded
        except SourceError as error:
            native.alarm(source, error)
            if recorded is None:
                raise Unavailable(error.cause.text, cause=error.cause, retry_after=error.retry_after) from error
            return recorded

    def _record_seen(self, source: ConfiguredSource, appointment_id: str, evidence: Appointment) -> Row | None:
        """Record a cancellation that a reader is about to be told of; its row, whoever has made it."""
        key = (source.name, appointment_id)
        # Whoever reads wishes nothing; should a claim be under way, the evidence goes over it.
        row = self._ledger.find(key) or self._repository.claim(key, None, {}, Requester("reader"), [])
        row = row or self._ledger.find(key)
        if row is not None and row.state != State.CANCELLED:
            self._doubt.prove(source, row, evidence, who="reader")
        row = self._ledger.find(key)
        if row is not None and row.state == State.CANCELLED:
            self._repository.recorded(row)  # a person's verdict that came meanwhile can no longer be undone either
        return row

    def hint(self, source: ConfiguredSource, appointment_id: str) -> None:
        """Something may have happened to this appointment: bring its next read forward. Unknown ones are ignored."""
        row = self._ledger.find((source.name, source.canonical(appointment_id)))
        if row is not None and source.readable:
            self._repository.hint(row)

    def _may_claim(self, row: Row | None, joined: int | None) -> bool:
        if row is None:
            return True
        if row.state not in CLAIMABLE:
            return False
        if row.state == State.CLAIMED:
            return self._repository.lease_is_over(row)
        # A duplicate that waited for this attempt gets its answer, not an attempt of its own: unless the attempt
        # ended over a condition that only its requester made.
        return row.attempt_number != joined or row.cause == STALE

    def _claim(
        self, source: ConfiguredSource, request: CancelRequest, requester: Requester, row: Row | None
    ) -> Attempt | None:
        mapped = source.mapping.choose(request.codings) if source.mapping is not None else None
        request = replace(request, native_reason=mapped)
        key = (source.name, request.appointment_id)
        remembered = stored_request.to_json(request, results.stated(source, request))
        claimed = self._repository.claim(key, row, remembered, requester, stored_request.codes(request))
        return None if claimed is None else Attempt(source, request, requester, claimed, self._context)

    def _settled(
        self,
        source: ConfiguredSource,
        request: CancelRequest,
        row: Row,
        requester: Requester,
        entry: JournalEntry | None,
    ) -> CancelResult:
        """The answer to a repeat, given once its audit is durable, and its journal ``entry`` where there is one."""
        if row.cause == NOT_FOUND and row.state not in DOUBTFUL:
            self._ledger.note(row.key, entry, _audit(requester, NOT_FOUND))
            raise NotFound(NOT_KNOWN)
        given = self._of_settled(source, request, row, requester)
        self._ledger.note(row.key, entry, _audit(requester, given.outcome, given.cause))
        return given

    def _of_settled(
        self, source: ConfiguredSource, request: CancelRequest, row: Row, requester: Requester
    ) -> CancelResult:
        """What is recorded, or what one read says while there is doubt."""
        if row.state in DOUBTFUL:
            found = self._doubt.look(source, row, self._budget.read, who=requester.name)
            return found or self._proposed(source, request, OutcomeUnknown(_cause(row), "still in doubt"))
        if row.response is not None:
            return self._repository.recorded(row, row.cause or "" if row.state != State.CANCELLED else "repeat")
        return self._proposed(source, request, NotExecuted(_cause(row), "as the first request"))

    def _repeat(self, row: Row, request: CancelRequest, requester: Requester) -> JournalEntry:
        detail = {"codes": stored_request.codes(request)}
        return JournalEntry(
            event="repeat",
            state=row.state,
            attempt_number=row.attempt_number,
            request_id=requester.request_id,
            detail=detail,
        )

    def _proposed(
        self, source: ConfiguredSource, request: CancelRequest, error: SourceError, *, text: str = ""
    ) -> CancelResult:
        return results.proposed(source, request.appointment_id, error, None, explain=self._context.explain, text=text)


def _audit(requester: Requester, outcome: str, cause: str = "") -> AuditRecord:
    return AuditRecord(
        who=requester.name, action="cancel", outcome=outcome, cause=cause, request_id=requester.request_id
    )


def _cause(row: Row) -> Cause:
    return next((cause for cause in Cause if cause.word == row.cause), Cause.UNPROVEN)
