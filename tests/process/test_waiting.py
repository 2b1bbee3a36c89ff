"""What the tests' own waits do when what is waited for does not come, and what a hook that hangs leaves behind."""

import re
import threading

import pytest
from werkzeug.wrappers import Response

from facade.testing.simulator import BoundedLock
from tests.support import waiting
from tests.support.process import run_pytest
from tests.support.waiting import Gate, eventually, join


@pytest.fixture
def _short(monkeypatch):
    monkeypatch.setattr(waiting, "LIMIT", 0.05)


def held(lock):
    """A thread that holds the lock until the gate is opened."""
    gate = Gate()

    def hold():
        with lock:
            gate.wait()

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    gate.reached()
    return gate, thread


def test_what_does_not_come_true_fails():
    with pytest.raises(AssertionError, match="did not come true in time"):
        eventually(lambda: False, within=0.05)


@pytest.mark.usefixtures("_short")
def test_a_thread_that_does_not_end_fails():
    stop = threading.Event()
    thread = threading.Thread(target=stop.wait, args=(60,))
    thread.start()
    try:
        with pytest.raises(AssertionError, match="did not end in time"):
            join(thread)
    finally:
        stop.set()


@pytest.mark.usefixtures("_short")
def test_a_gate_that_no_one_opens_or_reaches_fails():
    with pytest.raises(AssertionError, match="no one came"):
        Gate().reached()
    gate = Gate()
    with pytest.raises(TimeoutError, match="no one opened the gate"):
        gate.wait()
    gate.wait()  # no second one waits as long


def test_a_gate_is_open_when_its_block_has_failed():
    with pytest.raises(ZeroDivisionError), Gate() as gate:
        raise ZeroDivisionError
    gate.wait()


def test_a_lock_held_elsewhere_is_waited_for_within_the_limit():
    lock = BoundedLock(limit=0.05)
    with lock, lock:
        pass
    gate, thread = held(lock)
    with gate, pytest.raises(TimeoutError, match=r"a request has held the simulator's lock for 0\.05 seconds"), lock:
        pass
    join(thread)
    with lock:
        pass


def test_a_reset_while_a_hook_hangs_fails_in_time(fhir, monkeypatch):
    lock = BoundedLock(limit=0.05)
    monkeypatch.setattr(fhir, "lock", lock)
    thread_gate, thread = held(lock)
    with thread_gate, pytest.raises(TimeoutError):
        fhir.reset()
    join(thread)
    fhir.canned["GET"] = Response("{}")
    fhir.reset()
    assert fhir.canned == {}


WATCHED = """
from tests.support.watchdog import Watchdog


def pytest_configure(config):
    config.pluginmanager.register(Watchdog())
"""
HANGS = """
import threading


def in_another_thread(event):
    event.wait()


def test_before():
    pass


def test_that_hangs():
    thread = threading.Thread(target=in_another_thread, args=(threading.Event(),))
    thread.start()
    thread.join()


def test_after():
    pass
"""


def test_a_test_that_hangs_ends_its_process_with_every_stack(tmp_path):
    code, shown = run_pytest(tmp_path, {"conftest.py": WATCHED, "test_hangs.py": HANGS}, "-n0", "--timeout", "5")
    assert code != 0
    assert "in in_another_thread" in shown
    assert "in test_that_hangs" in shown


def test_a_test_that_hangs_in_a_worker_fails_and_others_run(tmp_path):
    code, shown = run_pytest(tmp_path, {"conftest.py": WATCHED, "test_hangs.py": HANGS}, "-n2", "--timeout", "5")
    assert code == 1, shown
    assert "in in_another_thread" in shown
    assert "FAILED test_hangs.py::test_that_hangs" in shown
    assert re.search(r"^=+ 1 failed, 2 passed in", shown, re.MULTILINE), shown
