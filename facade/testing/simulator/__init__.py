"""The base classes of simulators. A simulator has a source system's appointments, its clock and its request log.

A plugin writes the four abstract methods of ``Simulator``. ``app``, ``operation`` and ``refusal`` are the source's HTTP
side; only ``facade.testing.simulator.transport`` uses them. The simulator of a source that is not HTTP extends
``BareSimulator``, which has no transport, and serves its own: ``listener``.
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
from facade.testing.simulator.native_records import Native, moved, patched
from facade.testing.simulator.request_log import LogEntry, RequestLog

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

__all__ = ["BareSimulator", "Clock", "Connections", "LogEntry", "Native", "Refusal", "RequestLog", "Simulator"]

Refusal = tuple[int, Any] | tuple[int, Any, Mapping[str, str]]
"""An HTTP status, a body that becomes JSON, and the headers that belong to it, if there are any."""


class Connections:
    """Counts a source's open connections, and their peak since the last reset. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self.peak = 0

    @contextmanager
    def open(self) -> Iterator[None]:
        """Count one connection for the length of the block. End the block before the last byte of the response."""
        with self._lock:
            self._open += 1
            self.peak = max(self.peak, self._open)
        try:
            yield
        finally:
            with self._lock:
                self._open -= 1

    def reset(self) -> None:
        """Restart the peak at the number of connections that are open now."""
        with self._lock:
            self.peak = self._open


class BoundedLock:
    """A reentrant lock for ``with``. To wait for it longer than ``limit`` seconds raises TimeoutError.

    If a test leaves a request hanging that holds the lock, the next test fails instead of waiting for ever.
    """

    def __init__(self, limit: float = 60.0) -> None:
        self._lock = threading.RLock()
        self._limit = limit

    def __enter__(self) -> None:
        if not self._lock.acquire(timeout=self._limit):
            raise TimeoutError(f"a request has held the simulator's lock for {self._limit:g} seconds")

    def __exit__(self, *_: object) -> None:
        self._lock.release()


def _copied(native: Any) -> Any:
    """Copy like ``copy.deepcopy``, but several times as fast for dicts and lists: every reset copies all seeds."""
    if type(native) is dict:
        return {name: _copied(member) for name, member in native.items()}
    if type(native) is list:
        return [_copied(member) for member in native]
    return native if native is None or type(native) in {str, int, float, bool} else copy.deepcopy(native)


