"""A source that takes few connections: calls take turns within their deadline, and one worker counts for all."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from click.testing import CliRunner
from structlog.testing import capture_logs

from facade import Cause, NotExecuted, SourceAdapter, deadline
from facade.app import assemble
from facade.cli import main
from facade.cli.common.reloading import Served
from facade.ledger.maintenance import Presence
from facade.plugin.connection_limit import Limited, limited
from tests.support.temporary_plugins import installed

ROOM = 20.0

CONFIG = """
[auth]
mode = "none"
[sources.his]
plugin = "line-one"
address = "127.0.0.1:9"
key_env = "LINE_KEY"
[sources.lis]
plugin = "line"
address = "127.0.0.1:9"
key_env = "LINE_KEY"
"""


class Slow(SourceAdapter):
    """Every call waits to be let go; counts how many are inside."""

    def __init__(self):
        self.lock, self.go_on, self.entered = threading.Lock(), threading.Event(), threading.Semaphore(0)
        self.inside = self.most = 0

    def read(self, appointment_id):
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        self.entered.release()
        try:
            assert self.go_on.wait(ROOM)
        finally:
            with self.lock:
                self.inside -= 1
        return {"id": appointment_id}

    def cancel(self, request, current, permit):
        return self.read(request)


@pytest.mark.parametrize("limit", [1, 2])
def test_calls_take_turns(limit):
    slow = Slow()
    adapter = limited(slow, limit)

    def call(number):
        with deadline(ROOM):
            return adapter.read(str(number)) if number % 2 else adapter.cancel(str(number), None, lambda: None)  # type: ignore[arg-type]  # a double, or known to be there

    with ThreadPoolExecutor(6) as pool:
        calls = [pool.submit(call, number) for number in range(6)]
        try:
            assert all(slow.entered.acquire(timeout=ROOM) for _ in range(limit))
            assert not slow.entered.acquire(timeout=0.05)
        finally:
            slow.go_on.set()
        assert [one.result(ROOM) for one in calls] == [{"id": str(number)} for number in range(6)]
    assert slow.most == limit


def test_who_waits_too_long_has_sent_nothing():
    slow = Slow()
    adapter = Limited(slow, 1)
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(adapter.read, "1")
        try:
            assert slow.entered.acquire(timeout=ROOM)
            for act in (lambda: adapter.read("2"), lambda: adapter.cancel("2", None, lambda: None)):  # type: ignore[arg-type]  # a double, or known to be there
                with (
                    deadline(0.05),
                    pytest.raises(NotExecuted, match="every connection that the source takes is in use") as e,
                ):
                    act()
                assert e.value.cause is Cause.THROTTLED
        finally:
            slow.go_on.set()
        first.result(ROOM)
    assert slow.most == 1
    assert adapter.read("3") == {"id": "3"}


def test_a_failing_call_gives_its_turn_back():
    class Failing(Slow):
        def read(self, appointment_id):
            raise KeyError(appointment_id)

    adapter = Limited(Failing(), 1)
    for _ in range(3):
        with deadline(1.0), pytest.raises(KeyError):
            adapter.read("1")


def test_a_source_without_a_limit_is_left_as_it_is():
    slow = Slow()
    assert limited(slow, None) is slow


def test_a_connection_limit_refuses_several_workers(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(installed(tmp_path / "site-packages", "line", "line-one")))
    path = tmp_path / "facade.toml"
    path.write_text(CONFIG, "utf-8")
    done = CliRunner().invoke(
        main, ["serve", "--config", str(path), "--workers", "3"], env={"LINE_KEY": "key"}, catch_exceptions=False
    )
    assert done.exit_code == 2
    assert done.stderr == (
        "facade: sources.his: takes 1 connection at once in all, and --workers is 3; use --workers 1\n"
    )


@pytest.fixture
def path(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(installed(tmp_path / "site-packages", "line", "line-one")))
    monkeypatch.setenv("LINE_KEY", "key")
    found = tmp_path / "facade.toml"
    found.write_text(f'[facade]\nstore = "sqlite:///{tmp_path}/facade.db"\n{CONFIG}')
    return found


def test_a_connection_limit_refuses_a_reload_with_workers(path):
    served = Served(path, None, "127.0.0.1")
    first = served.facade
    with capture_logs() as lines:
        assert not served.reload()
    assert served.facade is first
    (problem,) = (line["problem"] for line in lines if line["event"] == "configuration-refused")
    assert problem == (
        "sources.his: takes 1 connection at once in all, and during a reload an old and a new worker run side by "
        "side; stop the facade and start it"
    )
    path.write_text(path.read_text().replace('"line-one"', '"line"').replace(":9", ":10", 1))
    served = Served(path, None, "127.0.0.1")
    assert served.reload()


def test_a_connection_limit_refuses_a_second_reconciler(path, monkeypatch):
    monkeypatch.setattr("facade.cancellation.reconciler.Reconciler.start", lambda _: None)
    monkeypatch.setattr("facade.observability.logs.configure", lambda: None)
    monkeypatch.setattr("signal.signal", lambda *_: None)
    facade = assemble(path)
    facade.open_store()
    other = Presence(facade.ledger)

    def run():
        return CliRunner().invoke(main, ["reconcile", "--config", str(path)])

    assert run().exit_code == 0
    other.announce()
    done = run()
    assert done.exit_code == 2
    assert "facade: sources.his: takes 1 connection at once in all, and another process (" in done.stderr
    other.leave()
    assert run().exit_code == 0
    other.announce()
    path.write_text(path.read_text().replace('"line-one"', '"line"').replace(":9", ":10", 1))
    assert run().exit_code == 0
    facade.ledger.engine.dispose()
