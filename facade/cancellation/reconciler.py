"""Looks into doubt in the background, reading only; any number may run at once, none is elected."""

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
from facade.cancellation.states import DOUBTFUL, IN_FLIGHT, State
from facade.cancellation.timers import Timers
from facade.deadline import deadline
from facade.errors import Unavailable
from facade.ledger.maintenance import TOLD_EVERY, Presence
from facade.ledger.tables import Row
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource

log = structlog.get_logger()

_FIRST = ("", "")  # before every key


class Reconciler:
    """One thread looks for work, and one reads for each source that has any: a source that hangs delays no other."""

    def __init__(
        self,
        sources: Iterable[ConfiguredSource],
        repository: CancellationRepository,
        doubt: InDoubtResolver,
        timers: Timers,
        budget: Budget,
        presence: Presence | None = None,
    ) -> None:
        self._sources = {source.name: source for source in sources}
        self._repository = repository
        self._doubt = doubt
        self._timers = timers
        self._budget = budget
        self._presence = presence
        self._next_telling = 0.0  # monotonic
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._lock = threading.Lock()
        self._busy: set[str] = set()
        self._next_sweep = 0.0  # monotonic
        self._swept_to = _FIRST

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread = threading.Thread(target=self._run, name="reconciler", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End after the reads at hand."""
        self._stopping.set()

    def wait(self, seconds: float = math.inf) -> None:
        """Until stopped, or for so long."""
        ends_at = time.monotonic() + seconds
        while self._thread is not None and self._thread.is_alive() and time.monotonic() < ends_at:
            self._thread.join(min(1.0, seconds))

    def tick(self, source: ConfiguredSource) -> bool:
        """Do what is due for one source: end silences, then at most one read. Whether there was a read."""
        self._end_silences()
        return any(self._read(source, row) for row in self._due().get(source.name, []))

    def _run(self) -> None:
        while not self._stopping.is_set():
            self.tell()
            self._repository.observed.steady()  # so that a clock that is set is seen to be, whenever that is
            try:
                self._end_silences()
                for name, rows in self._due().items():
                    self._begin(name, rows)
            except Unavailable:
                log.warning("reconciler-without-ledger")
            except Exception as error:  # noqa: BLE001 - nothing must end the looking
                log.error("reconciler-failed", error=type(error).__name__, where=where(error))
            self._stopping.wait(self._timers.tick)
        self.leave()

    def leave(self) -> None:
        """This process does not work on the ledger any more."""
        if self._presence is not None:
            with suppress(Unavailable):
                self._presence.leave()

    def others(self) -> list[str]:
        """The other processes that work on the ledger."""
        return self._presence.others() if self._presence is not None else []

    def tell(self) -> None:
        """Let those who maintain the ledger see that this process works on it; now and then is enough."""
        now = time.monotonic()
        if self._presence is None or now < self._next_telling:
            return
        try:
            self._presence.tell()
            self._next_telling = now + TOLD_EVERY
        except Unavailable:
            log.warning("reconciler-without-ledger")

    def _end_silences(self) -> None:
        """Judge the claims and writes whose owners this process has seen silent for too long."""
        for row in self._repository.ledger.in_flight():
            source = self._sources.get(row.source)
            if source is None:
                continue
            try:
                if row.state == State.CLAIMED and self._repository.lease_is_over(row):
                    self._repository.abandoned(row)
                elif row.state == State.SENDING and self._repository.silence_is_doubt(row):
                    self._repository.doubt(row, "owner-lost", readable=source.readable)
            except Unavailable:  # one row that is locked keeps no other waiting
                log.warning("row-not-settled", source=row.source)

    def _due(self) -> dict[str, list[Row]]:
        """The rows to read now, by source; of sources that are configured and not being read."""
        found = defaultdict(list)
        for row in [*self._repository.ledger.due(), *self._swept()]:
            if row.source in self._sources and row.state not in IN_FLIGHT and row.source not in self._busy:
                found[row.source].append(row)
        return found

    def _swept(self) -> Iterator[Row]:
        """The rows whose next read this process has seen put off for as long as it was to be: it is due, whatever the
        clock says that wrote when. Goes through some of the scheduled rows a time, through all in turn.
        """
        ledger = self._repository.ledger
        now = ledger.clock.monotonic()
        if self._swept_to == _FIRST and now < self._next_sweep:
            return
        rows = ledger.scheduled(self._swept_to)
        self._next_sweep, self._swept_to = now + self._timers.sweep, rows[-1].key if rows else _FIRST
        for seen in rows:
            if seen.state in DOUBTFUL:
                self._repository.observed.in_state(seen)  # whoever takes the last read must have watched all the time
            if self._repository.observed.due_unchanged(seen) >= (seen.read_in or 0.0) + self._timers.tick:
                row = ledger.find(seen.key)
                if row is not None and (row.attempt_number, row.read_due) == (seen.attempt_number, seen.read_due):
                    yield row

    def _begin(self, name: str, rows: list[Row]) -> None:
        with self._lock:
            if name in self._busy:
                return
            self._busy.add(name)
        try:
            threading.Thread(target=self._read_all, args=(name, rows), name=f"reconcile-{name}", daemon=True).start()
        except RuntimeError:  # the system has no more threads just now
            with self._lock:
                self._busy.discard(name)
            log.warning("reconciler-without-thread", source=name)

    def _read_all(self, name: str, rows: list[Row]) -> None:
        try:
            for row in rows:
                if not self._stopping.is_set():
                    self._read(self._sources[name], row)
        finally:
            with self._lock:
                self._busy.discard(name)

    def _read(self, source: ConfiguredSource, row: Row) -> bool:
        """Take the read and make it; False where another took it or the ledger failed."""
        try:
            taken = self._repository.take_due(row)
            if taken is None:
                return False
            self._repository.ledger.crash_point("after-take")
            with deadline(self._budget.write):
                self._doubt.look(source, taken, self._budget.write, who="reconciler", scheduled=True)
        except Unavailable:
            log.warning("row-not-settled", source=source.name)
            return False
        except Exception as error:  # noqa: BLE001 - one row's bad luck must not end the looking
            log.error("reconciler-failed", source=source.name, error=type(error).__name__, where=where(error))
            return False
        return True
