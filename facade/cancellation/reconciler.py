"""Looks into doubt in the background, reading only; any number may run at once, none is elected."""

import threading
from collections.abc import Iterable

import structlog

from facade.cancellation.budget import Budget
from facade.cancellation.doubt import Doubt
from facade.cancellation.records import Records
from facade.cancellation.states import DOUBTFUL, IN_FLIGHT, State
from facade.cancellation.timers import Timers
from facade.deadline import deadline
from facade.errors import Unavailable
from facade.log import where
from facade.registry import Source

log = structlog.get_logger()


class Reconciler:
    """One thread a source, so that a source that hangs keeps no other's doubt waiting."""

    def __init__(
        self, sources: Iterable[Source], records: Records, doubt: Doubt, timers: Timers, budget: Budget
    ) -> None:
        self._sources = tuple(sources)
        self._records = records
        self._doubt = doubt
        self._timers = timers
        self._budget = budget
        self._stopping = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        """Begin, in threads of its own."""
        for source in self._sources:
            thread = threading.Thread(target=self._run, args=(source,), name=f"reconcile-{source.name}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """End after the read at hand."""
        self._stopping.set()

    def wait(self) -> None:
        """Until stopped."""
        for thread in self._threads:
            while thread.is_alive():
                thread.join(1.0)

    def tick(self, source: Source) -> bool:
        """Do what is due for one source: end silences, then at most one read. Whether there was a read."""
        ledger = self._records.ledger
        longest = max(*self._timers.reads, source.settle_window) * 1.2 + self._timers.hold
        rows, due = ledger.unsettled(source.name, [*IN_FLIGHT, State.IN_DOUBT], longest=longest)
        for row in rows:
            if row.state == State.CLAIMED:
                self._records.abandoned(row)
            elif row.state == State.SENDING and self._records.silence_is_doubt(row):
                self._records.doubt(row, "owner-lost")
        doubtful = [row for row in rows if row.state in DOUBTFUL]
        for row in doubtful:
            self._doubt.watch.see(row)
        self._doubt.watch.keep_only(source.name, doubtful)
        for row in due:
            taken = None if row.state in IN_FLIGHT else ledger.take_due(row, hold=self._timers.hold)
            if taken is not None:
                ledger.crash_point("after-take")
                with deadline(self._budget.write):
                    self._doubt.look(source, taken, self._budget.write, who="reconciler")
                return True
        return False

    def _run(self, source: Source) -> None:
        while not self._stopping.is_set():
            try:
                busy = self.tick(source)
            except Unavailable:
                log.warning("reconciler-without-ledger", source=source.name)
                busy = False
            except Exception as error:  # noqa: BLE001 - one source's bad luck must not end the looking
                log.error("reconciler-failed", source=source.name, error=type(error).__name__, where=where(error))
                busy = False
            if not busy:
                self._stopping.wait(self._timers.tick)
