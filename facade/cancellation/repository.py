"""Every transition of a cancellation, as a compare-and-set on its row; the only writer of states."""
# Why this long: whoever checks that no transition is missing its condition needs all of them side by side.

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from facade.cancellation import results
from facade.cancellation.observed_times import ObservedTimes
from facade.cancellation.results import CancelResult
from facade.cancellation.states import TRANSITIONS, Event, State
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.clock import Clock
from facade.errors import Cause, Unavailable
from facade.ledger.store import AuditRecord, JournalEntry, Key, Ledger
from facade.ledger.tables import Row

NOT_SCHEDULED: dict[str, Any] = {"read_due": None, "read_in": None}


class CancellationRepository:
    """Moves rows from state to state. Methods raise Unavailable when the ledger cannot be used."""

    def __init__(self, ledger: Ledger, timers: Timers, clock: Clock) -> None:
        self.ledger = ledger
        self.observed = ObservedTimes(clock)
        self._timers = timers
        self._clock = clock

    def claim(
        self, key: Key, seen: Row | None, cancel_request: Mapping[str, Any], requester: Requester, detail: Any
    ) -> Row | None:
        """Take the appointment for one attempt: the claimed row, or None when somebody else was faster.

        ``seen`` is the row that made it claimable.
        """
        values: dict[str, Any] = {
            "state": TRANSITIONS[State(seen.state) if seen else None, Event.CLAIM],
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
        entry = JournalEntry(
            event=Event.CLAIM, state=State.CLAIMED, request_id=requester.request_id, detail={"codes": detail}
        )
        return self.ledger.claim(key, seen, values, entry)

    def sending(self, claimed: Row, facts: Mapping[str, Any]) -> Row | None:
        """Record, durably, that the write may leave from now on. None: the claim was lost, do not write."""
        values = {"state": TRANSITIONS[State.CLAIMED, Event.SEND], "sending_at": self._clock.now(), **facts}
        entry = JournalEntry(event=Event.SEND, state=State.SENDING, attempt_number=claimed.attempt_number)
        expected = {"state": State.CLAIMED, "attempt_number": claimed.attempt_number}
        done = self.ledger.change(claimed.key, expected, values, entry)
        return replace(claimed, **values) if done else None

    def again(self, refused: Row) -> Row | None:
        """Begin again after a refusal for a stale version; None where others took the silence for doubt.

        The attempt_number stays: it is the same cancel_request and owner, and whoever waits for it goes on waiting.
        """
        values: dict[str, Any] = {
            "state": TRANSITIONS[State.SENDING, Event.VERSION_CONFLICT],
            "sending_at": None,
        }
        entry = JournalEntry(event=Event.VERSION_CONFLICT, state=State.CLAIMED, attempt_number=refused.attempt_number)
        expected = {"state": State.SENDING, "attempt_number": refused.attempt_number}
        done = self.ledger.change(refused.key, expected, values, entry)
        return replace(refused, **values) if done else None

    def proof(self, seen: Row, given: CancelResult, reported: Mapping[str, Any], audit: AuditRecord, by: str) -> bool:
        """Record native evidence and the answer that states it, whatever the state and whoever claims now.

        False if the row is cancelled already.
        """
        values = {
            "response": json.dumps(given.appointment, ensure_ascii=False),
            "version": given.version,
            "outcome": given.outcome,
            "cause": given.cause,
            "reported": dict(reported),
            "read_before": True,
            "by_operator": False,  # evidence, which no one takes back
        }
        return self._apply(seen, Event.PROOF, values, audit=audit, detail={"by": by}, fenced=False)

    def revise(self, seen: Row, given: CancelResult, reported: Mapping[str, Any]) -> bool:
        """A new version of the recorded answer of a cancelled appointment."""
        values = {
            "response": json.dumps(given.appointment, ensure_ascii=False),
            "version": given.version,
            "reported": dict(reported),
            "by_operator": False,
            **NOT_SCHEDULED,
        }
        entry = JournalEntry(
            event="revised",
            state=State.CANCELLED,
            attempt_number=seen.attempt_number,
            detail={"version": given.version},
        )
        expected = {"state": State.CANCELLED, "version": seen.version, "read_due": seen.read_due}
        return self.ledger.change(seen.key, expected, values, entry)

    def not_executed(self, seen: Row, given: CancelResult, audit: AuditRecord, *, read_before: bool) -> bool:
        """Record that the write of this attempt_number was surely not executed."""
        values = {
            "response": json.dumps(given.appointment, ensure_ascii=False),
            "outcome": given.outcome,
            "cause": given.cause,
            "read_before": read_before,
            **NOT_SCHEDULED,
        }
        return self._apply(seen, Event.NOT_EXECUTED, values, audit=audit, detail={"cause": given.cause})

    def doubt(
        self,
        seen: Row,
        cause: str,
        given: CancelResult | None = None,
        audit: AuditRecord | None = None,
        *,
        readable: bool,
        retry_after: float | None = None,
    ) -> bool:
        """Record that no one knows whether the write was executed, and schedule the first read.

        Doubt about a source that cannot be read goes to an operator at once. ``retry_after`` is how many seconds the
        source asked to be left alone.
        """
        now = self._clock.now()
        values: dict[str, Any] = {
            "doubt_since": now,
            **(self.scheduled(self._timers.read_after(0, retry_after)) if readable else NOT_SCHEDULED),
            "read_step": 0,
            "negative_reads": 0,
            "outcome": "in-doubt",
            "cause": cause,
        }
        if given is not None:
            values["response"] = json.dumps(given.appointment, ensure_ascii=False)
        event = Event.DOUBT if readable else Event.ESCALATE
        return self._apply(seen, event, values, audit=audit, detail={"cause": cause})

    def take_due(self, seen: Row) -> Row | None:
        """Take the read that is due, as the only one; None if somebody else has taken it.

        The next read is scheduled before this one is made: a row whose read ends the process that makes it backs off.
        """
        step = seen.read_step + 1
        later = self.scheduled(max(self._timers.hold, self._timers.read_after(step)))
        return self.ledger.take_due(seen, {"read_step": step, **later})

    def scheduled(self, seconds: float) -> dict[str, Any]:
        """The values of a row whose next read is in so many seconds.

        ``read_due`` is for a process that sees the row for the first time, ``read_in`` for one that has watched it and
        need not believe another host's clock.
        """
        return {"read_due": self._clock.now() + seconds, "read_in": seconds}

    def abandoned(self, seen: Row) -> bool:
        """Record that a claim's owner is gone; it had sent nothing."""
        values = {"outcome": "not-executed", "cause": "owner-lost", "response": None}
        entry = JournalEntry(
            event=Event.NOT_EXECUTED,
            state=State.REFUSED,
            attempt_number=seen.attempt_number,
            detail={"cause": "owner-lost"},
        )
        # Unchanged since it was seen, too: its owner may have claimed it again, after a stale version.
        expected = {"state": State.CLAIMED, "attempt_number": seen.attempt_number, "changed_at": seen.changed_at}
        return self.ledger.change(seen.key, expected, {"state": State.REFUSED, **values}, entry)

    def looked(self, seen: Row, values: Mapping[str, Any], event: Event | None, detail: Mapping[str, Any]) -> bool:
        """Record a read that gave no proof, and what follows from it (``event``), if anything."""
        state = State(seen.state) if event is None else TRANSITIONS[State(seen.state), event]
        entry = JournalEntry(event=event or "read", state=state, attempt_number=seen.attempt_number, detail=detail)
        # A hint that came during the read has changed read_due; it must not be overwritten.
        unchanged = ("state", "attempt_number", "negative_reads", "read_due")
        expected = {name: getattr(seen, name) for name in unchanged}
        return self.ledger.change(seen.key, expected, {**values, "state": state}, entry)

    def never_read(self, seen: Row) -> bool:
        """Take a row in doubt off the schedule, and to an operator: its source cannot be read.

        Such a row is from before its source, or this version, knew that. False if there was nothing to do.
        """
        event = Event.ESCALATE if seen.state == State.IN_DOUBT else None
        if event is None and seen.read_due is None:
            return False
        state = State(seen.state) if event is None else TRANSITIONS[State(seen.state), event]
        entry = JournalEntry(
            event=event or "unscheduled",
            state=state,
            attempt_number=seen.attempt_number,
            detail={"cause": "not-readable"},
        )
        expected = {name: getattr(seen, name) for name in ("state", "attempt_number", "read_due")}
        return self.ledger.change(seen.key, expected, {"state": state, **NOT_SCHEDULED}, entry)

    def hint(self, seen: Row) -> bool:
        """Bring the next read forward. Hints that come while one is due are one."""
        due = self._clock.now() + self._timers.hint
        if seen.state in {State.CLAIMED, State.SENDING} or (seen.read_due is not None and seen.read_due <= due):
            return False
        entry = JournalEntry(event="hint", state=seen.state, attempt_number=seen.attempt_number)
        expected = {"state": seen.state, "attempt_number": seen.attempt_number, "read_due": seen.read_due}
        return self.ledger.change(seen.key, expected, self.scheduled(self._timers.hint), entry)

    def judged(self, seen: Row, event: Event, given: CancelResult, audit: AuditRecord, because: str) -> bool:
        """Record a person's verdict on the write that was seen in doubt; False once more is known, or it is retried."""
        values = {
            "response": json.dumps(given.appointment, ensure_ascii=False),
            "version": given.version,
            "outcome": given.outcome,
            "cause": given.cause,
            "reported": {},
            "by_operator": True,
            **NOT_SCHEDULED,
        }
        row: Row | None = seen
        while row is not None and (row.attempt_number, row.sending_at) == (seen.attempt_number, seen.sending_at):
            to = TRANSITIONS.get((State(row.state), event))
            if to is None:
                return False
            expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}
            entry = JournalEntry(event=event, state=to, attempt_number=row.attempt_number, detail={"because": because})
            if self.ledger.change(row.key, expected, {**values, "state": to}, entry, audit):
                return True
            row = self.ledger.find(row.key)
        return False

    def undone(self, seen: Row, audit: AuditRecord, because: str, *, readable: bool) -> bool:
        """Take a person's verdict back; False where there is none, or it had consequences."""
        to = TRANSITIONS.get((State(seen.state), Event.UNDO))
        if to is None or not seen.by_operator:
            return False
        values = {
            "state": to,
            "by_operator": False,
            "version": 0,
            "response": None,
            "reported": None,
            "outcome": "in-doubt",
            "cause": Cause.UNPROVEN.word,
            "negative_reads": 0,
            **(self.scheduled(self._timers.read_after(0)) if readable else NOT_SCHEDULED),
            "read_step": 0,
        }
        entry = JournalEntry(
            event=Event.UNDO, state=to, attempt_number=seen.attempt_number, detail={"because": because}
        )
        expected = {"state": seen.state, "attempt_number": seen.attempt_number, "by_operator": True}
        return self.ledger.change(seen.key, expected, values, entry, audit)

    def recorded(self, row: Row, cause: str = "repeat") -> CancelResult:
        """The answer that the ledger has, for a client: from then on, a person's verdict can no longer be undone.

        Raises Unavailable where it was undone just now.
        """
        if row.by_operator and row.state == State.CANCELLED:
            entry = JournalEntry(event="reported", state=row.state, attempt_number=row.attempt_number)
            expected = {"state": row.state, "attempt_number": row.attempt_number, "by_operator": True}
            if not self.ledger.change(row.key, expected, {"by_operator": False}, entry):
                now = self.ledger.find(row.key)
                if now is None or now.state != State.CANCELLED or now.by_operator:
                    raise Unavailable("The record of this appointment has just been changed by a person. Try again.")
                row = now
        return results.recorded(row, cause)

    def lease_is_over(self, row: Row) -> bool:
        """Whether a claim may be taken over: this process has seen its owner do nothing for the length of a lease."""
        return self.observed.in_state(row) >= self._timers.lease

    def silence_is_doubt(self, row: Row) -> bool:
        """Whether a write is in doubt: this process has seen its owner say nothing for as long as a write may take."""
        return self.observed.in_state(row) >= self._timers.sending

    def _apply(
        self,
        seen: Row,
        event: Event,
        values: Mapping[str, Any],
        *,
        audit: AuditRecord | None,
        detail: Mapping[str, Any],
        fenced: bool = True,
    ) -> bool:
        """The transition from the state the row is in, if there is one; False if not, or if the attempt_number has
        passed.
        """
        row: Row | None = seen
        while row is not None and (row.attempt_number == seen.attempt_number or not fenced):
            to = TRANSITIONS.get((State(row.state), event))
            if to is None:
                return False
            entry = JournalEntry(event=event, state=to, attempt_number=row.attempt_number, detail=detail)
            expected = {"state": row.state, "attempt_number": row.attempt_number}
            if self.ledger.change(row.key, expected, {**values, "state": to}, entry, audit):
                return True
            row = self.ledger.find(row.key)
        return False
