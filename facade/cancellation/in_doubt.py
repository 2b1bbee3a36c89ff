"""Resolve doubt: by probing, inline for a client or in the background, or by an operator.

One probe that does not show "cancelled" proves nothing, since the source may still apply a late write. A row is
resolved as not applied after three negative probes, of which the last began after the settle window. The resolving
process measures the window with its own monotonic clock while it observes the row, so the window starts no earlier
than the write was recorded. A change of the wall clock does not affect it.
"""

from enum import StrEnum
from typing import Any

import structlog

from facade.cancellation import escalation, native, results, stored_request
from facade.cancellation.repository import NOT_SCHEDULED, CancellationRepository
from facade.cancellation.results import FIRST_VERSION, CancelResult, Outcome
from facade.cancellation.states import UNRESOLVED, Event, State
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.clock import Clock
from facade.errors import Cause, NotExecuted, SourceError, Unavailable
from facade.fhir import chargeability
from facade.fhir.proposed_explanation import why_proposed
from facade.ledger.tables import Row
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment

log = structlog.get_logger()

NEGATIVE_PROBES_TO_SETTLE = 3
DELETED = "The record of this appointment was deleted just now. Send the request again."
_RESOLUTIONS = (Event.RESOLVED_CANCELLED, Event.RESOLVED_NOT_APPLIED)


class Resolution(StrEnum):
    """What an operator found out about a native write in doubt."""

    CANCELLED = "cancelled"
    NOT_APPLIED = "not-applied"


class InDoubtResolver:
    """Probes rows whose outcome is unknown, or for which a hint came."""

    def __init__(self, repository: CancellationRepository, timers: Timers, clock: Clock) -> None:
        self._repository = repository
        self._timers = timers
        self._clock = clock

    def probe(
        self, source: ConfiguredSource, row: Row, seconds: float, requester: Requester, *, scheduled: bool = False
    ) -> CancelResult | None:
        """Read once. Return the recorded result if the read shows the cancellation, else None.

        A source that cannot be read is not probed: its row is escalated. A ``scheduled`` probe schedules the next one;
        any other leaves the schedule as it is. Raises Unavailable if the ledger cannot be used.
        """
        if not source.readable:
            self._repository.escalate_unreadable(row)
            return None
        observed = self._repository.observed.in_state(row)
        found: Appointment | None = None
        error: SourceError | None = None
        try:
            found = native.read(source, row.appointment_id, seconds)
        except SourceError as failed:
            # Not even "not found" is a negative probe: the source has known this appointment before.
            error = failed
        self._repository.crash_point("after-probe")
        if found is None or not native.is_cancelled(found):
            self._record_probe_without_evidence(source, row, error=error, observed=observed, scheduled=scheduled)
            return None
        if row.state == State.CANCELLED:
            return self._revise(source, row, found)
        return self.record_evidence(source, row, found, requester)

    def record_evidence(
        self, source: ConfiguredSource, row: Row, evidence: Appointment, requester: Requester
    ) -> CancelResult:
        """Record evidence that a read showed; return the recorded result, which may be another process's."""
        sent = row.sending_at is not None and row.state != State.REFUSED
        request = stored_request.from_json(row.appointment_id, row.cancel_request)
        result = results.cancelled(source, request, evidence, by_us=sent, version=FIRST_VERSION)
        # Nothing shows who cancelled: our write may have been applied, or another client's.
        by = "unknown" if sent else "another"
        if self._repository.record_evidence(row, result, native.reported(evidence), requester, by):
            return result
        current = self._repository.find(row.key)
        if current is None or current.state != State.CANCELLED:
            raise Unavailable(DELETED)
        return self._repository.recorded_result(current)

    def _revise(self, source: ConfiguredSource, row: Row, found: Appointment) -> CancelResult:
        """Return the recorded result, in a new version if the source reports the cancellation differently now."""
        reported = native.reported(found)
        if reported != row.reported:
            before = results.recorded(row).appointment
            kept = {"extension": [e for e in before.get("extension", []) if e["url"] == chargeability.EXTENSION]}
            request = stored_request.from_json(row.appointment_id, row.cancel_request)
            revised = results.cancelled(
                source,
                request,
                native.merge(kept, found),
                by_us=results.may_be_ours(row),
                version=row.version + 1,
            )
            if self._repository.record_revision(row, revised, reported):
                return revised
        else:
            self._repository.record_probe(row, NOT_SCHEDULED, None, {})
        return self._repository.recorded_result(row)

    def _record_probe_without_evidence(
        self, source: ConfiguredSource, row: Row, *, error: SourceError | None, observed: float, scheduled: bool
    ) -> None:
        """Record a probe without evidence. Only a probe without an ``error`` is negative."""
        negative = error is None
        detail: dict[str, Any] = {
            "read": "negative" if negative else "failed",
            "cause": error.cause.code if error is not None else "",
        }
        if row.state not in UNRESOLVED:
            self._repository.record_probe(row, NOT_SCHEDULED, None, detail)
            return
        negative_reads = row.negative_reads + negative
        settled = negative and negative_reads >= NEGATIVE_PROBES_TO_SETTLE and observed >= source.settle_window
        event = self._next_event(source, row, settled=settled, observed=observed)
        values: dict[str, Any] = {"negative_reads": negative_reads}
        if event is Event.SETTLE:
            values |= NOT_SCHEDULED
        elif scheduled:
            retry_after = error.retry_after if error is not None else None
            values |= self._repository.schedule(self._next_probe(source, row, observed, retry_after))
        if self._repository.record_probe(row, values, event, detail) and event is not None:
            log.info("doubt-escalated" if event is Event.ESCALATE else "doubt-settled", source=source.name)

    def _next_event(self, source: ConfiguredSource, row: Row, *, settled: bool, observed: float) -> Event | None:
        """Return SETTLE, ESCALATE or None: whether doubt ends, or is escalated to an operator."""
        if row.state == State.OPERATOR:
            return None  # only evidence or an operator changes it
        if settled:
            return escalation.settled_event(repeat=source.plugin.repeat)
        if self._repository.observed.steady() < self._timers.steady:
            return None  # a clock that was just set must not escalate every row
        is_due = escalation.is_due(
            row, now=self._clock.now(), observed=observed, settle_window=source.settle_window, timers=self._timers
        )
        return Event.ESCALATE if is_due else None

    def _next_probe(self, source: ConfiguredSource, row: Row, observed: float, retry_after: float | None) -> float:
        """Return in how many seconds the next probe is due."""
        has_begun = escalation.has_begun(row, self._clock.now())
        after = self._timers.daily if has_begun else self._timers.read_after(row.read_step, retry_after)
        left = source.settle_window - observed
        # One probe right after the settle window, not up to an hour later.
        return min(after, left + self._timers.tick) if left > 0 and retry_after is None else after


