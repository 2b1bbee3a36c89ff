"""Makes a history from a seed: what happens to one appointment, and when."""

import random
from dataclasses import dataclass, field
from typing import Any

from facade.testing.faults import FAULTS

DURATION = 1.5  # seconds in which things happen
SETTLE_WINDOW = 1.2
LATE_COMMIT = 0.5  # later than any caller waits, earlier than the settle window ends

CRASH_POINTS = (
    "in-transaction",
    "after-claim",
    "after-read",
    "before-sending",
    "after-sending",
    "after-send",
    "before-record",
    "after-record",
    "after-take",
    "after-look",
)
_IN_DOUBT = {"after-send", "after-take", "after-look"}
REASONS = ("pat", "pat-mv", "prov", "oth-weath", "maint")
_CANCEL_FAULTS = [name for name, fault in FAULTS.items() if fault.operation == "cancel"]
_READ_FAULTS = [name for name, fault in FAULTS.items() if fault.operation == "read"]


@dataclass(frozen=True)
class Event:
    """One thing that happens, ``at`` seconds after the history's beginning."""

    at: float
    do: str
    what: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class History:
    """One appointment's life: how many facade processes there are, how near its ETA is, and what happens."""

    seed: int
    nodes: int
    near: bool
    events: tuple[Event, ...]


def generate(seed: int) -> History:
    """The history of this seed, always the same one."""
    rng = random.Random(seed)
    nodes = rng.randint(1, 3)
    events = [*_requests(rng, nodes), *_faults(rng), *_blows(rng, nodes), *_lost_write(rng, nodes)]
    return History(seed, nodes, rng.random() < 0.1, tuple(sorted(events, key=lambda event: event.at)))


def crash_at(seed: int, point: str) -> History:
    """A history in which one process is killed at this point, and the caller asks again."""
    rng = random.Random(seed)
    doubt = "html-502" if rng.random() < 0.5 else "late-commit"
    # These are passed only after a write that proved nothing; the in-between of a transaction also later.
    events = [Event(0.0, "arm", {"fault": doubt, "times": 1})] if point in _IN_DOUBT or rng.random() < 0.3 else []
    passes = rng.choice((0, 1, 2)) if point == "in-transaction" else 0
    events.append(Event(0.0, "crash-at", {"node": 0, "point": point, "pass": passes}))
    events += [Event(at, "cancel", {"node": 0, "reason": rng.choice(REASONS)}) for at in (0.05, 0.3, 0.9, 1.4)]
    return History(seed, 1, False, tuple(sorted(events, key=lambda event: event.at)))


def _requests(rng: random.Random, nodes: int) -> list[Event]:
    def request(at: float) -> Event:
        return Event(at, "cancel", {"node": rng.randrange(nodes), "reason": rng.choice(REASONS)})

    first = rng.uniform(0, 0.2)
    events = [request(first)]
    events += [request(first + rng.uniform(0, 0.02)) for _ in range(rng.choice((0, 0, 1, 2)))]  # duplicates at once
    events += [request(rng.uniform(0, DURATION)) for _ in range(rng.choice((0, 1, 1, 2, 3)))]
    events += [
        Event(rng.uniform(0, DURATION), "read", {"node": rng.randrange(nodes)}) for _ in range(rng.choice((0, 1)))
    ]
    hints = rng.choice((0, 0, 1, 3))
    return events + [Event(rng.uniform(0, DURATION), "hint", {"node": rng.randrange(nodes)}) for _ in range(hints)]


def _faults(rng: random.Random) -> list[Event]:
    def arm(at: float, names: list[str], times: int) -> Event:
        return Event(at, "arm", {"fault": rng.choice(names), "times": times})

    events = []
    if rng.random() < 0.7:
        events.append(arm(0.0, _CANCEL_FAULTS, 1))
    reads = rng.choice((0, 0, 1, 2))
    events += [arm(rng.uniform(0, DURATION), _READ_FAULTS, rng.randint(1, 2)) for _ in range(reads)]
    if rng.random() < 0.1:
        events.append(Event(rng.uniform(0, DURATION), "cancelled-outside"))
    return events


def _lost_write(rng: random.Random, nodes: int) -> list[Event]:
    """What tempts most to write again: a write that seems lost and comes late, and a caller who asks again."""
    if rng.random() < 0.4:
        return []
    lost = ("late-commit", "late-commit", "timeout-after-commit", "reset-before-commit", "500-before-commit")
    late = Event(0.0, "arm", {"fault": rng.choice(lost), "times": 1})
    again = [
        Event(rng.uniform(0.4, DURATION), "cancel", {"node": rng.randrange(nodes), "reason": rng.choice(REASONS)})
        for _ in range(rng.randint(1, 3))
    ]
    return [late, *again]


def _blows(rng: random.Random, nodes: int) -> list[Event]:
    events = []
    if rng.random() < 0.5:
        # The points around the write more often: what they leave behind is the hardest to get right.
        point = rng.choice((*CRASH_POINTS, "after-sending", "after-send", "before-record", "before-record"))
        what = {"node": rng.randrange(nodes), "point": point, "pass": rng.choice((0, 0, 0, 1))}
        events.append(Event(rng.choice((0.0, rng.uniform(0, 0.3))), "crash-at", what))
        again = {"node": rng.randrange(nodes), "reason": rng.choice(REASONS)}
        events.append(Event(rng.uniform(0.6, DURATION), "cancel", again))
    kills = rng.choice((0, 0, 0, 1, 2))
    events += [Event(rng.uniform(0, DURATION), "kill", {"node": rng.randrange(nodes)}) for _ in range(kills)]
    if rng.random() < 0.3:
        # Shorter than the settle window: docs/at-most-once.md says why that is the promise's edge.
        what = {"node": rng.randrange(nodes), "seconds": rng.uniform(0.05, 0.7 * SETTLE_WINDOW)}
        events.append(Event(rng.uniform(0, DURATION), "freeze", what))
    if rng.random() < 0.25:
        seconds = rng.choice((-1, 1)) * rng.choice((0.3, 2.0, 60.0, 7200.0))
        events.append(Event(rng.uniform(0, DURATION), "clock-jumps", {"seconds": seconds}))
    if rng.random() < 0.2:
        events.append(Event(rng.uniform(0, DURATION), "store-out", {"seconds": rng.uniform(0.05, 0.4)}))
    return events
