"""Make every transition of a cancellation: the only module that writes states and that attempts reach the ledger by.

Each transition is a compare-and-set on the row, with its journal line and its audit record in one transaction.
"""
# Why this long: a reader who checks that no transition misses its condition needs all of them side by side.

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from facade.cancellation import escalation, results
from facade.cancellation.observed_times import ObservedTimes
from facade.cancellation.results import CancelResult, Outcome
from facade.cancellation.states import IN_FLIGHT, Event, State, next_state
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.clock import Clock
from facade.errors import Cause, Unavailable
from facade.ledger.store import AuditRecord, JournalEntry, Key, Ledger
from facade.ledger.tables import Row

NOT_SCHEDULED: dict[str, Any] = {"read_due": None, "read_in": None}
CHANGED_BY_OPERATOR = "An operator has just changed the record of this appointment. Send the request again."


class CancellationRepository:
    """Reads rows and moves them from state to state. Every method raises Unavailable if the ledger cannot be used."""

    def __init__(self, ledger: Ledger, timers: Timers, clock: Clock) -> None:
        self._ledger = ledger
        self.observed = ObservedTimes(clock)
        self._timers = timers
        self.clock = clock

    # Reading

    def find(self, key: Key) -> Row | None:
        """Return the row of this key, None if there is none."""
        return self._ledger.find(key)

    def in_flight(self) -> list[Row]:
        """Return the rows that an attempt owns now, of all sources, longest unchanged first."""
        return self._ledger.in_flight(IN_FLIGHT)

    def due(self) -> list[Row]:
        """Return the rows whose next probe is due by this process's clock, some of each source."""
        return self._ledger.due()

    def scheduled(self, after: Key) -> list[Row]:
        """Return rows that have a next probe, due or not: those after this key, without their recorded responses."""
        return self._ledger.scheduled(after)

    def events(self, key: Key) -> list[str]:
        """Return the events in the journal of one key, oldest first."""
        return [line["event"] for line in self._ledger.timeline(key)]

    def crash_point(self, name: str) -> None:
        """Mark a place between two steps; a test may end the process here."""
        self._ledger.crash_point(name)

    def lease_expired(self, row: Row) -> bool:
        """Return whether a claim may be taken over: this process has seen its owner silent for a whole lease."""
        return self.observed.in_state(row) >= self._timers.lease

    def owner_is_silent(self, row: Row) -> bool:
        """Return whether a write is in doubt: its owner was observed silent for as long as a write may take."""
        return self.observed.in_state(row) >= self._timers.sending

    # One attempt

    def claim(
        self, key: Key, seen: Row | None, cancel_request: Mapping[str, Any], requester: Requester, codes: Any
    ) -> Row | None:
        """Start an attempt: return the claimed row, None if another request was faster.

        ``seen`` is the row that made the appointment claimable, None where there was none.
        """
        state = next_state(seen.state if seen is not None else None, Event.CLAIM)
        values: dict[str, Any] = {
            "state": state,
            "cancel_request": dict(cancel_request),
            "sending_at": None,
            "doubt_since": None,
            "negative_reads": 0,
            **NOT_SCHEDULED,
            "read_step": 0,
            "by_operator": False,
        }
        if seen is None:
            values |= {"read_before": False}
        entry = JournalEntry(event=Event.CLAIM, state=state, request_id=requester.request_id, detail={"codes": codes})
        return self._ledger.claim(key, seen, values, entry)

    def record_sending(self, claimed: Row, facts: Mapping[str, Any]) -> Row | None:
        """Record, durably, that the native write may leave from now on. None: the claim was lost, so do not write."""
        values = {"sending_at": self.clock.now(), **facts}
        return self._transition_owned(claimed, Event.SEND, values)

    def record_version_conflict(self, sending: Row) -> Row | None:
        """Let the same attempt retry after a version conflict; None if others recorded its silence as doubt.

        The attempt number stays, so requests that wait for this attempt continue to wait.
        """
        return self._transition_owned(sending, Event.VERSION_CONFLICT, {"sending_at": None})

    def record_evidence(
        self, seen: Row, result: CancelResult, reported: Mapping[str, Any], requester: Requester, by: str
    ) -> bool:
        """Record native evidence and the response that states it, whatever the state and whoever owns the row now.

        ``by`` is who cancelled, as far as it is known: ``us``, ``another`` or ``unknown``. Returns False if the row is
        cancelled already.
        """
        values = {
            "response": _as_text(result),
            "version": result.version,
            "outcome": result.outcome,
            "cause": result.cause,
            "reported": dict(reported),
            "read_before": True,
            "by_operator": False,  # evidence, which no operator takes back
        }
        audit = _audit(requester, result.outcome, result.cause)
        return self._transition(seen, Event.PROOF, values, audit=audit, detail={"by": by}, fenced=False)

    def record_not_executed(self, seen: Row, result: CancelResult, requester: Requester, *, read_before: bool) -> bool:
        """Record that the native write of this attempt was certainly not executed."""
        values = {
            "response": _as_text(result),
            "outcome": result.outcome,
            "cause": result.cause,
            "read_before": read_before,
            **NOT_SCHEDULED,
        }
        audit = _audit(requester, result.outcome, result.cause)
        return self._transition(seen, Event.NOT_EXECUTED, values, audit=audit, detail={"cause": result.cause})

    def record_doubt(
        self,
        seen: Row,
        cause: str,
        result: CancelResult | None = None,
        requester: Requester | None = None,
        *,
        readable: bool,
        retry_after: float | None = None,
    ) -> bool:
        """Record that the outcome of the native write is unknown, and schedule the first probe.

        Doubt about a source that cannot be read is escalated at once. ``retry_after`` is how many seconds the source
        asked the facade to wait. ``result`` and ``requester`` are given if a client receives the result.
        """
        values: dict[str, Any] = {
            "doubt_since": self.clock.now(),
            **(self.schedule(self._timers.read_after(0, retry_after)) if readable else NOT_SCHEDULED),
            "read_step": 0,
            "negative_reads": 0,
            "outcome": Outcome.IN_DOUBT,
            "cause": cause,
        }
        if result is not None:
            values["response"] = _as_text(result)
        audit = None
        if result is not None and requester is not None:
            audit = _audit(requester, result.outcome, result.cause)
        event = escalation.doubt_event(readable=readable)
        return self._transition(seen, event, values, audit=audit, detail={"cause": cause})

    def record_abandoned(self, seen: Row) -> bool:
        """Record that the owner of a claim is gone. It had sent nothing."""
        values = {"outcome": Outcome.NOT_EXECUTED, "cause": results.OWNER_LOST, "response": None}
        # The row must be unchanged since it was seen: after a version conflict, its owner may have claimed it again.
        expected = {"state": State.CLAIMED, "attempt_number": seen.attempt_number, "changed_at": seen.changed_at}
        detail = {"cause": results.OWNER_LOST}
        return self._compare_and_set(seen, Event.NOT_EXECUTED, values, expected, detail)

    # Repeated requests

    def record_repeat(self, row: Row, codes: Any, requester: Requester) -> None:
        """Record in the journal that another request came for this appointment."""
        self._ledger.append(row.key, self._repeat(row, codes, requester))

    def record_reply(
        self, row: Row, requester: Requester, outcome: str, cause: str = "", *, repeat: Any | None = None
    ) -> None:
        """Record in the audit what a request received, where no transition records it.

        ``repeat`` are the reason codes of a repeated request that the journal does not have yet.
        """
        entry = self._repeat(row, repeat, requester) if repeat is not None else None
        self._ledger.append(row.key, entry, _audit(requester, outcome, cause))

    def _repeat(self, row: Row, codes: Any, requester: Requester) -> JournalEntry:
        return JournalEntry(
            event=Event.REPEAT,
            state=row.state,
            attempt_number=row.attempt_number,
            request_id=requester.request_id,
            detail={"codes": codes},
        )

    def recorded_result(self, row: Row, cause: str = results.REPEAT) -> CancelResult:
        """Return the recorded result for a client. From then on, an operator's resolution can no longer be undone.

        Raises Unavailable if an operator has just undone it.
        """
        if row.by_operator and row.state == State.CANCELLED:
            expected = {"state": row.state, "attempt_number": row.attempt_number, "by_operator": True}
            if not self._compare_and_set(row, Event.REPORTED, {"by_operator": False}, expected, {}):
                now = self.find(row.key)
                if now is None or now.state != State.CANCELLED or now.by_operator:
                    raise Unavailable(CHANGED_BY_OPERATOR)
                row = now
        return results.recorded(row, cause)

    # Probes

    def schedule(self, seconds: float) -> dict[str, Any]:
        """Return the values of a row whose next probe is in so many seconds.

        ``read_due`` is for a process that sees the row for the first time, ``read_in`` for one that has observed the
        row and need not trust another host's clock.
        """
        return {"read_due": self.clock.now() + seconds, "read_in": seconds}

    def take_due(self, seen: Row) -> Row | None:
        """Take the probe that is due, as the only one; None if another process has taken it.

        The next probe is scheduled first, so a probe that crashes the process is not repeated at once.
        """
        step = seen.read_step + 1
        later = self.schedule(max(self._timers.hold, self._timers.read_after(step)))
        return self._ledger.take_due(seen, {"read_step": step, **later})

    def record_probe(
        self, seen: Row, values: Mapping[str, Any], event: Event | None, detail: Mapping[str, Any]
    ) -> bool:
        """Record a probe that showed no evidence, and the transition that follows from it (``event``), if any."""
        # A hint that came during the probe has changed read_due. It must not be overwritten.
        unchanged = ("state", "attempt_number", "negative_reads", "read_due")
        expected = {name: getattr(seen, name) for name in unchanged}
        return self._compare_and_set(seen, event or Event.PROBE, values, expected, detail)

    def record_revision(self, seen: Row, result: CancelResult, reported: Mapping[str, Any]) -> bool:
        """Record a new version of the response of a cancelled appointment."""
        values = {
            "response": _as_text(result),
            "version": result.version,
            "reported": dict(reported),
            "by_operator": False,
            **NOT_SCHEDULED,
        }
        expected = {"state": State.CANCELLED, "version": seen.version, "read_due": seen.read_due}
        return self._compare_and_set(seen, Event.REVISED, values, expected, {"version": result.version})

    def escalate_unreadable(self, seen: Row) -> bool:
        """Escalate a row in doubt whose source cannot be read, and schedule no further probe.

        Such a row was written before the source, or this version, declared that it cannot be read. Returns False if
        there is nothing to do.
        """
        event = escalation.unreadable_event(seen)
        if event is Event.UNSCHEDULED and seen.read_due is None:
            return False
        expected = {name: getattr(seen, name) for name in ("state", "attempt_number", "read_due")}
        return self._compare_and_set(seen, event, NOT_SCHEDULED, expected, {"cause": results.NOT_READABLE})

    def record_hint(self, seen: Row) -> bool:
        """Move the next probe forward. Hints that come while one is due count as one."""
        due = self.clock.now() + self._timers.hint
        if seen.state in IN_FLIGHT or (seen.read_due is not None and seen.read_due <= due):
            return False
        expected = {"state": seen.state, "attempt_number": seen.attempt_number, "read_due": seen.read_due}
        return self._compare_and_set(seen, Event.HINT, self.schedule(self._timers.hint), expected, {})

    # Operators

    def record_resolution(
        self, seen: Row, event: Event, result: CancelResult, operator: Requester, resolution: str, because: str
    ) -> bool:
        """Record an operator's resolution of the write that was seen in doubt.

        Returns False if the row has changed, or if a new request has started.
        """
        values = {
            "response": _as_text(result),
            "version": result.version,
            "outcome": result.outcome,
            "cause": result.cause,
            "reported": {},
            "by_operator": True,
            **NOT_SCHEDULED,
        }
        audit = AuditRecord(who=operator.name, action="resolve", outcome=resolution)
        row: Row | None = seen
        while row is not None and (row.attempt_number, row.sending_at) == (seen.attempt_number, seen.sending_at):
            expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}
            if next_state(row.state, event) is None:
                return False
            if self._compare_and_set(row, event, values, expected, {"because": because}, audit):
                return True
            row = self.find(row.key)
        return False

    def undo_resolution(self, seen: Row, operator: Requester, because: str, *, readable: bool) -> bool:
        """Take an operator's resolution back; False if there is none, or if it had consequences."""
        if next_state(seen.state, Event.UNDO) is None or not seen.by_operator:
            return False
        values = {
            "by_operator": False,
            "version": 0,
            "response": None,
            "reported": None,
            "outcome": Outcome.IN_DOUBT,
            "cause": Cause.UNPROVEN.code,
            "negative_reads": 0,
            **(self.schedule(self._timers.read_after(0)) if readable else NOT_SCHEDULED),
            "read_step": 0,
        }
        audit = AuditRecord(who=operator.name, action="resolve", outcome="undone")
        expected = {"state": seen.state, "attempt_number": seen.attempt_number, "by_operator": True}
        return self._compare_and_set(seen, Event.UNDO, values, expected, {"because": because}, audit)

    # Compare-and-set

    def _compare_and_set(
        self,
        seen: Row,
        event: Event,
        values: Mapping[str, Any],
        expected: Mapping[str, Any],
        detail: Mapping[str, Any],
        audit: AuditRecord | None = None,
    ) -> bool:
        """Change the row if it is as ``expected``, and journal the event. The state changes if the table says so."""
        state = next_state(seen.state, event) or seen.state
        entry = JournalEntry(event=event, state=state, attempt_number=seen.attempt_number, detail=detail)
        return self._ledger.change(seen.key, expected, {**values, "state": state}, entry, audit)

    def _transition_owned(self, owned: Row, event: Event, values: Mapping[str, Any]) -> Row | None:
        """Make the owner's own transition from the state that it knows; None if the row is no longer its own."""
        changed = {**values, "state": next_state(owned.state, event)}
        entry = JournalEntry(event=event, state=changed["state"], attempt_number=owned.attempt_number)
        expected = {"state": owned.state, "attempt_number": owned.attempt_number}
        done = self._ledger.change(owned.key, expected, changed, entry)
        return replace(owned, **changed) if done else None

    def _transition(
        self,
        seen: Row,
        event: Event,
        values: Mapping[str, Any],
        *,
        audit: AuditRecord | None,
        detail: Mapping[str, Any],
        fenced: bool = True,
    ) -> bool:
        """Make the transition from the state that the row has now.

        Returns False if the table has none, or if the row belongs to another attempt and the transition is ``fenced``.
        """
        row: Row | None = seen
        while row is not None and (row.attempt_number == seen.attempt_number or not fenced):
            expected = {"state": row.state, "attempt_number": row.attempt_number}
            if next_state(row.state, event) is None:
                return False
            if self._compare_and_set(row, event, values, expected, detail, audit):
                return True
            row = self.find(row.key)
        return False


def _audit(requester: Requester, outcome: str, cause: str) -> AuditRecord:
    """Build the audit record of a cancel, or of what a reader or a probe found."""
    return AuditRecord(
        who=requester.name, action="cancel", outcome=outcome, cause=cause, request_id=requester.request_id or None
    )


def _as_text(result: CancelResult) -> str:
    return json.dumps(result.appointment, ensure_ascii=False)
