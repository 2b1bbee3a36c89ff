"""The one list of fault names: what a misbehaving source does to one request, and which are armed where."""

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
    """What the client gets instead of a proper behaviour, in words that follow "the source …"."""

    SILENCE = "never answers"
    RESET = "resets the connection"
    SERVER_ERROR = "answers 500"
    HTML_404 = "is hidden behind a gateway's HTML 404"
    JSON_404 = "is hidden behind a gateway's JSON 404"
    HTML_502 = "is hidden behind a gateway's HTML 502"
    UNAUTHORIZED = "rejects the credentials, in its own error shape"
    REFUSED = "refuses by a business rule, in its own error shape"
    THROTTLED = "says that it is asked too often, in its own error shape"
    THROTTLED_FOR = "says that it is asked too often and for how long, in its own error shape"
    ACCEPTED_202 = "answers 202 with an empty JSON object"
    EMPTY_200 = "answers 200 with an empty body"
    HTML_200 = "answers 200 with an HTML page"
    GARBAGE_200 = "answers 200 with bytes that mean nothing"
    OTHER_JSON_200 = "answers 200 with JSON of another shape"
    UNCHANGED_200 = "answers 200 with the appointment as it is"
    ERROR_200 = "answers 200 with a refusal in its own error shape inside"
    ABOUT_ANOTHER = "answers with a success that is about something else"
    CUT_HEADERS = "hangs up inside the headers of its behaviour"
    CUT_BODY = "hangs up halfway through the body of its behaviour"
    SLOW_DRIP = "answers one byte a second, from the first byte of the status line"
    ENDLESS = "answers 200 with a body that never ends"
    TWICE = "answers properly, twice on one connection"
    REDIRECT = "answers 302 to another of its own paths"


RETRY_AFTER = 7
"""Seconds that a source asks for which is asked too often, where its simulator does not say it in a way of its own."""


@dataclass(frozen=True)
class Fault:
    """One way to misbehave on one operation. A read commits nothing."""

    name: str
    operation: Operation
    commit: Commit
    behaviour: Behaviour

    @property
    def description(self) -> str:
        """One sentence for a tester."""
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
        """What a cancel through the facade ends in while the source otherwise behaves.

        The facade reads, sends once, and after anything unclear reads again and believes the read: so it
        says ``cancelled`` exactly if the cancel was applied before that read. A failing first read ends it.
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
    ("response-twice", Commit.YES, Behaviour.TWICE),
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
"""Every fault by its name, in the order testers are shown them."""


@dataclass(frozen=True, kw_only=True)
class Timings:
    """How slow slow is, in seconds: the longest silence, the pause between dripped bytes, the late commit."""

    silence: float = 30.0
    drip: float = 1.0
    late_commit: float = 6.0


@dataclass(frozen=True)
class Armed:
    """A fault waiting for requests about one appointment; ``times`` is how many more, None for all."""

    appointment: str
    fault: Fault
    times: int | None = None


@dataclass(frozen=True)
class Chance:
    """Faults by chance: this share of the requests that meet no armed one, from 0 to 1.

    Which request meets which is decided by the seed, the appointment, the operation and how many such
    requests there were before, so that a run can be repeated whatever its threads do. ``behaviours`` is what
    the source's transport can show.
    """

    seed: int
    share: float
    behaviours: frozenset[Behaviour] = frozenset(Behaviour)

    def draw(self, appointment_id: str, operation: Operation, number: int) -> Fault | None:
        """The fault of the ``number``-th such request, or none."""
        chance = random.Random(f"{self.seed}/{appointment_id}/{operation}/{number}")  # noqa: S311 - a tester's dice
        if chance.random() >= self.share:
            return None
        possible = [
            fault for fault in FAULTS.values() if fault.operation == operation and fault.behaviour in self.behaviours
        ]
        return chance.choice(possible) if possible else None


class ArmedFaults:
    """The armed faults of one simulator: at most one an appointment and operation. Thread-safe.

    ``chance``, where it is set, decides for requests that meet none.
    """

    def __init__(self) -> None:
        self.chance: Chance | None = None
        self._lock = threading.Lock()
        self._armed: dict[tuple[str, Operation], Armed] = {}
        self._taken: Counter[tuple[str, Operation]] = Counter()

    def arm(self, appointment_id: str, fault: Fault, times: int | None = None) -> None:
        """Replaces what was armed for this appointment and the fault's operation."""
        with self._lock:
            self._armed[appointment_id, fault.operation] = Armed(appointment_id, fault, times)

    def take(self, appointment_id: str, operation: Operation) -> Fault | None:
        """The fault that this request meets, used up by one."""
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
        """Forget the faults of one appointment, or all."""
        with self._lock:
            if appointment_id is None:
                self._taken.clear()
            kept = {} if appointment_id is None else self._armed
            self._armed = {key: armed for key, armed in kept.items() if key[0] != appointment_id}

    def __iter__(self) -> Iterator[Armed]:
        with self._lock:
            return iter(list(self._armed.values()))
