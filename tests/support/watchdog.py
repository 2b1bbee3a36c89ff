"""Ends a process in which a test hangs, after the stack of every thread was written where a person reads it."""

import faulthandler
import os
import sys
from typing import Any

import pytest


class Watchdog:
    """How pytest-timeout's time limits are watched: from outside Python, so that nothing a test holds can stop it.

    Made while standard error is not captured. A process of pytest-xdist's shows nothing that it prints, but shares
    standard error with the one that started it, which counts the test as failed and goes on.
    """

    def __init__(self) -> None:
        self._errors = os.dup(sys.__stderr__.fileno()) if sys.__stderr__ else None

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_set_timer(self, item: pytest.Item, settings: Any) -> bool:
        """Called before a test and its fixtures."""
        faulthandler.dump_traceback_later(settings.timeout, exit=True, file=self._errors or sys.stderr)
        return True

    @pytest.hookimpl(optionalhook=True)
    def pytest_timeout_cancel_timer(self, item: pytest.Item) -> bool:
        """Called afterwards."""
        faulthandler.cancel_dump_traceback_later()
        return True
