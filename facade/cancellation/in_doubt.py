"""Settles doubt by reading, and by nothing else: inline for a requester, in the background for everybody.

"Not cancelled" in one read proves nothing, since the source may apply a late write. A row is judged not
applied after three negative reads, the last begun after the settle window. The window is measured by the
monotonic clock of the process that judges, which must have watched the row for all of it, and so begins no
earlier than the write was recorded. A clock that jumps neither settles anything nor keeps it from settling.
"""

from typing import Any

import structlog

from facade.cancellation import native, results, stored_request
from facade.cancellation.repository import NOT_SCHEDULED, CancellationRepository
from facade.cancellation.results import CancelResult
from facade.cancellation.states import DOUBTFUL, Event, State
from facade.cancellation.timers import Timers
from facade.clock import Clock
from facade.errors import SourceError, Unavailable
from facade.fhir import chargeability
from facade.ledger.store import AuditRecord
from facade.ledger.tables import Row
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment

log = structlog.get_logger()

NEGATIVE_READS_TO_SETTLE = 3


class InDoubtResolver:
    """Looks into rows whose outcome is not known, or about which there is a hint."""

    def __init__(self, repository: CancellationRepository, timers: Timers, clock: Clock) -> None:
        self._repository = repository
        self._timers = timers
        self._clock = clock

    def look(
        self, source: ConfiguredSource, row: Row, seconds: float, who: str, *, scheduled: bool = False
    ) -> CancelResult | None:
        """Read once. The answer if the read proves the cancellation (recorded by now), else None.

        A source that cannot be read is not asked: its row goes to an operator, with nothing scheduled. A read that was
        ``scheduled`` schedules the next one; any other leaves the schedule alone. Raises Unavailable when the ledger
        cannot be used.
        """
        if not source.readable:
            self._repository.never_read(row)
            return None
        watched = self._repository.observed.in_state(row)
        found: Appointment | None = None
        error: SourceError | None = None
        try:
            found = native.read(source, row.appointment_id, seconds)
        except SourceError as failed:
            # Not even "not found" is a negative read: what was known once cannot become unknown.
            error = failed
        self._repository.ledger.crash_point("after-look")
        if found is None or not native.is_cancelled(found):
            self._after_no_proof(source, row, error=error, watched=watched, scheduled=scheduled)
            return None
        if row.state == State.CANCELLED:
            return self._revised(source, row, found)
        return self.prove(source, row, found, who)

    def prove(self, source: ConfiguredSource, row: Row, evidence: Appointment, who: str) -> CancelResult:
        """Record evidence that was read; the recorded answer, which may be somebody's before us."""
        sent = row.sending_at is not None and row.state != State.REFUSED
        request = stored_request.from_json(row.appointment_id, row.cancel_request)
        proven = results.cancelled(source, request, evidence, by_us=sent, version=1)
        audit = AuditRecord(who=who, action="cancel", outcome=proven.outcome, cause=proven.cause)
        # By whom, no one can tell: our write may have been applied, or another's.
        by = "unknown" if sent else "another"
        if self._repository.proof(row, proven, native.reported(evidence), audit, by):
            return proven
        current = self._repository.ledger.find(row.key)
        if current is None or current.state != State.CANCELLED:
            raise Unavailable("The record of this appointment was deleted meanwhile. Try again.")
        return self._repository.recorded(current)

    def _revised(self, source: ConfiguredSource, row: Row, found: Appointment) -> CancelResult:
        """The recorded answer, in a new version if the source tells another story of the cancellation now."""
        now_reported = native.reported(found)
        if now_reported != row.reported:
            before = results.recorded(row).appointment
            kept = {"extension": [e for e in before.get("extension", []) if e["url"] == chargeability.EXTENSION]}
            request = stored_request.from_json(row.appointment_id, row.cancel_request)
            content = native.overlay(kept, found)
            revised = results.cancelled(
                source,
                request,
                content,
                by_us=results.was_ours(row),
                version=row.version + 1,
            )
            if self._repository.revise(row, revised, now_reported):
                return revised
        else:
            self._repository.looked(row, NOT_SCHEDULED, None, {})
        return self._repository.recorded(row)

    def _after_no_proof(
        self, source: ConfiguredSource, row: Row, *, error: SourceError | None, watched: float, scheduled: bool
    ) -> None:
        negative = error is None
        detail: dict[str, Any] = {
            "read": "negative" if negative else "failed",
            "cause": error.cause.word if error is not None else "",
        }
        if row.state not in DOUBTFUL:
            self._repository.looked(row, NOT_SCHEDULED, None, detail)
            return
        negative_reads = row.negative_reads + negative
        settled = negative and negative_reads >= NEGATIVE_READS_TO_SETTLE and watched >= source.settle_window
        event = self._verdict(source, row, settled=settled, watched=watched)
        if event is not None:
            log.info("doubt-settled", source=source.name, verdict=event)
        values: dict[str, Any] = {"negative_reads": negative_reads}
        if event is Event.SETTLE:
            values |= NOT_SCHEDULED
        elif scheduled:
            retry_after = error.retry_after if error is not None else None
            values |= self._repository.scheduled(self._next_read(source, row, watched, retry_after))
        self._repository.looked(row, values, event, detail)

    def _verdict(self, source: ConfiguredSource, row: Row, *, settled: bool, watched: float) -> Event | None:
        if row.state == State.OPERATOR:
            return None  # only evidence or a person moves it
        if settled:
            return Event.ESCALATE if source.plugin.repeat == "harmful" else Event.SETTLE
        if self._repository.observed.steady() < self._timers.steady:
            return None  # a clock that was just set must not send every row to an operator
        now = self._clock.now()
        # Another host may have written since when: nothing is old that this process has only just seen.
        is_old = now - (row.doubt_since or now) >= self._timers.operator_after
        too_old = is_old and watched >= source.settle_window
        near = row.charge_limit is not None and row.charge_limit - now < self._timers.charge_margin
        return Event.ESCALATE if too_old or near or self._has_begun(row) else None

    def _has_begun(self, row: Row) -> bool:
        return row.starts_at is not None and row.starts_at <= self._clock.now()

    def _next_read(self, source: ConfiguredSource, row: Row, watched: float, retry_after: float | None) -> float:
        """In how many seconds."""
        after = self._timers.daily if self._has_begun(row) else self._timers.read_after(row.read_step, retry_after)
        left = source.settle_window - watched
        # One read right after the settle window, not up to an hour later.
        return min(after, left + self._timers.tick) if left > 0 and retry_after is None else after
