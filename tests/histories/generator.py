"""Makes a history from a seed: what happens to one appointment, and when.

Times are seconds of the history's own timeline, which passes only when the history says so.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from facade.testing.simulator.faults import FAULTS

DURATION = 1.5  # seconds in which things happen
SETTLE_WINDOW = 1.2
LATE_COMMIT = 0.5  # later than any client waits, earlier than the settle window ends
OVERDUE = 0.6  # longer than a lease; shorter than the silence after which a write is in doubt, and the settle window

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
    "after-probe",
)
_IN_DOUBT = {"after-send", "after-take", "after-probe"}
REASONS = ("pat", "pat-mv", "prov", "oth-weath", "maint")
_CANCEL_FAULTS = [name for name, fault in FAULTS.items() if fault.operation == "cancel"]
_READ_FAULTS = [name for name, fault in FAULTS.items() if fault.operation == "read"]
# The write is not applied, and the client cannot know.
_LOST = ("500-before-commit", "reset-before-commit", "html-502", "accepted-202")


@dataclass(frozen=True)
class Event:
    """One thing that happens, ``at`` seconds after the history's beginning.

    ``until`` names what the history waits for before it goes on, whatever time that takes on this machine:
    see ``runner.Play``. Without it the history goes on at once.
    """

    at: float
    do: str
    what: dict[str, Any] = field(default_factory=dict)
    until: str = ""


@dataclass(frozen=True)
class History:
    """One appointment's life: how many facade processes there are, how near its ETA is, and what happens.

    ``patient`` processes have real seconds to spare, so that a busy machine does not keep them from sending;
    the others meet their deadlines. ``pace`` is how many real seconds a second of the history takes at least.
    """

    seed: int
    nodes: int
    near: bool
    events: tuple[Event, ...]
    patient: bool = True
    pace: float = 0.2


def generate(seed: int) -> History:
    """The history of this seed, always the same one: every third is a scene, the others are random."""
    rng = random.Random(seed)
    if seed % 3 == 0:
        return _scene(seed, rng)
    nodes = rng.randint(1, 3)
    events = [*_requests(rng, nodes), *_faults(rng), *_blows(rng, nodes), *_lost_write(rng, nodes), *_people(rng)]
    near, patient, pace = rng.random() < 0.1, rng.random() < 0.85, rng.choice((0.1, 0.3, 0.8))
    return History(seed, nodes, near, _in_order(events), patient, pace)


def crash_at(seed: int, point: str) -> History:
    """A history in which one process is killed at this point, and the client asks again."""
    rng = random.Random(seed)
    doubt = "html-502" if rng.random() < 0.5 else "late-commit"
    # These are passed only after a write that proved nothing; the in-between of a transaction also later.
    events = [Event(0.0, "arm", {"fault": doubt, "times": 1})] if point in _IN_DOUBT or rng.random() < 0.3 else []
    passes = rng.choice((0, 1, 2)) if point == "in-transaction" else 0
    events.append(Event(0.0, "crash-at", {"node": 0, "point": point, "pass": passes}))
    events += [
        Event(at, "cancel", {"node": 0, "reason": rng.choice(REASONS)}, until="served") for at in (0.05, 0.3, 0.9, 1.4)
    ]
    return History(seed, 1, False, tuple(events))


def _in_order(events: list[Event]) -> tuple[Event, ...]:
    return tuple(sorted(events, key=lambda event: event.at))


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
    """What tempts most to write again: a write that seems lost and comes late, and a client who asks again."""
    if rng.random() < 0.4:
        return []
    fault = rng.choice(("late-commit", "late-commit", "timeout-after-commit", *_LOST))
    late = Event(0.0, "arm", {"fault": fault, "times": 1})
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
        # Shorter than the settle window: docs/concepts/at-most-once.md says why that is the promise's edge.
        what = {"node": rng.randrange(nodes), "seconds": rng.uniform(0.05, 0.7 * SETTLE_WINDOW)}
        events.append(Event(rng.uniform(0, DURATION), "freeze", what))
    if rng.random() < 0.25:
        seconds = rng.choice((-1, 1)) * rng.choice((0.3, 2.0, 60.0, 7200.0))
        host = rng.choice((None, *range(nodes)))
        events.append(Event(rng.uniform(0, DURATION), "clock-jumps", {"seconds": seconds, "host": host}))
    if rng.random() < 0.2:
        events.append(Event(rng.uniform(0, DURATION), "store-out", {"seconds": rng.choice((0.05, 0.3, 1.3))}))
    return events


def _people(rng: random.Random) -> list[Event]:
    """What is done to the ledger by hand."""
    events = [Event(rng.uniform(0.2, DURATION), "purge") for _ in range(rng.choice((0, 0, 0, 1, 2)))]
    events += [Event(rng.uniform(0.2, DURATION), "resolve") for _ in range(rng.choice((0, 0, 0, 1, 2)))]
    if events and rng.random() < 0.5:
        events.append(Event(rng.uniform(0.4, DURATION), "undo"))
    if rng.random() < 0.15:
        events.append(Event(rng.uniform(0.2, DURATION), "rename"))
    return events


# Scenes: the situations in which a facade that is broken in a known way writes twice, step by step. Each step waits
# for the one before it to have happened, so that no machine is too slow for them.


def _scene(seed: int, rng: random.Random) -> History:
    first, second = rng.sample((0, 1), 2)
    build = SCENES[seed // 3 % len(SCENES)]
    lost = Event(0.0, "arm", {"fault": rng.choice(_LOST), "times": 1})
    return History(seed, 2, False, tuple(build(_Cancels(rng), first, second, lost)), pace=0.1)


class _Cancels:
    """Cancels at one node, each with a reason of its own."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def __call__(self, node: int, until: str = "served") -> Event:
        return Event(0.0, "cancel", {"node": node, "reason": self._rng.choice(REASONS)}, until=until)