def resolve_by_operator(
    repository: CancellationRepository,
    row: Row,
    resolution: Resolution,
    because: str,
    operator: str,
) -> bool:
    """Record an operator's resolution, with its reason in the journal. Return False if the row is not in doubt.

    It needs the ledger only, neither the source nor its plugin. ``cancelled`` records a result as evidence would;
    ``not-applied`` lets the next request retry.
    """
    if row.state not in UNRESOLVED:
        return False
    requester = Requester(f"operator {operator}")
    if resolution is Resolution.CANCELLED:
        appointment = results.resolved(row, "cancelled")
        result = CancelResult(appointment, Outcome.CANCELLED, "", FIRST_VERSION)
        event = Event.RESOLVED_CANCELLED
    else:
        error = NotExecuted(Cause.UNPROVEN)
        appointment = results.resolved(row, "proposed", why_proposed(error, known=False))
        result = CancelResult(appointment, Outcome.NOT_EXECUTED, error.cause.code)
        event = Event.RESOLVED_NOT_APPLIED
    return repository.record_resolution(row, event, result, requester, resolution, because)


def undo_resolution(
    repository: CancellationRepository, row: Row, because: str, operator: str, *, readable: bool
) -> bool:
    """Take an operator's resolution back; the row is escalated again. ``readable``: whether the source can be read.

    Return False once the resolution had consequences: a client received "cancelled", or a new request has claimed.
    """
    return repository.undo_resolution(row, Requester(f"operator {operator}"), because, readable=readable)


def why_not_undone(repository: CancellationRepository, row: Row) -> str:
    """Return why ``undo_resolution`` refuses this row, as a clause for the operator who asked."""
    events = repository.events(row.key)
    last = max((place for place, event in enumerate(events) if event in _RESOLUTIONS), default=None)
    since = events[last + 1 :] if last is not None else []
    if last is None or Event.UNDO in since:
        return f"it is {row.state}, and there is no operator's resolution to undo"
    if Event.CLAIM in since:
        return f"a new request has started since the resolution; it is {row.state}"
    if Event.PROOF in since:
        return "the source system itself has shown since the resolution that it is cancelled"
    if row.state == State.CANCELLED:
        return 'a client has received "cancelled" since the resolution, and cancelled is final'
    return f"it is {row.state} now"
