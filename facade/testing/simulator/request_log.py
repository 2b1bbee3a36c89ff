"""A simulator's log of the requests that it received, with numbers and times."""

import itertools
import threading
from dataclasses import dataclass, replace
from typing import Any, Literal

from facade.plugin.contract import utc_now
from facade.testing.simulator.faults import Operation


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One request, recorded before the first byte of its response is sent.

    ``operation`` and ``appointment`` are None for a request that is neither a read nor a cancel. ``changed`` states
    whether it changed the source's state. ``status`` is the response's status, None if no response was sent. ``path``
    is the raw target below the source's prefix. ``body`` is the parsed JSON, or the text if it is not JSON. Headers are
    not recorded. A cancel that is applied late adds an entry of its own, with operation ``late-commit`` and without
    method and path, because it is not a request. ``time`` is the real time, whatever the simulators' clock shows.
    """

    method: str | None = None
    path: str | None = None
    operation: Literal["cancel", "read", "late-commit"] | None = None
    appointment: str | None = None
    fault: str | None = None
    changed: bool = False
    status: int | None = None
    body: Any = None
    number: int = 0
    time: str = ""


class RequestLog:
    """An append-only log. No number is used twice, not even after a clear. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._entries: list[LogEntry] = []

    def record(self, entry: LogEntry) -> None:
        """Append an entry, with the next number and the current time."""
        with self._lock:
            now = utc_now().isoformat().replace("+00:00", "Z")
            self._entries.append(replace(entry, number=next(self._numbers), time=now))

    def entries(self, appointment_id: str | None = None) -> list[LogEntry]:
        """Return the entries of one appointment or of all, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if appointment_id in (None, entry.appointment)]

    @property
    def last(self) -> int:
        """Return the number of the newest entry, 0 if there is none."""
        with self._lock:
            return self._entries[-1].number if self._entries else 0

    def count(self, operation: Operation, appointment_id: str | None = None) -> int:
        """Count the requests of this kind that were received, with or without a response."""
        return sum(entry.operation == operation for entry in self.entries(appointment_id))

    def clear(self) -> None:
        """Remove all entries."""
        with self._lock:
            self._entries = []
