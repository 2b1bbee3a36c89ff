"""An ambient deadline: how long the current work may still take.

The use case sets it around every call of an adapter, and ``HttpClient`` obeys it by itself. An adapter that does its
own input and output calls ``remaining()`` before each wait. A new thread has no deadline, unless it runs in
``contextvars.copy_context()``.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends_at: ContextVar[float | None] = ContextVar("facade_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give the block at most ``seconds``. An earlier deadline that is already set stays in force."""
    ends_at = time.monotonic() + seconds
    outer = _ends_at.get()
    token = _ends_at.set(ends_at if outer is None else min(outer, ends_at))
    try:
        yield
    finally:
        _ends_at.reset(token)


def remaining(default: float = 4.0) -> float:
    """Return the seconds left, never negative; ``default`` if no deadline is set, as in a plugin's own tests."""
    ends_at = _ends_at.get()
    return default if ends_at is None else max(0.0, ends_at - time.monotonic())
