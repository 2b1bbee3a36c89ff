"""One job: a simulated source, a zygote, and as many histories at once as asked."""

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count, islice
from pathlib import Path

import structlog
from facade_heim.simulator import HeimSimulator

from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.plugin import registry
from facade.plugin.configured_source import ConfiguredSource
from facade.testing.simulator.faults import Timings
from facade.testing.simulator.host import SimulatorHost, serve
from tests.histories.generator import SETTLE_WINDOW, History
from tests.histories.node import zygote
from tests.histories.processes import Zygote
from tests.histories.runner import Play
from tests.histories.store import Store

# Real seconds. The source ends its own silence, so that patient facades need not wait for their deadlines.
TIMINGS = Timings(silence=0.3, drip=0.0005, late_commit=0.5)


@dataclass(frozen=True)
class Result:
    """A history and what is wrong with how it went."""

    history: History
    violations: list[str]


class Job:
    """Plays histories in threads of this process."""

    def __init__(self, host: SimulatorHost, forks: Zygote, store: Store, folder: Path) -> None:
        self._host = host
        self._zygote = forks
        self._store = store
        self._folder = folder
        self._plays = count()
        self.crashes = 0

    def play(self, history: History, variant: str = "") -> Result:
        """Play one history, each time in a folder of its own."""
        folder = self._folder / str(next(self._plays))
        folder.mkdir()
        try:
            play = Play(history, self._host, self._zygote, self._store, folder, variant)
            violations = play.run()
            self.crashes += play.crashes
            return Result(history, violations)
        finally:
            for path in folder.iterdir():
                path.unlink(missing_ok=True)
            folder.rmdir()

    def play_all(self, histories: Iterator[History], at_once: int, variant: str = "") -> Iterator[Result]:
        """Play them, so many at once; results as they come."""
        with ThreadPoolExecutor(at_once) as pool:
            running: set[Future[Result]] = set()
            try:
                while True:
                    for history in islice(histories, at_once - len(running)):
                        running.add(pool.submit(self.play, history, variant))
                    if not running:
                        return
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in done:
                        yield future.result()
            finally:
                for future in running:
                    future.cancel()


@contextmanager
def job(within: str, postgresql: str | None = None) -> Iterator[Job]:
    """A job on SQLite, or on the PostgreSQL schema of this URL, with its files in a folder ``within``.

    Enter before this process has threads.
    """
    with tempfile.TemporaryDirectory(dir=within) as name:
        folder = Path(name)
        ours, theirs = socket.socketpair()
        structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
        source = _source()
        template = None if postgresql is not None else folder / "template.db"
        warm_up = postgresql or f"sqlite:///{folder / 'warm-up.db'}"
        if template is not None:
            engine = connect(f"sqlite:///{template}")
            migrate.upgrade(engine)
            engine.dispose()
            shutil.copy(template, folder / "warm-up.db")
        pid = os.fork()
        if pid == 0:
            ours.close()
            try:
                zygote(theirs, source, warm_up)
            finally:
                os._exit(0)
        theirs.close()
        simulator = HeimSimulator()
        try:
            with serve({"heim": simulator}, timings=TIMINGS) as host:
                yield Job(host, Zygote(ours), Store(template, postgresql), folder)
        finally:
            ours.close()
            os.waitpid(pid, 0)


def _source() -> ConfiguredSource:
    os.environ["HISTORIES_KEY"] = "test_histories"
    table = {
        "plugin": "heim",
        "base_url": "http://127.0.0.1:9/heim",
        "api_key_env": "HISTORIES_KEY",
        "environment": "test",
        "max_concurrent": 64,
    }
    source = registry.build({"heim": table}, "urn:histories")["heim"]
    return replace(source, settings={**source.settings, "settle_window": SETTLE_WINDOW})
