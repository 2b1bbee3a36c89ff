"""The table of faults: what a misbehaving source does with one request. Also which faults are armed, and chance."""

import random
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from typing import Literal

Operation = Literal["cancel", "read"]


class Commit(Enum):
    """Whether a cancel that meets the fault changes the source."""

    NO = "no"
    YES = "yes"
    LATE = "late"


class Behaviour(Enum):
    """What the client gets instead of the proper response, in words that follow "the source …"."""

    SILENCE = "never responds"
    RESET = "resets the connection"
    SERVER_ERROR = "responds with 500"
    HTML_404 = "is hidden behind a gateway's HTML 404"
    JSON_404 = "is hidden behind a gateway's JSON 404"
    HTML_502 = "is hidden behind a gateway's HTML 502"
    UNAUTHORIZED = "rejects the credentials, in its own error shape"
    REFUSED = "refuses by a business rule, in its own error shape"
    THROTTLED = "reports too many requests, in its own error shape"
    THROTTLED_FOR = "reports too many requests and how long to wait, in its own error shape"
    ACCEPTED_202 = "responds with 202 and an empty JSON object"
    EMPTY_200 = "responds with 200 and an empty body"
    HTML_200 = "responds with 200 and an HTML page"
    GARBAGE_200 = "responds with 200 and meaningless bytes"
    OTHER_JSON_200 = "responds with 200 and JSON of another shape"
    UNCHANGED_200 = "responds with 200 and the unchanged appointment"
    ERROR_200 = "responds with 200 and a refusal in its own error shape"
    ABOUT_ANOTHER = "responds with a success that is about another appointment"
    CUT_HEADERS = "closes the connection inside the headers of its response"
    CUT_BODY = "closes the connection halfway through the body of its response"
    SLOW_DRIP = "responds with one byte a second, from the first byte of the status line"
    ENDLESS = "responds with 200 and a body that never ends"
    TWICE = "sends its proper response twice on one connection"
    REDIRECT = "responds with 302 to another of its own paths"


RETRY_AFTER = 7
"""The seconds in ``Retry-After`` of THROTTLED_FOR, for a simulator without a header of its own."""


@dataclass(frozen=True)
class Fault:
    """One way to misbehave on one operation. A read changes nothing."""

    name: str
    operation: Operation
    commit: Commit
    behaviour: Behaviour

    @property
    def description(self) -> str:
        """Describe the fault to a tester in one sentence."""
        if self.operation == "read":
            return f"On a read, the source {self.behaviour.value}."
        applied = {
            Commit.NO: "The cancel is not applied",
            Commit.YES: "The cancel is applied",
            Commit.LATE: "The cancel is applied some seconds later",
        }
        return f"{applied[self.commit]}; the source {self.behaviour.value}."

    @property
    def ends_in(self) -> Literal["cancelled", "proposed"]:
        """Return the status in which a cancel through the facade ends while the source otherwise works.

        The facade reads, sends once and, if the outcome is unknown, reads again and trusts that read. So the status is
        ``cancelled`` exactly if the cancel was applied before that read. If the first read fails, nothing is sent.
        """
        return "cancelled" if self.commit is Commit.YES else "proposed"


_CANCEL = (
    ("timeout-before-commit", Commit.NO, Behaviour.SILENCE),
    ("timeout-after-commit", Commit.YES, Behaviour.SILENCE),
    ("reset-before-commit", Commit.NO, Behaviour.RESET),
    ("reset-after-commit", Commit.YES, Behaviour.RESET),
    ("500-before-commit", Commit.NO, Behaviour.SERVER_ERROR),
    ("500-after-commit", Commit.YES, Behaviour.SERVER_ERROR),
    ("html-404", Commit.NO, Behaviour.HTML_404),
    ("json-404", Commit.NO, Behaviour.JSON_404),
    ("html-502", Commit.NO, Behaviour.HTML_502),
    ("unauthorized", Commit.NO, Behaviour.UNAUTHORIZED),
    ("refused", Commit.NO, Behaviour.REFUSED),
    ("throttled", Commit.NO, Behaviour.THROTTLED),
    ("throttled-retry-after", Commit.NO, Behaviour.THROTTLED_FOR),
    ("accepted-202", Commit.NO, Behaviour.ACCEPTED_202),
    ("empty-200", Commit.YES, Behaviour.EMPTY_200),
    ("html-200", Commit.YES, Behaviour.HTML_200),
    ("garbage-200", Commit.YES, Behaviour.GARBAGE_200),
    ("other-json-200", Commit.YES, Behaviour.OTHER_JSON_200),
    ("unchanged-200", Commit.NO, Behaviour.UNCHANGED_200),
    ("error-200", Commit.NO, Behaviour.ERROR_200),
    ("success-about-another", Commit.NO, Behaviour.ABOUT_ANOTHER),
    ("cut-headers", Commit.YES, Behaviour.CUT_HEADERS),
    ("cut-body", Commit.YES, Behaviour.CUT_BODY),
    ("slow-drip", Commit.YES, Behaviour.SLOW_DRIP),
    ("endless", Commit.YES, Behaviour.ENDLESS),
    ("answer-twice", Commit.YES, Behaviour.TWICE),
    ("redirect", Commit.NO, Behaviour.REDIRECT),
    ("late-commit", Commit.LATE, Behaviour.SILENCE),
)