class BareSimulator(ABC):
    """A simulator without a transport: it stores the appointments that a plugin's state machine changes.

    Requests are handled while ``lock`` is held, so a plugin needs no lock of its own, and the log knows which request
    changed the state. ``reset_count`` counts the resets: what happens after a delay checks that it is the same.
    """

    fault_id = "apt_{}"
    """The id of the appointment for which a fault is armed after each reset; ``{}`` is the fault's name."""

    behaviours: frozenset[Behaviour] = frozenset(Behaviour)
    """The behaviours that its transport can show; a fault with any other behaviour is not tried on it."""

    ended_id: str | None = None
    """A seeded appointment that is over, so that the source refuses to cancel it; None if there is none."""

    odd_status_id: str | None = None
    """A seeded appointment whose native status has no FHIR equivalent; None if there is none."""

    def __init__(self) -> None:
        self.lock = BoundedLock()
        self.clock = Clock()  # the host replaces it by one clock for all sources
        self.log = RequestLog()
        self.faults = ArmedFaults()
        self.connections = Connections()
        self.revision = 0
        self.reset_count = 0
        self._appointments: dict[str, Native] = {}

    @abstractmethod
    def seeds(self, now: datetime) -> Mapping[str, Native]:
        """Return the appointments after a reset, by id, with an ordinary one for each of ``fault_ids()``.

        Some patient data in each of them contains the word CANARY, which no log may contain.
        """

    def fault_ids(self) -> dict[str, Fault]:
        """Return the appointments that always fail, by id; one whose fault cannot be shown is an ordinary one."""
        return {self.fault_id.format(name): fault for name, fault in FAULTS.items()}

    def shown_faults(self) -> dict[str, Fault]:
        """Return those of ``fault_ids()`` whose fault the transport can show."""
        return {one: fault for one, fault in self.fault_ids().items() if fault.behaviour in self.behaviours}

    def listener(self, host: str, port: int, timings: Timings) -> AbstractContextManager[str] | None:
        """Serve the source's own transport at this address until the block ends.

        For a source that is not HTTP. The block gets the address in the form of the plugin's settings. Port 0 is any
        free port. Returns None if there is no such server; ``facade sandbox`` then does not serve the source.
        """
        return None

    def new_id(self) -> str:
        """Return an unused id of the form ``fault_id``. Override it if the faults' ids have another form."""
        return self.fault_id.format(secrets.token_hex(8))

    def equal_ids(self, appointment_id: str) -> tuple[str, ...]:
        """Return other spellings of an id that the source accepts for the same appointment; none by default.

        A request with any of them is logged, and meets faults, under the id as it is stored here.
        """
        return ()

    def reset(self) -> None:
        """Restore the seeded appointments and faults, and clear the log."""
        with self.lock:
            self.reset_count += 1
            self.revision += 1
            self._appointments = _copied(dict(self.seeds(self.clock.now())))
            self.faults.disarm()
            for appointment_id, fault in self.shown_faults().items():
                self.faults.arm(appointment_id, fault)
            self.log.clear()
            self.connections.reset()

    def get(self, appointment_id: str) -> Native | None:
        """Return a copy of the appointment, None if there is none."""
        with self.lock:
            found: Native | None = _copied(self._appointments.get(appointment_id))
            return found

    def put(self, appointment_id: str, native: Native) -> None:
        """Create or replace an appointment, exactly as given."""
        with self.lock:
            self.revision += 1
            self._appointments[appointment_id] = _copied(native)

    def patch(self, appointment_id: str, changes: Native) -> Native | None:
        """Apply a JSON merge patch (RFC 7396). Returns the appointment after it, None if there is none."""
        with self.lock:
            native = self.get(appointment_id)
            if native is None:
                return None
            self.put(appointment_id, patched(native, changes))
            return self.get(appointment_id)

    def move(self, appointment_id: str, by: timedelta) -> Native | None:
        """Move every instant in an appointment. Returns it after that, None if there is none. Raises OverflowError."""
        with self.lock:
            native = self.get(appointment_id)
            if native is None:
                return None
            self.put(appointment_id, moved(native, by))
            return self.get(appointment_id)

    @contextmanager
    def undone(self) -> Iterator[None]:
        """Undo at the end of the block what the block did to the appointments."""
        with self.lock:
            kept, revision = _copied(self._appointments), self.revision
            try:
                yield
            finally:
                self._appointments, self.revision = kept, revision

    def remove(self, appointment_id: str) -> bool:
        """Remove an appointment. Returns False if there was none."""
        with self.lock:
            self.revision += 1
            return self._appointments.pop(appointment_id, None) is not None


class Simulator(BareSimulator):
    """A simulator with its API over HTTP."""

    @abstractmethod
    def app(self) -> "WSGIApplication":
        """Build the source's API. The host mounts it below a prefix. Called once."""

    @abstractmethod
    def operation(self, method: str, path: str) -> tuple[Operation, str] | None:
        """Return a request's operation and its appointment id; None if it is neither a read nor a cancel.

        ``path`` is decoded, begins with a slash and does not contain the host's prefix.
        """

    @abstractmethod
    def refusal(self, behaviour: Behaviour) -> Refusal:
        """Return the source's own error response for UNAUTHORIZED, REFUSED and THROTTLED: status, JSON and headers.

        If the source has a header of its own for the time to wait, THROTTLED has it. Without headers, the transport
        shows THROTTLED_FOR with ``Retry-After``.
        """
