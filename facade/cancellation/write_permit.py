"""The permit that an attempt gives its adapter: taken once, and what takes it records that the write may leave."""

import threading
from collections.abc import Callable

from facade.clock import Clock
from facade.errors import Cause, NotExecuted


class LedgerWritePermit:
    """The right to one native write; taking it repository, durably, that the write may leave.

    ``taken`` says that the adapter asked for it, ``granted`` that it may write.
    """

    def __init__(self, record: Callable[[], bool], guard: float, clock: Clock) -> None:
        self._record = record
        self._guard = guard  # seconds between recording and sending
        self._monotonic = clock.monotonic
        self._lock = threading.Lock()
        self.taken = False
        self.granted = False

    def __call__(self) -> None:
        """Take it. Raises NotExecuted where the write must not be made, Unavailable where it cannot be recorded."""
        with self._lock:
            if self.taken:
                raise NotExecuted(Cause.INTERNAL, "the adapter asked to write a second time")
            self.taken = True
        before = self._monotonic()
        if not self._record():
            raise NotExecuted(Cause.CONFLICT, "another request has taken the appointment over")
        if self._monotonic() - before > self._guard:
            # Frozen between recording and sending: by now others may rightly believe that we are gone.
            raise NotExecuted(Cause.TIMEOUT, "too long between recording the write and making it")
        self.granted = True
