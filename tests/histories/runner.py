"""Plays histories: starts, drives, freezes and kills facade processes, heals everything, collects the evidence."""

import contextlib
import json
import os
import selectors
import shutil
import signal
import socket
import sqlite3
import struct
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import text

from facade.cancellation.states import SETTLED, State
from facade.errors import Unavailable
from facade.ledger.engine import connect
from facade.ledger.store import Ledger
from facade.testing.faults import FAULTS
from facade.testing.host import SimulatorHost
from tests.histories.checker import Evidence, Exchange, violations
from tests.histories.generator import LATE_COMMIT, Event, History

BOUND = 30.0  # seconds in which everything must have settled once nothing disturbs any more
_ETA = {True: timedelta(hours=3), False: timedelta(days=30)}


class Process:
    """One facade process as its history sees it: it may be dead or frozen without saying so."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._rest = b""
        self.pid: int | None = None
        self.killed = False

    def order(self, order: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(order).encode() + b"\n")

    def answers(self) -> list[dict[str, Any]] | None:
        """What it has said since; None if it is no more."""
        try:
            chunk = self._channel.recv(1 << 20)
        except OSError:
            chunk = b""
        if not chunk:
            return None
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        return [json.loads(line) for line in lines]

    def send_signal(self, number: int) -> None:
        self.killed |= number == signal.SIGKILL
        if self.pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def end(self) -> None:
        self.send_signal(signal.SIGKILL)
        self._channel.close()

    def fileno(self) -> int:
        return self._channel.fileno()


class Play:
    """One history from beginning to verdict."""

    def __init__(
        self, history: History, host: SimulatorHost, zygote: "Zygote", store: "Store", folder: Path, variant: str
    ) -> None:
        self._history = history
        self._host = host
        self._simulator = host.simulators["heim"]
        self._zygote = zygote
        self._name = f"h{history.seed}-{folder.name}"
        self._id = f"apt_{self._name}"
        self._store = store
        self._url = store.open(folder, self._name)
        self._clock = folder / f"{self._name}.clock"
        self._socket = folder / f"{self._name}.sock"
        self._variant = variant
        self._processes: list[Process | None] = []
        self._frozen: dict[int, float] = {}
        self._revive: dict[int, float] = {}
        self._exchanges: dict[int, Exchange] = {}
        self._cancelled_outside: float | None = None
        self._began = 0.0
        self.crashes = 0  # processes that died by themselves: at a crash point

    def run(self) -> list[str]:
        """The violations."""
        self._clock.write_bytes(struct.pack("d", 0.0))
        self._put_appointment()
        with self._listening():
            self._processes = [self._start() for _ in range(self._history.nodes)]
            self._began = time.time()
            try:
                self._live()
                self._heal()
                self._await_rest()
                self._ask_at_last()
                self._await_rest()
                evidence = self._evidence()
                found = violations(evidence)
                return [*found, *evidence.story()] if found else []
            finally:
                for process in self._processes:
                    if process is not None:
                        process.end()
                self._store.close(self._url)

    def _put_appointment(self) -> None:
        native = self._simulator.get("apt_1") or {}
        eta = datetime.now(UTC) + _ETA[self._history.near]
        times = {"estimatedTimeOfArrival": eta.isoformat(), "windowStart": eta.isoformat()}
        times["windowEnd"] = (eta + timedelta(hours=1)).isoformat()
        self._simulator.put(self._id, {**native, **times, "id": self._id})

    @contextlib.contextmanager
    def _listening(self) -> Iterator[None]:
        with socket.socket(socket.AF_UNIX) as self._listener:
            self._listener.bind(str(self._socket))
            self._listener.listen(8)
            self._listener.settimeout(20)
            yield

    def _start(self) -> Process:
        self._zygote.fork(
            {
                "channel": str(self._socket),
                "clock": str(self._clock),
                "base_url": self._host.source_url("heim"),
                "store": self._url,
                "name": self._name,
                "variant": self._variant,
            }
        )
        process = Process(self._listener.accept()[0])
        while process.pid is None:
            said = process.answers()
            if said is None:
                raise RuntimeError("a facade process died while it started")
            process.pid = said[0]["pid"]
        return process

    def _live(self) -> None:
        for event in self._history.events:
            self._drain(seconds=event.at - (time.time() - self._began))
            self._happen(event)
        self._drain(seconds=0.1)

    def _happen(self, event: Event) -> None:
        what = event.what
        node = what.get("node", 0)
        process = self._processes[node]
        match event.do:
            case "cancel" | "read" | "hint":
                self._request({"do": event.do, **what})
            case "crash-at" if process is not None:
                process.order({"do": "crash-at", **what})
            case "kill" if process is not None:
                process.send_signal(signal.SIGKILL)
            case "freeze" if process is not None:
                process.send_signal(signal.SIGSTOP)
                self._frozen[node] = time.time() + what["seconds"]
            case "clock-jumps":
                self._clock.write_bytes(struct.pack("d", what["seconds"]))
            case "store-out":
                self._store.disturb(self._url, self._name, what["seconds"])
            case "arm":
                self._simulator.faults.arm(self._id, FAULTS[what["fault"]], times=what["times"])
            case "cancelled-outside":
                self._cancelled_outside = time.time()
                change = {"status": "cancelled", "cancellation": {"reasonCode": "operator_error"}}
                self._simulator.patch(self._id, change)

    def _request(self, order: dict[str, Any]) -> None:
        n = len(self._exchanges) + 1
        self._exchanges[n] = Exchange(n, order["do"], time.time())
        process = self._processes[order["node"]]
        if process is not None:
            process.order({**order, "n": n, "id": self._id})

    def _drain(self, seconds: float = 0.0, until: Any = None) -> None:
        """Take in answers, thaw and revive processes, for so long."""
        ends_at = time.time() + (BOUND if until is not None else max(0.0, seconds))
        while True:
            self._thaw_and_revive()
            if until is not None and until():
                return
            left = ends_at - time.time()
            with selectors.DefaultSelector() as selector:
                for index, process in enumerate(self._processes):
                    if process is not None:
                        selector.register(process, selectors.EVENT_READ, index)
                for key, _ in selector.select(max(0.0, min(left, 0.02))):
                    self._take_in(key.data)
            if left <= 0:
                return

    def _take_in(self, index: int) -> None:
        process = self._processes[index]
        said = process.answers() if process is not None else None
        if process is None or said is None:
            if process is not None:
                self.crashes += not process.killed
                process.end()
            self._processes[index] = None
            self._frozen.pop(index, None)
            self._revive[index] = time.time() + 0.05
            return
        for answer in said:
            exchange = self._exchanges[answer["n"]]
            exchange.ended, exchange.answer = time.time(), answer

    def _thaw_and_revive(self) -> None:
        now = time.time()
        for index in [index for index, at in self._frozen.items() if at <= now]:
            del self._frozen[index]
            process = self._processes[index]
            if process is not None:
                process.send_signal(signal.SIGCONT)
        for index in [index for index, at in self._revive.items() if at <= now]:
            del self._revive[index]
            self._processes[index] = self._start()

    def _heal(self) -> None:
        """Nothing disturbs any more, but for what was lost and what the clock lost."""
        self._simulator.faults.disarm(self._id)
        for index in list(self._frozen):
            self._frozen[index] = 0.0
        self._drain(until=lambda: None not in self._processes and not self._frozen)
        for process in self._processes:
            if process is not None:
                process.order({"do": "crash-at", "point": "nowhere", "pass": 0})
        self._healed = time.time()

    def _await_rest(self) -> None:
        ledger = Ledger(self._store.engine(self._url))

        def settled() -> bool:
            try:
                row = ledger.find((self._name, self._id))
            except Unavailable:
                return False
            if row is None:
                return True
            # Where reads go on they must have found the truth; late commits have come after that time.
            reads_on = row.state in {State.CANCELLED, State.OPERATOR}
            true = not reads_on or (row.state == State.CANCELLED) == self._is_cancelled()
            return row.state in {*SETTLED, State.OPERATOR} and true and time.time() - self._healed > LATE_COMMIT + 0.1

        self._drain(until=settled)

    def _ask_at_last(self) -> None:
        """One more request, and more while the source's cancellation does not show: a read may just have been slow."""
        ends_at = time.time() + BOUND
        while time.time() < ends_at:
            self._request({"do": "cancel", "node": 0, "reason": "pat"})
            last, asked = self._exchanges[len(self._exchanges)], self._processes[0]
            # An answer, or the end of the process that was asked.
            self._drain(until=lambda: last.ended is not None or self._processes[0] is not asked)  # noqa: B023 - used up within the turn
            if last.said == "cancelled" or not self._is_cancelled():
                return

    def _is_cancelled(self) -> bool:
        return bool((self._simulator.get(self._id) or {})["status"] == "cancelled")

    def _evidence(self) -> Evidence:
        ledger = Ledger(self._store.engine(self._url))
        key = (self._name, self._id)
        return Evidence(
            exchanges=list(self._exchanges.values()),
            log=self._simulator.log.entries(self._id),
            cancelled_outside=self._cancelled_outside,
            cancelled_at_source=self._is_cancelled(),
            row=ledger.find(key),
            timeline=[dict(line) for line in ledger.timeline(key)],
        )


