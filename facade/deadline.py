"""How long the work at hand may still take: an ambient deadline that only ever gets nearer.

The use case sets it around every call to an adapter; ``HttpClient`` obeys it without being told. An
adapter that does its own input and output asks ``remaining()`` before each wait. A thread that it starts begins
without the deadline; run it in ``contextvars.copy_context()``.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_ends_at: ContextVar[float | None] = ContextVar("facade_deadline", default=None)


@contextmanager
def deadline(seconds: float) -> Iterator[None]:
    """Give the block at most ``seconds``; a nearer deadline that is already set stays in force."""
    ends_at = time.monotonic() + seconds
    outer = _ends_at.get()
    token = _ends_at.set(ends_at if outer is None else min(outer, ends_at))
    try:
        yield
    finally:
        _ends_at.reset(token)


def remaining(default: float = 4.0) -> float:
    """Seconds left, never negative; ``default`` where no deadline was set (a plugin's own tests)."""
    ends_at = _ends_at.get()
    return default if ends_at is None else max(0.0, ends_at - time.monotonic())
