"""A source's own log: every request as it was received, numbered and dated."""

import itertools
import threading
from dataclasses import dataclass, replace
from typing import Any, Literal

from facade.plugin.contract import utc_now
from facade.testing.simulator.faults import Operation


@dataclass(frozen=True, kw_only=True)
class LogEntry:
    """One request as the source saw it, written before the first byte of an answer leaves.

    ``operation`` and ``appointment`` are None for a request that is neither a read nor a cancel. ``changed``
    says whether it changed the source's state, ``status`` the answer's status, None where no answer was sent.
    ``path`` is the raw target below the source's prefix, ``body`` the parsed JSON, or the text if it is none;
    nothing of the headers is kept. A cancel applied late adds an entry of its own, operation ``late-commit``
    without method and path: it is no request. ``time`` is the real one, whatever the clock was set to.
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
    """A source's append-only log; a number is never given twice, not even after a clear. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._entries: list[LogEntry] = []

    def record(self, entry: LogEntry) -> None:
        """Append, numbered and dated."""
        with self._lock:
            now = utc_now().isoformat().replace("+00:00", "Z")
            self._entries.append(replace(entry, number=next(self._numbers), time=now))

    def entries(self, appointment_id: str | None = None) -> list[LogEntry]:
        """What was recorded, of one appointment or of all, oldest first."""
        with self._lock:
            return [entry for entry in self._entries if appointment_id in (None, entry.appointment)]

    @property
    def last(self) -> int:
        """The number of the newest entry, 0 if there is none."""
        with self._lock:
            return self._entries[-1].number if self._entries else 0

    def count(self, operation: Operation, appointment_id: str | None = None) -> int:
        """How many requests of this kind were received, answered or not."""
        return sum(entry.operation == operation for entry in self.entries(appointment_id))

    def clear(self) -> None:
        """Forget all entries."""
        with self._lock:
            self._entries = []