class Zygote:
    """The channel to the process that forks facade processes."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def fork(self, order: dict[str, Any]) -> None:
        # One line, below PIPE_BUF: whole even when several histories ask at once.
        self._channel.sendall(json.dumps(order).encode() + b"\n")


class Store:
    """Where the ledgers of the histories are: a SQLite file each, or one PostgreSQL schema for all."""

    def __init__(self, template: Path | None, postgresql: str | None) -> None:
        self._template = template
        self._postgresql = postgresql
        self._shared = connect(postgresql, pool_size=4, max_overflow=20) if postgresql else None
        self._engines: dict[str, Any] = {}

    def open(self, folder: Path, name: str) -> str:
        """The URL of the ledger of one history."""
        if self._postgresql is not None:
            return f"{self._postgresql}&application_name={name}"
        assert self._template is not None
        path = folder / f"{name}.db"
        shutil.copy(self._template, path)
        return f"sqlite:///{path}"

    def engine(self, url: str) -> Any:
        if self._shared is not None:
            return self._shared
        return self._engines.setdefault(url, connect(url))

    def close(self, url: str) -> None:
        engine = self._engines.pop(url, None)
        if engine is not None:
            engine.dispose()
            path = Path(engine.url.database)
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)

    def disturb(self, url: str, name: str, seconds: float) -> None:
        """The store is locked, or its connections are cut, for so long."""
        ends_at = time.time() + seconds
        if self._shared is not None:
            while time.time() < ends_at:
                with self._shared.connect() as connection:
                    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
                    connection.execute(text(query), {"name": name})
                time.sleep(0.05)
            return
        path = url.removeprefix("sqlite:///")
        with (
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
            contextlib.suppress(sqlite3.OperationalError),
        ):
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
