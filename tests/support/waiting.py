"""Waiting in tests: every wait has a limit, and no limit is one that a slow machine reaches."""

import threading
import time
from collections.abc import Callable
from typing import Any, Self

LIMIT = 60.0  # seconds; what has not happened by then does not happen


def eventually(condition: Callable[[], object], within: float = LIMIT) -> None:
    """Wait until the condition holds; fail after ``within`` seconds."""
    ends_at = time.monotonic() + within
    while not condition():
        assert time.monotonic() < ends_at, "did not come true in time"
        time.sleep(0.02)


def join(*threads: threading.Thread) -> None:
    """Wait until these threads have ended; fail after ``LIMIT`` seconds."""
    ends_at = time.monotonic() + LIMIT
    for thread in threads:
        thread.join(max(0.0, ends_at - time.monotonic()))
        assert not thread.is_alive(), f"{thread.name} did not end in time"


class Gate:
    """Holds those who come to it until it is opened, at the latest when its block ends or ``LIMIT`` is over."""

    def __init__(self) -> None:
        self._event = threading.Event()
        self._reached = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.open()

    def wait(self, *_: Any) -> None:
        """Wait until it is open. Raises TimeoutError after ``LIMIT`` seconds, for those who come later at once."""
        self._reached.set()
        if not self._event.wait(LIMIT):
            self.open()
            raise TimeoutError("no one opened the gate")

    def open(self) -> None:
        """Let everyone through, from now on."""
        self._event.set()

    def reached(self) -> None:
        """Wait until someone has come to it; fail after ``LIMIT`` seconds."""
        assert self._reached.wait(LIMIT), "no one came to the gate"
