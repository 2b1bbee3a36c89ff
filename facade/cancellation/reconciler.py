"""Resolve doubt in the background, by reading only. Any number of reconcilers may run at once; none is elected."""

import math
import threading
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import suppress

import structlog

from facade.cancellation.budget import Budget
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.results import OWNER_LOST
from facade.cancellation.states import IN_FLIGHT, UNRESOLVED, State
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.deadline import deadline
from facade.errors import Unavailable
from facade.ledger.maintenance import ANNOUNCED_EVERY, Presence
from facade.ledger.tables import Row
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource

log = structlog.get_logger()

_RECONCILER = Requester("reconciler")
_FIRST = ("", "")  # before every key


class Reconciler:
    """Finds due work in one thread, and does it in a thread for each source, so one that hangs delays no other."""

    def __init__(
        self,
        sources: Iterable[ConfiguredSource],
        repository: CancellationRepository,
        resolver: InDoubtResolver,
        timers: Timers,
        budget: Budget,
        presence: Presence | None = None,
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._repository = repository
        self._resolver = resolver
        self._timers = timers
        self._budget = budget
        self._presence = presence
        self._next_announcement = 0.0  # monotonic
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._next_sweep = 0.0  # monotonic
        self._swept_to = _FIRST

    def start(self) -> None:
        """Start the thread that finds work."""
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the probes that are under way."""
        self._stopping.set()

    def wait(self, seconds: float = math.inf) -> None:
        """Wait until the thread has ended, at most for so many seconds."""
        ends_at = time.monotonic() + seconds
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < ends_at:
            self._thread.join(min(1.0, seconds))

    def tick(self, source: ConfiguredSource) -> bool:
        """Do what is due for one source: end silent attempts, then at most one probe. Return whether one was made."""
        self._end_silent_attempts()
        return any(self._probe(source, row) for row in self._due().get(source.name, []))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.announce()
            self._repository.observed.steady()  # so that this process notices whenever the clock is set
            try:
                self._end_silent_attempts()
                for name, rows in self._due().items():
                    self._start_probes(name, rows)
            except Unavailable:
                log.warning("reconciler-without-ledger")
            except Exception as error:  # noqa: BLE001 - nothing may end the reconciler
                log.error("reconciler-failed", error=type(error).__name__, where=where(error))
            self._stopping.wait(self._timers.tick)
        self.leave()

    def leave(self) -> None:
        """Record that this process no longer works on the ledger."""
        if self._presence is not None:
            with suppress(Unavailable):
                self._presence.leave()

    def others(self) -> list[str]:
        """Return the other processes that work on the ledger."""
        return self._presence.others() if self._presence is not None else []

    def announce(self) -> None:
        """Record from time to time that this process works on the ledger, for those who maintain it."""
        now = time.monotonic()
        if self._presence is None or now < self._next_announcement:
            return
        try:
            self._presence.announce()
            self._next_announcement = now + ANNOUNCED_EVERY
        except Unavailable:
            log.warning("reconciler-without-ledger")

    def _end_silent_attempts(self) -> None:
        """Record what follows for the claims and writes whose owners this process has seen silent for too long."""
        for row in self._repository.in_flight():
            source = self._sources.get(row.source)
            if source is None:
                continue
            try:
                if row.state == State.CLAIMED and self._repository.lease_expired(row):
                    self._repository.record_abandoned(row)
                elif row.state == State.SENDING and self._repository.owner_is_silent(row):
                    self._repository.record_doubt(row, OWNER_LOST, readable=source.readable)
            except Unavailable:  # one row that is locked delays no other
                log.warning("row-not-resolved", source=row.source)

    def _due(self) -> dict[str, list[Row]]:
        """Return the rows to probe now, by source, for the configured sources that are not being probed."""
        found = defaultdict(list)
        for row in [*self._repository.due(), *self._swept()]:
            if row.source in self._sources and row.state not in IN_FLIGHT and row.source not in self._busy:
                found[row.source].append(row)
        return found

    def _swept(self) -> Iterator[Row]:
        """Yield the rows whose next probe this process has seen pending for its whole delay.

        Such a probe is due even if another host's clock wrote the due time. Each call goes through some of the
        scheduled rows, and all calls through all in turn.
        """
        now = self._repository.clock.monotonic()
        if self._swept_to == _FIRST and now < self._next_sweep:
            return
        rows = self._repository.scheduled(self._swept_to)
        self._next_sweep, self._swept_to = now + self._timers.sweep, rows[-1].key if rows else _FIRST
        for seen in rows:
            if seen.state in UNRESOLVED:
                # The process that makes the last probe must have observed the row throughout.
                self._repository.observed.in_state(seen)
            if self._repository.observed.due_unchanged(seen) >= (seen.read_in or 0.0) + self._timers.tick:
                row = self._repository.find(seen.key)
                if row is not None and (row.attempt_number, row.read_due) == (seen.attempt_number, seen.read_due):
                    yield row

    def _start_probes(self, name: str, rows: list[Row]) -> None:
        with self._lock:
            if name in self._busy:
                return
            self._busy.add(name)
        try:
            threading.Thread(target=self._probe_all, args=(name, rows), name=f"reconcile-{name}", daemon=True).start()
        except RuntimeError:  # the operating system has no more threads at the moment
            with self._lock:
                self._busy.discard(name)
            log.warning("reconciler-without-thread", source=name)

    def _probe_all(self, name: str, rows: list[Row]) -> None:
        try:
            for row in rows:
                if not self._stopping.is_set():
                    self._probe(self._sources[name], row)
        finally:
            with self._lock:
                self._busy.discard(name)

    def _probe(self, source: ConfiguredSource, row: Row) -> bool:
        """Take the probe and make it. Return False if another process took it, or if the ledger failed."""
        try:
            taken = self._repository.take_due(row)
            if taken is None:
                return False
            self._repository.crash_point("after-take")
            with deadline(self._budget.write):
                self._resolver.probe(source, taken, self._budget.write, _RECONCILER, scheduled=True)
        except Unavailable:
            log.warning("row-not-resolved", source=source.name)
            return False
        except Exception as error:  # noqa: BLE001 - a failure at one row may not end the others' probes
            log.error("reconciler-failed", source=source.name, error=type(error).__name__, where=where(error))
            return False
        return True
