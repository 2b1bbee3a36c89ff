"""The five invariants of docs/concepts/at-most-once.md, over the source's log, the answers given, and the ledger's end.

What came first is decided by the real clock, which no history moves; how long something took, by the history's time.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Any

from facade.cancellation.states import SETTLED, State
from facade.ledger.tables import Row
from facade.testing.simulator import LogEntry
from tests.histories.generator import SETTLE_WINDOW
from tests.histories.timeline import Timeline

# Answers by which a source says, in its own shape, that it has not executed the write.
_REFUSED = {400, 401, 403, 422}
_PATIENCE = 0.02  # two clocks' reading of one moment
_STEP = 0.06  # how exactly the history's time shows when something happened


@dataclass
class Exchange:
    """One request to a facade process and what came of it; ``ended`` is None where no answer came."""

    n: int
    do: str
    began: float
    ended: float | None = None
    answer: dict[str, Any] = field(default_factory=dict)

    @property
    def said(self) -> str:
        return self.answer.get("said", "")


@dataclass
class Evidence:
    """Everything a finished history left."""

    exchanges: Sequence[Exchange]
    log: Sequence[LogEntry]
    cancelled_outside: float | None
    cancelled_at_source: bool
    row: Row | None
    timeline: Sequence[dict[str, Any]]
    time: Timeline
    purges: Sequence[tuple[float, float]] = ()  # beginnings and ends of those that deleted the row
    resolutions: Sequence[float] = ()  # of people, who were right

    def story(self) -> list[str]:
        """Everything that happened, in its order, for whoever examines a failure."""
        lines = [(e.began, f"{e.do} {e.n} asked") for e in self.exchanges]
        lines += [(e.ended, f"{e.do} {e.n} reported {e.said}") for e in self.exchanges if e.ended is not None]
        lines += [(_at(e), f"source: {e.operation} {e.fault or ''} {e.status} changed={e.changed}") for e in self.log]
        if self.cancelled_outside is not None:
            lines.append((self.cancelled_outside, "cancelled outside"))
        lines += [(began, "purged") for began, _ in self.purges] + [
            (at, "an operator's resolution") for at in self.resolutions
        ]
        first = min((at for at, _ in lines), default=0.0)
        ledger = [f"  ledger: {line['event']} {line['state']} {line['detail']}" for line in self.timeline]
        return [f"  {at - first:7.3f} real, {self.time.at(at):6.2f}: {what}" for at, what in sorted(lines)] + ledger


def violations(evidence: Evidence) -> list[str]:
    """What is wrong, in sentences that begin with the invariant's number."""
    return [
        *_one_write_an_attempt(evidence),
        *_cancelled_is_true(evidence),
        *_cancelled_is_for_ever(evidence),
        *_settled(evidence),
        *_journalled(evidence),
        *(f"0 a bug: {e.answer['error']}" for e in evidence.exchanges if e.said == "bug"),
    ]


def _at(entry: LogEntry) -> float:
    return datetime.fromisoformat(entry.time).timestamp()


def _one_write_an_attempt(evidence: Evidence) -> list[str]:
    """1. A second write needs the source's refusal of the first, or its own "no" after the settle window."""

    def at(entry: LogEntry) -> float:
        return evidence.time.at(_at(entry))

    writes = [entry for entry in evidence.log if entry.operation == "cancel"]
    reads = [at(entry) for entry in evidence.log if entry.operation == "read" and entry.status == 200]
    found = []
    for first, second in pairwise(writes):
        if first.status in _REFUSED and not first.changed:
            continue
        settled = at(first) + SETTLE_WINDOW - _STEP
        resolved = any(_at(first) <= resolution <= _at(second) for resolution in evidence.resolutions)
        if not resolved and not any(settled <= read <= at(second) for read in reads):
            found.append(f"1 a second write {at(second) - at(first):.3f} s after the first, which was not settled")
    return found


def _cancelled_is_true(evidence: Evidence) -> list[str]:
    """2. No one is reported "cancelled" before the source's state was."""
    changes = [_at(entry) for entry in evidence.log if entry.changed]
    if evidence.cancelled_outside is not None:
        changes.append(evidence.cancelled_outside)
    since = min(changes, default=float("inf"))
    reported = [e for e in evidence.exchanges if e.said == "cancelled" and e.ended is not None]
    return [f"2 exchange {e.n} got cancelled and the source was not" for e in reported if e.ended + _PATIENCE < since]


def _cancelled_is_for_ever(evidence: Evidence) -> list[str]:
    """3. Who asks after anybody got "cancelled" gets the same, or nothing; byte for byte per version.

    Where the row was purged, that is so from then on: who asked before may get what was forgotten meanwhile.
    """
    purged = max((ended for _, ended in evidence.purges), default=0.0)
    asked = [e for e in evidence.exchanges if e.began > purged]
    reported = [e for e in asked if e.said == "cancelled" and e.ended is not None]
    first = min((e.ended for e in reported if e.ended is not None), default=float("inf"))
    later = [e for e in asked if e.began > first and e.said not in {"", "cancelled", "hinted", "503"}]
    found = [f"3 exchange {e.n} got {e.said} after cancelled had been said" for e in later]
    bodies = {(e.answer["version"], e.answer["body"]) for e in reported if "body" in e.answer}
    if len(bodies) > len({version for version, _ in bodies}):
        found.append("3 one version of the answer had two bodies")
    return found


def _settled(evidence: Evidence) -> list[str]:
    """4. After the faults every row settles, and on the truth where the source reports it."""
    row = evidence.row
    if row is None:
        accepted = any(e.said in {"proposed", "cancelled"} for e in evidence.exchanges if e.do == "cancel")
        return ["4 a request was answered and there is no row"] if accepted and not evidence.purges else []
    if row.state not in {*SETTLED, State.OPERATOR}:
        return [f"4 the row is still {row.state}"]
    if evidence.cancelled_at_source and row.state != State.CANCELLED:
        return [f"4 the source has cancelled and the row says {row.state}"]
    if not evidence.cancelled_at_source and row.state == State.CANCELLED:
        return ["4 the row says cancelled and the source has not"]
    return []


def _journalled(evidence: Evidence) -> list[str]:
    """5. Every accepted request is in the journal."""
    known = {line["request_id"] for line in evidence.timeline}
    accepted = [e for e in evidence.exchanges if e.do == "cancel" and e.said in {"proposed", "cancelled"}]
    # A repeat of a cancelled appointment is journalled like every other.
    kept = [e for e in accepted if all(e.began > ended for _, ended in evidence.purges)]
    return [f"5 the request of exchange {e.n} is not in the journal" for e in kept if str(e.n) not in known]
