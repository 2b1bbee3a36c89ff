"""Every transition of a cancellation, as a compare-and-set on its row; the only writer of states."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from facade.cancellation.answer import Answer
from facade.cancellation.states import TRANSITIONS, Event, State
from facade.cancellation.timers import Timers
from facade.cancellation.wish import Caller
from facade.clock import Clock
from facade.ledger.store import Audit, Entry, Key, Ledger
from facade.ledger.tables import Row


class Records:
    """Moves rows from state to state. Methods raise Unavailable when the ledger cannot be used."""

    def __init__(self, ledger: Ledger, timers: Timers, clock: Clock) -> None:
        self.ledger = ledger
        self._timers = timers
        self._clock = clock

    def claim(self, key: Key, seen: Row | None, wish: Mapping[str, Any], caller: Caller, detail: Any) -> Row | None:
        """Take the appointment for one attempt: the claimed row, or None when somebody else was faster.

        ``seen`` is the row that made it claimable. Needs no flush: a claim that is lost lost nothing.
        """
        values: dict[str, Any] = {
            "state": TRANSITIONS[State(seen.state) if seen else None, Event.CLAIM],
            "epoch": 1 if seen is None else seen.epoch + 1,
            "lease_until": self._clock.now() + self._timers.lease,
            "wish": dict(wish),
            "sending_at": None,
            "doubt_since": None,
            "negative_reads": 0,
            "read_due": None,
            "read_step": 0,
        }
        entry = Entry(
            event=Event.CLAIM,
            state=State.CLAIMED,
            epoch=values["epoch"],
            request_id=caller.request_id,
            detail={"codes": detail},
        )
        if seen is None:
            values |= {"read_before": False}
            return self.ledger.create(key, values, entry)
        expected = {"state": seen.state, "epoch": seen.epoch}
        done = self.ledger.change(key, expected, values, entry, flushed=False)
        return replace(seen, **values) if done else None

    def sending(self, claimed: Row, facts: Mapping[str, Any]) -> Row | None:
        """Record, durably, that the write may leave from now on. None: the claim was lost, do not write."""
        values = {"state": TRANSITIONS[State.CLAIMED, Event.SEND], "sending_at": self._clock.now(), **facts}
        entry = Entry(event=Event.SEND, state=State.SENDING, epoch=claimed.epoch)
        expected = {"state": State.CLAIMED, "epoch": claimed.epoch}
        done = self.ledger.change(claimed.key, expected, values, entry)
        return replace(claimed, **values) if done else None

    def again(self, refused: Row) -> Row | None:
        """Begin again after a refusal for a stale version; None where others took the silence for doubt.

        The epoch stays: it is the same wish and owner, and whoever waits for it goes on waiting.
        """
        values: dict[str, Any] = {
            "state": TRANSITIONS[State.SENDING, Event.STALE],
            "lease_until": self._clock.now() + self._timers.lease,
            "sending_at": None,
        }
        entry = Entry(event=Event.STALE, state=State.CLAIMED, epoch=refused.epoch)
        expected = {"state": State.SENDING, "epoch": refused.epoch}
        done = self.ledger.change(refused.key, expected, values, entry)
        return replace(refused, **values) if done else None

    def proof(
        self, seen: Row, given: Answer, told: Mapping[str, Any], audit: Audit, by: str, *, fenced: bool = False
    ) -> bool:
        """Record native evidence and the answer that states it, whatever the state and whoever claims now.

        ``fenced``: only for the attempt that was seen; a person's word is no evidence about a later one. False if
        the row is cancelled already, or the attempt is over.
        """
        values = {
            "answer": json.dumps(given.appointment, ensure_ascii=False),
            "version": given.version,
            "outcome": given.outcome,
            "cause": given.cause,
            "told": dict(told),
            "read_before": True,
        }
        return self._apply(seen, Event.PROOF, values, audit=audit, detail={"by": by}, fenced=fenced)

    def revise(self, seen: Row, answer: Answer, told: Mapping[str, Any]) -> bool:
        """A new version of the recorded answer of a cancelled appointment."""
        values = {
            "answer": json.dumps(answer.appointment, ensure_ascii=False),
            "version": answer.version,
            "told": dict(told),
            "read_due": None,
        }
        entry = Entry(event="revised", state=State.CANCELLED, epoch=seen.epoch, detail={"version": answer.version})
        expected = {"state": State.CANCELLED, "version": seen.version, "read_due": seen.read_due}
        return self.ledger.change(seen.key, expected, values, entry)

    def not_done(self, seen: Row, answer: Answer, audit: Audit, *, read_before: bool) -> bool:
        """Record that the write of this epoch was surely not executed."""
        values = {
            "answer": json.dumps(answer.appointment, ensure_ascii=False),
            "outcome": answer.outcome,
            "cause": answer.cause,
            "read_before": read_before,
            "read_due": None,
        }
        return self._apply(seen, Event.NOT_DONE, values, audit=audit, detail={"cause": answer.cause})

    def doubt(self, seen: Row, cause: str, answer: Answer | None = None, audit: Audit | None = None) -> bool:
        """Record that nobody knows; the first look into it is scheduled."""
        now = self._clock.now()
        values: dict[str, Any] = {
            "doubt_since": now,
            "read_due": now + self._timers.read_after(0),
            "read_step": 0,
            "negative_reads": 0,
            "outcome": "in-doubt",
            "cause": cause,
        }
        if answer is not None:
            values["answer"] = json.dumps(answer.appointment, ensure_ascii=False)
        return self._apply(seen, Event.DOUBT, values, audit=audit, detail={"cause": cause})

    def abandoned(self, seen: Row) -> bool:
        """Record that a claim's owner is gone; it had sent nothing."""
        if not self.lease_is_over(seen):
            return False
        values = {"outcome": "not-done", "cause": "owner-lost", "answer": None}
        entry = Entry(event=Event.NOT_DONE, state=State.REFUSED, epoch=seen.epoch, detail={"cause": "owner-lost"})
        expected = {"state": State.CLAIMED, "epoch": seen.epoch}
        return self.ledger.change(seen.key, expected, {"state": State.REFUSED, **values}, entry, flushed=False)

    def looked(self, seen: Row, values: Mapping[str, Any], event: Event | None, detail: Mapping[str, Any]) -> bool:
        """Record a read that gave no proof, and what follows from it (``event``), if anything."""
        state = State(seen.state) if event is None else TRANSITIONS[State(seen.state), event]
        entry = Entry(event=event or "read", state=state, epoch=seen.epoch, detail=detail)
        # A hint that came during the read has changed read_due; it must not be overwritten.
        unchanged = ("state", "epoch", "negative_reads", "read_due")
        expected = {name: getattr(seen, name) for name in unchanged}
        return self.ledger.change(seen.key, expected, {**values, "state": state}, entry, flushed=event is not None)

    def hint(self, seen: Row) -> bool:
        """Bring the next read forward. Hints that come while one is due are one."""
        due = self._clock.now() + self._timers.hint
        if seen.state in {State.CLAIMED, State.SENDING} or (seen.read_due is not None and seen.read_due <= due):
            return False
        entry = Entry(event="hint", state=seen.state, epoch=seen.epoch)
        expected = {"state": seen.state, "epoch": seen.epoch, "read_due": seen.read_due}
        return self.ledger.change(seen.key, expected, {"read_due": due}, entry, flushed=False)

    def judged_not_applied(self, seen: Row, given: Answer, audit: Audit, because: str) -> bool:
        """A person's verdict that the write was not applied."""
        values = {
            "answer": json.dumps(given.appointment, ensure_ascii=False),
            "outcome": given.outcome,
            "cause": given.cause,
            "read_due": None,
        }
        return self._apply(seen, Event.JUDGED_NOT_APPLIED, values, audit=audit, detail={"because": because})

    def lease_is_over(self, row: Row) -> bool:
        """Whether a claim may be taken over. One further ahead than any lease is a clock that went back."""
        left = row.lease_until - self._clock.now()
        return left <= 0 or left > self._timers.lease + 1.0

    def silence_is_doubt(self, row: Row) -> bool:
        """Whether a write whose owner says nothing is in doubt."""
        since = self._clock.now() - (row.sending_at or 0.0)
        return since >= self._timers.sending or since < -1.0

    def _apply(
        self,
        seen: Row,
        event: Event,
        values: Mapping[str, Any],
        *,
        audit: Audit | None,
        detail: Mapping[str, Any],
        fenced: bool = True,
    ) -> bool:
        """The transition from the state the row is in, if there is one; False if not, or if the epoch has passed."""
        row: Row | None = seen
        while row is not None and (row.epoch == seen.epoch or not fenced):
            to = TRANSITIONS.get((State(row.state), event))
            if to is None:
                return False
            entry = Entry(event=event, state=to, epoch=row.epoch, detail=detail)
            expected = {"state": row.state, "epoch": row.epoch}
            if self.ledger.change(row.key, expected, {**values, "state": to}, entry, audit):
                return True
            row = self.ledger.find(row.key)
        return False
