"""The protocol of behaving simulators: a source system's appointments, its clock and its own log.

A plugin writes the four abstract methods of ``Simulator``; ``app``, ``operation`` and ``refusal`` are the source's
HTTP side, used by ``facade.testing.simulator.transport`` alone. A source that is not HTTP extends ``BareSimulator``,
which knows no transport, and brings a server of its own: ``listener``.
"""

import copy
import secrets
import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from facade.testing.simulator.clock import Clock
from facade.testing.simulator.faults import FAULTS, ArmedFaults, Behaviour, Fault, Operation, Timings
from facade.testing.simulator.instants import moved
from facade.testing.simulator.request_log import LogEntry, RequestLog

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["BareSimulator", "Clock", "Connections", "LogEntry", "Native", "Refusal", "RequestLog", "Simulator"]

Native = dict[str, Any]
"""An appointment in the source's own format."""

Refusal = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]
"""An HTTP status, a body that becomes JSON, and headers, where the source says something with them."""


class Connections:
    """How many connections a source has open, and had at most since the last reset. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self.most = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Count one connection for the length of the block; end it before the answer's last byte leaves."""
        with self._lock:
            self._open += 1
            self.most = max(self.most, self._open)
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1

    def reset(self) -> None:
        """Forget how many there were."""
        with self._lock:
            self.most = self._open


class BoundedLock:
    """A reentrant lock for ``with`` that is waited for no longer than ``limit`` seconds.

    A test that leaves a request hanging under it then fails the next one, rather than making it wait for ever.
    """

    def __init__(self, limit: float = 60.0) -> None:
        self._lock = threading.RLock()
        self._limit = limit

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._limit):
            raise TimeoutError(f"a request has held the simulator's lock for {self._limit:g} seconds")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


class BareSimulator(ABC):
    """A source system that behaves, without a transport: a plugin's state machine over the appointments kept here.

    Requests are handled under ``lock``, so a plugin needs none of its own and the log can tell which
    request changed the state. ``epoch`` counts the resets: what is to happen late checks it.
    """

    fault_id = "apt_{}"
    """The id of the appointment that a fault is armed for from the start, around the fault's name."""

    behaviours: frozenset[Behaviour] = frozenset(Behaviour)
    """The misbehaviour that its transport can show; a fault with any other answer is not tried on it."""

    ended_id: str | None = None
    """A seeded appointment that is over, so that the source refuses to cancel it; None if there is no such thing."""

    odd_status_id: str | None = None
    """A seeded appointment whose native status has no FHIR word; None if there is no such thing."""

    def __init__(self) -> None:
        self.lock = BoundedLock()
        self.clock = Clock()  # the host puts its own here, one for all sources
        self.log = RequestLog()
        self.faults = ArmedFaults()
        self.connections = Connections()
        self.revision = 0
        self.epoch = 0
        self._appointments: dict[str, Native] = {}

    @abstractmethod
    def seeds(self, now: datetime) -> Mapping[str, Native]:
        """The appointments to begin with, by id, among them an ordinary one for each of ``fault_ids()``.

        Something of every patient in them holds the word CANARY, which no log may hold.
        """

    def fault_ids(self) -> dict[str, Fault]:
        """The appointments that have a fault for ever, by id; one whose fault cannot be shown has none."""
        return {self.fault_id.format(name): fault for name, fault in FAULTS.items()}

    def shown_faults(self) -> dict[str, Fault]:
        """Those of ``fault_ids()`` whose fault the transport can show; the others are ordinary appointments."""
        return {one: fault for one, fault in self.fault_ids().items() if fault.behaviour in self.behaviours}

    def listener(self, host: str, port: int, timings: Timings) -> AbstractContextManager[str] | None:
        """Serve the source's own transport at this address until the block ends; gives the address as settings name it.

        For a source that is not HTTP. Port 0 is any free one. None: there is no such server, and ``facade sandbox``
        leaves the source out.
        """
        return None

    def new_id(self) -> str:
        """An id that no one has; like the faults' ids, so override it where those are not of ``fault_id``'s form."""
        return self.fault_id.format(secrets.token_hex(8))

    def equal_ids(self, appointment_id: str) -> tuple[str, ...]:
        """Other spellings of an id that the source takes for the same appointment; none by default.

        A request by any of them is logged, and meets faults, under the id as it is kept here.
        """
        return ()

    def reset(self) -> None:
        """State and faults as seeded, an empty log."""
        with self.lock:
            self.epoch += 1
            self.revision += 1
            self._appointments = copy.deepcopy(dict(self.seeds(self.clock.now())))
            self.faults.disarm()
            for appointment_id, fault in self.shown_faults().items():
                self.faults.arm(appointment_id, fault)
            self.log.clear()
            self.connections.reset()

    def get(self, appointment_id: str) -> Native | None:
        """A copy of the appointment, None if there is none."""
        with self.lock:
            return copy.deepcopy(self._appointments.get(appointment_id))

    def put(self, appointment_id: str, native: Native) -> None:
        """Create or replace it, exactly as given."""
        with self.lock:
            self.revision += 1
            self._appointments[appointment_id] = copy.deepcopy(native)

    def patch(self, appointment_id: str, changes: Native) -> Native | None:
        """Apply a JSON merge patch (RFC 7396); the appointment afterwards, None if there is none."""
        with self.lock:
            native = self.get(appointment_id)
            if native is None:
                return None
            self.put(appointment_id, _merge(native, changes))
            return self.get(appointment_id)

    def move(self, appointment_id: str, by: timedelta) -> Native | None:
        """Move every instant in it; the appointment afterwards, None if there is none. Raises OverflowError."""
        with self.lock:
            native = self.get(appointment_id)
            if native is None:
                return None
            self.put(appointment_id, moved(native, by))
            return self.get(appointment_id)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo at the block's end what is done to the appointments inside it."""
        with self.lock:
            kept, revision = copy.deepcopy(self._appointments), self.revision
            try:
                yield
            finally:
                self._appointments, self.revision = kept, revision

    def remove(self, appointment_id: str) -> bool:
        """Remove it; False if there was none."""
        with self.lock:
            self.revision += 1
            return self._appointments.pop(appointment_id, None) is not None


class Simulator(BareSimulator):
    """A source system that behaves, with its API over HTTP."""

    @abstractmethod
    def app(self) -> "WSGIApplication":
        """Build the source's API, mounted below a prefix by the host; called once."""

    @abstractmethod
    def operation(self, method: str, path: str) -> tuple[Operation, str] | None:
        """What a request means and the appointment it is about; None if it is neither read nor cancel.

        ``path`` is decoded and begins with a slash, without the host's prefix.
        """

    @abstractmethod
    def refusal(self, behaviour: Behaviour) -> Refusal:
        """Status, JSON and, where it has any, headers with which the source says UNAUTHORIZED, REFUSED and THROTTLED.

        In its own shape. Headers of THROTTLED say how long the source wants to be left alone, if it has a header of
        its own for that; without any, THROTTLED_FOR is shown with ``Retry-After``.
        """


def _merge(target: Any, patch: Any) -> Any:
    """RFC 7396, section 2."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value)
    return merged
