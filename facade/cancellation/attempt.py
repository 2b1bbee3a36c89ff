"""One attempt by its owner: read, take the write permit, write once, probe after doubt, record, return."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace

import structlog

from facade.cancellation import native, results
from facade.cancellation.attempt_context import AttemptContext
from facade.cancellation.results import NOT_FOUND, STALE_IF_MATCH, CancelResult, Outcome
from facade.cancellation.states import State
from facade.cancellation.stored_request import Requester
from facade.cancellation.write_permit import LedgerWritePermit
from facade.deadline import deadline, remaining
from facade.errors import (
    AppointmentNotFound,
    Cause,
    NotExecuted,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    SourceError,
    Unavailable,
    VersionConflict,
)
from facade.ledger.tables import Row
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest, Support

log = structlog.get_logger()

# What If-Match may name for an appointment without a recorded response: any version, or version 0.
_MATCHES_UNRECORDED = frozenset({"*", "0"})
NOT_KNOWN = "The source system does not know this appointment; check the id."
NOT_THIS_VERSION = "If-Match names another version of this appointment; read the appointment again."
RETRY_NOT_RECORDED = (
    "The source system refused the first write because the appointment had changed, and the facade's ledger cannot "
    "record a second one now. Nothing was cancelled. Send the request again."
)


class Attempt:
    """Runs one attempt, from its claimed row to the recorded result. ``run`` is called once."""

    def __init__(
        self,
        source: ConfiguredSource,
        request: CancelRequest,
        requester: Requester,
        claimed: Row,
        context: AttemptContext,
    ) -> None:
        self._source = source
        self._request = request
        self._requester = requester
        self._row = claimed
        self._context = context
        self._repository = context.repository
        self._is_retry = False  # the source refused the first write because of a version conflict

    def run(self) -> CancelResult:
        """Return the recorded result. Raises NotFound, PreconditionFailed, Unavailable."""
        while True:
            result = self._read_and_send()
            if result is not None:
                return result
            self._is_retry = True

    def _read_and_send(self) -> CancelResult | None:
        """Return the result, or None for one retry after a version conflict."""
        self._repository.crash_point("after-claim")
        current: Appointment | None = None
        if self._source.readable:
            try:
                current = native.read(self._source, self._row.appointment_id, self._context.budget.read)
            except AppointmentNotFound as error:
                return self._not_found(error)
            except SourceError as error:
                # An appointment that was not read is not known to be cancellable, so nothing is sent.
                return self._not_executed(native.not_sent(error), None)
            if native.is_cancelled(current):
                return self._cancelled(current, by_us=False)
        if self._request.if_match is not None and not self._request.if_match & _MATCHES_UNRECORDED:
            result = self._not_executed(NotExecuted(Cause.CONFLICT), current, cause=STALE_IF_MATCH)
            if result.outcome == Outcome.CANCELLED:
                return result
            raise PreconditionFailed(NOT_THIS_VERSION)
        self._repository.crash_point("after-read")
        return self._send(current)

    def _send(self, current: Appointment | None) -> CancelResult | None:
        """Make the native write at most once, and classify what it proves."""
        guard = self._context.timers.send_guard
        permit = LedgerWritePermit(lambda: self._record_sending(current), guard, self._repository.clock)
        budget = self._context.budget
        try:
            if self._source.mapping is not None and self._request.native_reason is None:
                raise NotExecuted(Cause.NO_REASON, "no reason maps to a native code, and fallback_reason is refuse")
            if remaining() < budget.write + budget.probe:
                raise NotExecuted(Cause.TIMEOUT, "too little time left to write and to probe afterwards")
            with deadline(budget.write):
                returned = self._source.adapter.cancel(self._request, current, permit)
                evidence = native.checked(returned, self._row.appointment_id, self._source.canonical)
            if not native.is_cancelled(evidence):
                raise OutcomeUnknown(Cause.UNPROVEN, "the response does not say cancelled")
        except Unavailable as error:
            if permit.granted:  # raised by the adapter itself: the ledger had recorded the permit
                return self._in_doubt(OutcomeUnknown(Cause.INTERNAL, "the adapter raised Unavailable"), current)
            if self._is_retry:
                raise Unavailable(RETRY_NOT_RECORDED) from error
            raise  # the permit could not be recorded, so nothing was sent; 503 says so
        except VersionConflict as error:
            return self._after_version_conflict(error, current) if permit.taken else self._not_executed(error, current)
        except NotExecuted as error:
            return self._after_refusal(error, current) if permit.taken else self._not_executed(error, current)
        except (AppointmentNotFound, OutcomeUnknown) as error:
            if not permit.taken:
                return self._not_executed(native.not_sent(error), current)
            if isinstance(error, AppointmentNotFound) and current is None:
                return self._not_found(error)  # for a source that cannot be read, this is final
            # The write found no appointment although a read did: this proves nothing either way.
            doubt = error if isinstance(error, OutcomeUnknown) else OutcomeUnknown(Cause.UNPROVEN, error.detail)
            return self._in_doubt(doubt, current)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way; its client gets a typed outcome
            log.error("adapter-failed", source=self._source.name, error=type(error).__name__, where=where(error))
            if not permit.taken:
                return self._not_executed(NotExecuted(Cause.INTERNAL, type(error).__name__), current)
            return self._in_doubt(OutcomeUnknown(Cause.INTERNAL, type(error).__name__), current)
        return self._cancelled(native.merge(current, evidence), by_us=permit.taken)

    def _record_sending(self, current: Appointment | None) -> bool:
        self._repository.crash_point("before-sending")
        facts = {**native.times(current), "read_before": self._row.read_before or current is not None}
        sending = self._repository.record_sending(self._row, facts)
        if sending is None:
            return False
        self._row = sending
        self._repository.crash_point("after-sending")
        return True

    def _after_refusal(self, error: NotExecuted, current: Appointment | None) -> CancelResult:
        """Probe once: the source may have refused because another client had cancelled."""
        seen = self._probe(current)
        if seen is not None and native.is_cancelled(seen):
            return self._cancelled(seen, by_us=False)
        return self._not_executed(error, seen)

    def _after_version_conflict(self, error: VersionConflict, current: Appointment | None) -> CancelResult | None:
        """Return None for one retry with a fresh read, if the attempt still owns the row."""
        if self._source.plugin.capabilities.versioned_writes is not Support.FULL:
            detail = "a source without versioned writes reported a version conflict"
            return self._in_doubt(OutcomeUnknown(error.cause, detail), current)
        claimed = None
        if not self._is_retry:
            with suppress(Unavailable):  # then the refusal is recorded, if that is possible
                claimed = self._repository.record_version_conflict(self._row)
        if claimed is None:
            return self._after_refusal(error, current)
        self._row = claimed
        return None

    def _probe(self, current: Appointment | None) -> Appointment | None:
        """Read once, within the probe's budget. Return ``current`` merged with what was read."""
        if not self._source.readable:
            return current
        try:
            found = native.read(self._source, self._row.appointment_id, self._context.budget.probe)
        except SourceError as error:
            log.warning("probe-failed", source=self._source.name, cause=error.cause.code, detail=error.detail)
            return current
        return native.merge(current, found)

    # Results, each recorded before it is returned

    def _cancelled(self, evidence: Appointment, *, by_us: bool) -> CancelResult:
        """Record the cancellation before reporting it: once reported, it must stay true."""
        self._repository.crash_point("before-record")
        result = results.cancelled(self._source, self._request, evidence, by_us=by_us, version=results.FIRST_VERSION)
        reported, by = native.reported(evidence), "us" if by_us else "another"
        return self._record(
            result,
            lambda: self._repository.record_evidence(self._row, result, reported, self._requester, by),
            lambda: self._proposed(OutcomeUnknown(Cause.UNPROVEN, "the evidence could not be recorded"), evidence),
        )

    def _in_doubt(self, doubt: OutcomeUnknown, current: Appointment | None) -> CancelResult:
        """Probe once after a write that proved nothing. Without evidence, record the doubt."""
        native.alarm(self._source, doubt)
        self._repository.crash_point("after-send")
        if doubt.retry_after is None:  # otherwise the source is not probed before that time is over
            current = self._probe(current)
        if current is not None and native.is_cancelled(current):
            return self._cancelled(current, by_us=True)
        result = self._proposed(doubt, current)
        return self._record(
            result,
            lambda: self._repository.record_doubt(
                self._row,
                result.cause,
                result,
                self._requester,
                readable=self._source.readable,
                retry_after=doubt.retry_after,
            ),
        )

    def _not_executed(self, error: NotExecuted, current: Appointment | None, *, cause: str = "") -> CancelResult:
        native.alarm(self._source, error)
        result = self._proposed(error, current)
        result = replace(result, cause=cause) if cause else result
        read_before = self._row.read_before or current is not None
        return self._record(
            result,
            lambda: self._repository.record_not_executed(self._row, result, self._requester, read_before=read_before),
        )

    def _not_found(self, error: AppointmentNotFound) -> CancelResult:
        """Raise NotFound, unless the source has known the appointment before: then "not found" proves nothing."""
        result = self._not_executed(
            NotExecuted(Cause.CONFLICT, error.detail), None, cause="" if self._row.read_before else NOT_FOUND
        )
        if self._row.read_before or result.outcome == Outcome.CANCELLED:
            return result
        raise NotFound(NOT_KNOWN)

    def _proposed(self, error: SourceError, known: Appointment | None) -> CancelResult:
        return results.proposed(self._source, self._row.appointment_id, error, known, explain=self._context.explain)

    def _record(
        self,
        result: CancelResult,
        transition: Callable[[], bool],
        unrecorded: Callable[[], CancelResult] | None = None,
    ) -> CancelResult:
        """Return ``result`` if its transition is made, or the recorded result if another process was faster.

        If the ledger cannot be used: what ``unrecorded`` returns, else ``result``.
        """
        try:
            if transition():
                self._repository.crash_point("after-record")
                return result
            row = self._repository.find(self._row.key)
            if row is not None and row.state == State.CANCELLED:
                result = self._repository.recorded_result(row)
            self._repository.record_reply(self._row, self._requester, result.outcome, result.cause)
            return result
        except Unavailable:
            # The row stays as it is. The reconciler resolves it once the ledger can be used.
            log.error("outcome-not-recorded", source=self._source.name, outcome=result.outcome)
        return unrecorded() if unrecorded is not None else result
