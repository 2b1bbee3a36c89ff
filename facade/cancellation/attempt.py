"""One claimed attempt by its owner: read, take the permit, write once, read after doubt, record, answer."""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace

import structlog

from facade.cancellation import native, results
from facade.cancellation.budget import Budget
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.results import CancelResult
from facade.cancellation.states import State
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
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
from facade.ledger.store import AuditRecord
from facade.ledger.tables import Row
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest, Support

log = structlog.get_logger()

# Causes of the ledger's own: what the requester was told was an error, not an Appointment.
NOT_FOUND, STALE = "not-found", "stale-if-match"
NOT_KNOWN = "The source system does not know this appointment; check the id."
NOT_THIS_VERSION = "If-Match names another version of this appointment; read it again."


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """What every attempt works with."""

    budget: Budget
    timers: Timers
    repository: CancellationRepository
    explain: bool = True

    def crash_point(self, name: str) -> None:
        """Where a test may end the process."""
        self.repository.ledger.crash_point(name)


class Attempt:
    """The owner's way through one attempt_number, from the claimed row on. ``run`` is called once."""

    def __init__(
        self,
        source: ConfiguredSource,
        request: CancelRequest,
        requester: Requester,
        claimed: Row,
        context: "AttemptContext",
        *,
        again: bool = False,
    ) -> None:
        self._again = again  # its first write was refused for a stale version
        self._source = source
        self._request = request
        self._requester = requester
        self._row = claimed
        self._context = context

    def run(self) -> CancelResult:
        """The answer, recorded. Raises NotFound, PreconditionFailed, Unavailable."""
        self._context.crash_point("after-claim")
        current: Appointment | None = None
        if self._source.readable:
            try:
                current = native.read(self._source, self._row.appointment_id, self._context.budget.read)
            except AppointmentNotFound as error:
                return self._not_found(error)
            except SourceError as error:
                # What was not read is not known to be cancellable: nothing is sent.
                return self._not_executed(native.not_sent(error), None)
            if native.is_cancelled(current):
                return self._prove(current, by_us=False)
        if self._request.if_match is not None and not self._request.if_match & {"*", "0"}:
            given = self._not_executed(NotExecuted(Cause.CONFLICT), current, cause=STALE)
            if given.outcome == "cancelled":
                return given
            raise PreconditionFailed(NOT_THIS_VERSION)
        self._context.crash_point("after-read")
        return self._send_once(current)

    def _send_once(self, current: Appointment | None) -> CancelResult:
        guard, clock = self._context.timers.send_guard, self._context.repository.ledger.clock
        permit = LedgerWritePermit(lambda: self._record_sending(current), guard, clock)
        budget = self._context.budget
        try:
            if self._source.mapping is not None and self._request.native_reason is None:
                raise NotExecuted(Cause.NO_REASON, "no reason maps to a native code, and fallback_reason is refuse")
            if remaining() < budget.write + budget.probe:
                raise NotExecuted(Cause.TIMEOUT, "too little time left to send and to read afterwards")
            with deadline(budget.write):
                given = self._source.adapter.cancel(self._request, current, permit)
                evidence = native.checked(given, self._row.appointment_id, self._source.canonical)
            if not native.is_cancelled(evidence):
                raise OutcomeUnknown(Cause.UNPROVEN, "the answer does not say cancelled")
        except Unavailable:
            if permit.granted:  # an adapter's own: of the store's it would be a lie
                return self._in_doubt(OutcomeUnknown(Cause.INTERNAL, "the adapter raised Unavailable"), current)
            raise  # the permit could not be recorded: nothing was sent, and 503 says so
        except VersionConflict as error:
            return self._stale(error, current) if permit.taken else self._not_executed(error, current)
        except NotExecuted as error:
            return self._refused(error, current) if permit.taken else self._not_executed(error, current)
        except (AppointmentNotFound, OutcomeUnknown) as error:
            if not permit.taken:
                return self._not_executed(native.not_sent(error), current)
            if isinstance(error, AppointmentNotFound) and current is None:
                return self._not_found(error)  # a source without a read, and this its own word for it
            # Unknown to the write although a read found it: proves nothing either way.
            doubt = error if isinstance(error, OutcomeUnknown) else OutcomeUnknown(Cause.UNPROVEN, error.detail)
            return self._in_doubt(doubt, current)
        except Exception as error:  # noqa: BLE001 - a plugin may fail in any way, its requester must not
            log.error("adapter-failed", source=self._source.name, error=type(error).__name__, where=where(error))
            if not permit.taken:
                return self._not_executed(NotExecuted(Cause.INTERNAL, type(error).__name__), current)
            return self._in_doubt(OutcomeUnknown(Cause.INTERNAL, type(error).__name__), current)
        return self._prove(native.overlay(current, evidence), by_us=permit.taken)

    def _refused(self, error: NotExecuted, current: Appointment | None) -> CancelResult:
        """The write was surely not executed; another's may have been, which is why it was refused."""
        seen = self._probe(current)
        if seen is not None and native.is_cancelled(seen):
            return self._prove(seen, by_us=False)
        return self._not_executed(error, seen)

    def _stale(self, error: VersionConflict, current: Appointment | None) -> CancelResult:
        """The appointment has changed since it was read: a fresh read, and if it still says so, once more."""
        if self._source.plugin.capabilities.versioned_writes is not Support.FULL:
            return self._in_doubt(
                OutcomeUnknown(error.cause, "a source without versioned writes refused a version"), current
            )
        begun = None
        if not self._again:
            with contextlib.suppress(Unavailable):  # then it is recorded as refused, if that can be
                begun = self._context.repository.again(self._row)
        if begun is None:
            return self._refused(error, current)
        return Attempt(self._source, self._request, self._requester, begun, self._context, again=True).run()

    def _probe(self, current: Appointment | None) -> Appointment | None:
        """What one short read adds to what was known."""
        if not self._source.readable:
            return current
        try:
            found = native.read(self._source, self._row.appointment_id, self._context.budget.probe)
        except SourceError as error:
            log.warning("probe-failed", source=self._source.name, cause=error.cause.word, detail=error.detail)
            return current
        return native.overlay(current, found)

    def _record_sending(self, current: Appointment | None) -> bool:
        self._context.crash_point("before-sending")
        facts = {**native.times(current), "read_before": self._row.read_before or current is not None}
        sending = self._context.repository.sending(self._row, facts)
        if sending is None:
            return False
        self._row = sending
        self._context.crash_point("after-sending")
        return True

    def _in_doubt(self, doubt: OutcomeUnknown, current: Appointment | None) -> CancelResult:
        """After a write that proved nothing: one read, and belief in what it says."""
        native.alarm(self._source, doubt)
        self._context.crash_point("after-send")
        if doubt.retry_after is None:  # else the source is left alone now, and read once the time is over
            current = self._probe(current)
        if current is not None and native.is_cancelled(current):
            return self._prove(current, by_us=True)
        given = self._proposed(doubt, current)
        return self._recorded(
            given,
            lambda: self._context.repository.doubt(
                self._row,
                given.cause,
                given,
                self._audit(given),
                readable=self._source.readable,
                retry_after=doubt.retry_after,
            ),
        )

    def _prove(self, evidence: Appointment, *, by_us: bool) -> CancelResult:
        """Cancelled is said once it is recorded, and not before: said once, it must stay said."""
        self._context.crash_point("before-record")
        given = results.cancelled(self._source, self._request, evidence, by_us=by_us, version=1)
        reported, by = native.reported(evidence), "us" if by_us else "another"
        return self._recorded(
            given,
            lambda: self._context.repository.proof(self._row, given, reported, self._audit(given), by),
            lambda: self._proposed(OutcomeUnknown(Cause.UNPROVEN, "the evidence could not be recorded"), evidence),
        )

    def _not_executed(self, error: NotExecuted, current: Appointment | None, *, cause: str = "") -> CancelResult:
        native.alarm(self._source, error)
        given = self._proposed(error, current)
        given = replace(given, cause=cause) if cause else given
        read_before = self._row.read_before or current is not None
        return self._recorded(
            given,
            lambda: self._context.repository.not_executed(
                self._row, given, self._audit(given), read_before=read_before
            ),
        )

    def _not_found(self, error: AppointmentNotFound) -> CancelResult:
        """404, unless the source has known the appointment before: then its word proves nothing."""
        given = self._not_executed(
            NotExecuted(Cause.CONFLICT, error.detail), None, cause="" if self._row.read_before else NOT_FOUND
        )
        if self._row.read_before or given.outcome == "cancelled":
            return given
        raise NotFound(NOT_KNOWN)

    def _recorded(
        self, given: CancelResult, transition: Callable[[], bool], unrecorded: Callable[[], CancelResult] | None = None
    ) -> CancelResult:
        """``given`` if the transition is made; what is recorded if another was first.

        Where neither can be: ``unrecorded``, or ``given``.
        """
        try:
            if transition():
                self._context.crash_point("after-record")
                return given
            row = self._context.repository.ledger.find(self._row.key)
            if row is not None and row.state == State.CANCELLED:
                given = self._context.repository.recorded(row)
            self._context.repository.ledger.note(self._row.key, done=self._audit(given))
            return given
        except Unavailable:
            # The row stays as it is and is settled by reading, once the ledger is back.
            log.error("outcome-not-recorded", source=self._source.name, outcome=given.outcome)
        return unrecorded() if unrecorded is not None else given

    def _proposed(self, error: SourceError, known: Appointment | None) -> CancelResult:
        return results.proposed(self._source, self._row.appointment_id, error, known, explain=self._context.explain)

    def _audit(self, given: CancelResult) -> AuditRecord:
        return AuditRecord(
            who=self._requester.name,
            action="cancel",
            outcome=given.outcome,
            cause=given.cause,
            request_id=self._requester.request_id,
        )