_READ = (
    ("read-timeout", Behaviour.SILENCE),
    ("read-reset", Behaviour.RESET),
    ("read-500", Behaviour.SERVER_ERROR),
    ("read-html-404", Behaviour.HTML_404),
    ("read-json-404", Behaviour.JSON_404),
    ("read-html-502", Behaviour.HTML_502),
    ("read-unauthorized", Behaviour.UNAUTHORIZED),
    ("read-refused", Behaviour.REFUSED),
    ("read-throttled", Behaviour.THROTTLED),
    ("read-throttled-retry-after", Behaviour.THROTTLED_FOR),
    ("read-accepted-202", Behaviour.ACCEPTED_202),
    ("read-empty-200", Behaviour.EMPTY_200),
    ("read-html-200", Behaviour.HTML_200),
    ("read-garbage-200", Behaviour.GARBAGE_200),
    ("read-other-json-200", Behaviour.OTHER_JSON_200),
    ("read-error-200", Behaviour.ERROR_200),
    ("read-cut-headers", Behaviour.CUT_HEADERS),
    ("read-cut-body", Behaviour.CUT_BODY),
    ("read-slow-drip", Behaviour.SLOW_DRIP),
    ("read-endless", Behaviour.ENDLESS),
    ("read-redirect", Behaviour.REDIRECT),
)

FAULTS: dict[str, Fault] = {
    **{name: Fault(name, "cancel", commit, behaviour) for name, commit, behaviour in _CANCEL},
    **{name: Fault(name, "read", Commit.NO, behaviour) for name, behaviour in _READ},
}
"""Every fault by its name, in the order in which testers see them."""


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Delays in seconds: the longest silence, the pause between two dripped bytes, the time until a late commit."""

    silence: float = 30.0
    drip: float = 1.0
    late_commit: float = 6.0


@dataclass(frozen=True)
class Armed:
    """A fault that is armed for one appointment. ``times``: for how many more requests, None for all."""

    appointment: str
    fault: Fault
    times: int | None = None


@dataclass(frozen=True)
class Chance:
    """Faults by chance, for this share (0 to 1) of the requests that meet no armed fault.

    The seed, the appointment, the operation and the number of such requests before it decide which fault a request
    meets, so a run can be repeated whatever the order of its threads. ``behaviours`` is what the source's transport
    can show.
    """

    seed: int
    share: float
    behaviours: frozenset[Behaviour] = frozenset(Behaviour)

    def draw(self, appointment_id: str, operation: Operation, number: int) -> Fault | None:
        """Return the fault of the ``number``-th such request, None if it meets no fault."""
        chance = random.Random(f"{self.seed}/{appointment_id}/{operation}/{number}")  # noqa: S311 - a tester's dice
        if chance.random() >= self.share:
            return None
        possible = [
            fault for fault in FAULTS.values() if fault.operation == operation and fault.behaviour in self.behaviours
        ]
        return chance.choice(possible) if possible else None


class ArmedFaults:
    """The armed faults of one simulator: at most one for each appointment and operation. Thread-safe.

    ``chance``, if it is set, decides for requests that meet no armed fault.
    """

    def __init__(self) -> None:
        self.chance: Chance | None = None
        self._lock = threading.Lock()
        self._armed: dict[tuple[str, Operation], Armed] = {}
        self._taken: Counter[tuple[str, Operation]] = Counter()

    def arm(self, appointment_id: str, fault: Fault, times: int | None = None) -> None:
        """Arm a fault in place of the one that was armed for this appointment and operation."""
        with self._lock:
            self._armed[appointment_id, fault.operation] = Armed(appointment_id, fault, times)

    def take(self, appointment_id: str, operation: Operation) -> Fault | None:
        """Return the fault that this request meets, and count one use of it."""
        with self._lock:
            self._taken[appointment_id, operation] += 1
            armed = self._armed.pop((appointment_id, operation), None)
            if armed is None:
                number = self._taken[appointment_id, operation]
                return self.chance.draw(appointment_id, operation, number) if self.chance else None
            left = None if armed.times is None else armed.times - 1
            if left != 0:
                self._armed[appointment_id, operation] = Armed(appointment_id, armed.fault, left)
            return armed.fault

    def disarm(self, appointment_id: str | None = None) -> None:
        """Disarm the faults of one appointment, or all faults."""
        with self._lock:
            if appointment_id is None:
                self._taken.clear()
            kept = {} if appointment_id is None else self._armed
            self._armed = {key: armed for key, armed in kept.items() if key[0] != appointment_id}

    def __iter__(self) -> Iterator[Armed]:
        with self._lock:
            return iter(list(self._armed.values()))
