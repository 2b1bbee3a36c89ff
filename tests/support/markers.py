"""Marks for each test, derived from its folder and from what it asks for, so that ``-m fast`` selects by them."""

import sys
from pathlib import Path

import pytest

from tests.support.paths import ROOT

FOLDERS = ("unit", "integration", "process", "plugins", "repository")
FAST = {"unit", "integration", "plugins"}
_STARTS = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.exec"}


def mark(items: list[pytest.Item]) -> None:
    """Mark each test with its folder, with ``postgresql`` if it needs that, and with ``fast`` if it may run often."""
    for item in items:
        folder = _folder(item.path)
        if folder not in FOLDERS:
            continue
        item.add_marker(folder)
        if _needs_postgresql(item):
            item.add_marker("postgresql")
        elif folder in FAST and not item.get_closest_marker("slow"):
            item.add_marker("fast")


def _folder(path: Path) -> str:
    tests = ROOT / "tests"
    return path.relative_to(tests).parts[0] if path.is_relative_to(tests) else ""


def _needs_postgresql(item: pytest.Item) -> bool:
    parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()
    return "postgresql" in getattr(item, "fixturenames", ()) or "postgresql" in [
        value for value in parameters if isinstance(value, str)
    ]


class NoProcesses:
    """Fails a fast test that starts a process. An audit hook cannot be removed, so that it has a switch."""

    def __init__(self) -> None:
        self._running = ""
        sys.addaudithook(self._check)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self._running = item.nodeid if item.get_closest_marker("fast") else ""

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_teardown(self) -> None:
        self._running = ""

    def _check(self, event: str, _: object) -> None:
        if self._running and event in _STARTS:
            raise AssertionError(f"{self._running} starts a process: it belongs below tests/process")
