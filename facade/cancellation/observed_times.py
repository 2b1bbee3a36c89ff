"""How long this process has observed a row, by its own monotonic clock and never by another host's clock."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

from facade.cancellation.states import UNRESOLVED
from facade.clock import Clock
from facade.ledger.tables import Row

_MAX_OBSERVATIONS = 100_000  # observations kept at once; to forget one only delays a decision about it
_CLOCK_STEP = 30.0  # seconds by which the wall clock may differ from the monotonic clock before it counts as set


class ObservedTimes:
    """Seconds for which this process has observed a row in its present state, or with its present due time.

    The wall clocks of two hosts may differ by any time, and a clock may be set. So no lease, silence or settle window
    is measured by comparing a time that another process wrote with this process's clock. It is measured only by how
    long this process itself has observed the same thing. The observation starts after the change, so it never
    overestimates. Thread-safe.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: OrderedDict[Hashable, float] = OrderedDict()
        self._set_at = clock.monotonic()  # this process does not know what happened before it started
        self._offset = clock.now() - self._set_at  # of the wall clock from the monotonic clock

    def in_state(self, row: Row) -> float:
        """Return for how long the row has been in its state; of a row in doubt, how long its attempt has been."""
        # Probes change a row in doubt and it stays the same doubt. Any other change is a new claim or a new write.
        marker = None if row.state in UNRESOLVED else (row.state, row.changed_at)
        return self._seen(("state", row.key, row.attempt_number, marker))

    def due_unchanged(self, row: Row) -> float:
        """Return for how long the due time of the row's next probe has not changed."""
        return self._seen(("due", row.key, row.attempt_number, row.read_due))

    def steady(self) -> float:
        """Return for how long the wall clock has run without being set, as far as this process observed."""
        now = self._clock.monotonic()
        offset = self._clock.now() - now
        with self._lock:
            if abs(offset - self._offset) > _CLOCK_STEP:
                self._set_at = now
            self._offset = offset
            return now - self._set_at

    def _seen(self, observed: Hashable) -> float:
        now = self._clock.monotonic()
        with self._lock:
            since = self._since.setdefault(observed, now)
            self._since.move_to_end(observed)
            while len(self._since) > _MAX_OBSERVATIONS:
                self._since.popitem(last=False)
        return now - since
