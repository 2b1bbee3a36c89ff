"""Limits how many calls to a source are under way at once, for sources that accept few connections.

``Capabilities.max_connections`` is a total over every worker. One process counts the calls here, and ``facade serve``
refuses several workers for such a source.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from facade.deadline import remaining
from facade.errors import Cause, NotExecuted
from facade.plugin.contract import Appointment, CancelRequest, SourceAdapter, WritePermit


class Limited(SourceAdapter):
    """An adapter with at most ``limit`` calls under way at once. Further calls wait within their deadline."""

    def __init__(self, adapter: SourceAdapter, limit: int) -> None:
        self._adapter = adapter
        self._slots = threading.BoundedSemaphore(limit)

    def read(self, appointment_id: str) -> Appointment:
        """Read with the adapter. Raises NotExecuted where no connection becomes free in time."""
        with self._slot():
            return self._adapter.read(appointment_id)

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """Cancel with the adapter. Raises NotExecuted where no connection becomes free in time: nothing was sent."""
        with self._slot():
            return self._adapter.cancel(request, current, permit)

    @contextmanager
    def _slot(self) -> Iterator[None]:
        if not self._slots.acquire(timeout=remaining()):
            raise NotExecuted(Cause.THROTTLED, "every connection that the source takes is in use")
        try:
            yield
        finally:
            self._slots.release()


def limited(adapter: SourceAdapter, limit: int | None) -> SourceAdapter:
    """Return the adapter with at most ``limit`` calls at once; the adapter itself where there is no limit."""
    return adapter if limit is None else Limited(adapter, limit)