def _two_at_once(cancel: _Cancels, first: int, second: int, lost: Event) -> list[Event]:
    """A second request comes while the first is between its read and its write."""
    return [_hold(first, "after-read"), cancel(first, until="held"), cancel(second), _go_on(first)]


def _silent_owner(cancel: _Cancels, first: int, second: int, lost: Event) -> list[Event]:
    """The owner of a write says nothing for longer than a lease, and another request waits for it."""
    hold = _hold(first, "after-send")
    return [lost, hold, cancel(first, until="held"), cancel(second), _OVERDUE, _AWAIT_ANSWERS, _go_on(first)]


def _unclear_end(cancel: _Cancels, first: int, second: int, lost: Event) -> list[Event]:
    """A write proves nothing; the same client asks again at once."""
    return [lost, cancel(first), cancel(first)]


def _killed_after_the_write(cancel: _Cancels, first: int, second: int, lost: Event) -> list[Event]:
    """The owner of a write dies before it records the outcome, and another request waits for longer than its lease."""
    crash = Event(0.0, "crash-at", {"node": first, "point": "after-send", "pass": 0})
    return [lost, crash, cancel(first), cancel(second), _OVERDUE, _AWAIT_ANSWERS]


def _negative_read(cancel: _Cancels, first: int, second: int, lost: Event) -> list[Event]:
    """A read says "not cancelled" soon after the write, and the client asks again."""
    return [lost, cancel(first), _AWAIT_READ, cancel(second)]


def _background_reads(cancel: _Cancels, first: int, second: int, lost: Event) -> list[Event]:
    """Only the reconciler has anything to do."""
    return [lost, cancel(first), _AWAIT_READ, _AWAIT_READ]


def _hold(node: int, point: str) -> Event:
    return Event(0.0, "hold-at", {"node": node, "point": point})


def _go_on(node: int) -> Event:
    return Event(0.0, "go-on", {"node": node})


_OVERDUE = Event(0.0, "pass", {"seconds": OVERDUE})
_AWAIT_READ = Event(0.0, "await-read")
_AWAIT_ANSWERS = Event(0.0, "await-answers")

SCENES: tuple[Callable[[_Cancels, int, int, Event], list[Event]], ...] = (
    _two_at_once,
    _silent_owner,
    _unclear_end,
    _killed_after_the_write,
    _negative_read,
    _background_reads,
)
