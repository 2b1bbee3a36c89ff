"""Since when this process has seen things as they are: by its own monotonic clock, never by another host's."""

import threading
from collections import OrderedDict
from collections.abc import Hashable

from facade.cancellation.states import DOUBTFUL
from facade.clock import Clock
from facade.ledger.tables import Row

_MOST = 100_000  # things watched at once; to forget one only delays what is judged of it
_SET = 30.0  # seconds by which the wall clock may part from the monotonic one before it counts as set


class ObservedTimes:
    """Seconds that this process has watched a row, in the state or at the due time that it has now.

    Two hosts' wall clocks may differ by any time, and one may be set. So no lease, silence or settle window is judged
    by comparing a time that another process wrote with this one's clock: only by how long this process itself has
    seen the same thing, which begins no earlier than the thing did. Thread-safe.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._since: OrderedDict[Hashable, float] = OrderedDict()
        self._set_at = clock.monotonic()  # what happened before this process began, it does not know
        self._offset = clock.now() - self._set_at  # of the wall clock from the monotonic one

    def in_state(self, row: Row) -> float:
        """How long the row has been in its state; for a row in doubt, how long its attempt has been in doubt."""
        # Reads change a row in doubt, and it is the same doubt; any other change is a new claim or a new write.
        marker = None if row.state in DOUBTFUL else (row.state, row.changed_at)
        return self._seen(("state", row.key, row.attempt_number, marker))

    def due_unchanged(self, row: Row) -> float:
        """How long no one has moved the row's next read."""
        return self._seen(("due", row.key, row.attempt_number, row.read_due))

    def steady(self) -> float:
        """How long the wall clock has gone on without being set, as far as this process saw."""
        now = self._clock.monotonic()
        offset = self._clock.now() - now
        with self._lock:
            if abs(offset - self._offset) > _SET:
                self._set_at = now
            self._offset = offset
            return now - self._set_at

    def _seen(self, thing: Hashable) -> float:
        now = self._clock.monotonic()
        with self._lock:
            since = self._since.setdefault(thing, now)
            self._since.move_to_end(thing)
            while len(self._since) > _MOST:
                self._since.popitem(last=False)
        return now - since
