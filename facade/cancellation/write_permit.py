"""The write permit that an attempt gives to its adapter."""

import threading
from collections.abc import Callable

from facade.clock import Clock
from facade.errors import Cause, NotExecuted


class LedgerWritePermit:
    """The right to make one native write. Taking it records, durably, that the write may leave.

    ``taken``: the adapter asked for it. ``granted``: the adapter may write.
    """

    def __init__(self, record: Callable[[], bool], guard: float, clock: Clock) -> None:
        self._record = record
        self._guard = guard  # seconds that may pass between recording and sending
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self.taken = False
        self.granted = False

    def __call__(self) -> None:
        """Take it. Raises NotExecuted if the write must not be made, Unavailable if it cannot be recorded."""
        with self._lock:
            if self.taken:
                raise NotExecuted(Cause.INTERNAL, "the adapter took the write permit a second time")
            self.taken = True
        before = self._monotonic()
        if not self._record():
            raise NotExecuted(Cause.CONFLICT, "another request has taken the appointment over")
        if self._monotonic() - before > self._guard:
            # The process was frozen between recording and sending. Others may have recorded its silence as doubt.
            raise NotExecuted(Cause.TIMEOUT, "too long between recording the write and making it")
        self.granted = True
