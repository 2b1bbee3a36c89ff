"""Plays histories: drives, freezes and kills facade processes, lets time pass, heals everything, collects evidence."""

import signal
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from facade.cancellation.in_doubt import Resolution, resolve_by_operator, undo_resolution
from facade.cancellation.known_sources import rename
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.states import SETTLED, UNRESOLVED, State
from facade.clock import Clock
from facade.errors import Unavailable
from facade.ledger.maintenance import Maintenance
from facade.ledger.store import Ledger
from facade.testing.simulator.faults import FAULTS
from facade.testing.simulator.host import SimulatorHost
from tests.histories.checker import Evidence, Exchange, violations
from tests.histories.generator import LATE_COMMIT, Event, History
from tests.histories.node import TIMERS
from tests.histories.processes import Fleet, Zygote
from tests.histories.store import Store
from tests.histories.timeline import Timeline

BOUND = 120.0  # real seconds in which what was waited for must have come
STEP = 0.05  # seconds of the history: how time passes
MOMENT = 5.0  # real seconds for a process to do something that it may not do
READ_DUE = 0.25  # seconds of the history after which a read of a row in doubt is due
_SENT = 2.0  # real seconds for the bytes of a write to arrive, when its process may have died before it sent them
_ETA = {True: timedelta(hours=3), False: timedelta(days=30)}


class _OwnClock(Clock):
    """The clock of the host that people work on; no one sets it."""

    def __init__(self, history: Timeline) -> None:
        self._history = history

    def now(self) -> float:
        return self._history.wall()


class Play:
    """One history from its start to its result."""

    def __init__(
        self,
        history: History,
        host: SimulatorHost,
        zygote: Zygote,
        store: Store,
        folder: Path,
        variant: str,
    ) -> None:
        self._history = history
        self._simulator = host.simulators["heim"]
        self._name = self._application = f"h{history.seed}-{folder.name}"
        self._id = f"apt_{self._name}"
        self._store = store
        self._url = store.open(folder, self._name)
        order = {"base_url": host.source_url("heim"), "store": self._url, "name": self._name, "variant": variant}
        order["patient"] = history.patient
        self._fleet = Fleet(zygote, folder, self._name, history.nodes, order, self._answered)
        self._time = Timeline(self._fleet.clocks)
        self._exchanges: dict[int, Exchange] = {}
        self._cancelled_outside: float | None = None
        self._lost_permits = 0
        self._purges: list[tuple[float, float]] = []
        self._resolutions: list[float] = []
        self._renames = 0

    @property
    def crashes(self) -> int:
        """How many processes died at a crash point."""
        return self._fleet.crashes

    def run(self) -> list[str]:
        """The violations."""
        self._put_appointment()
        try:
            with self._fleet.running():
                for event in self._history.events:
                    self._pass_time(event.at - self._time.now)
                    self._happen(event)
                self._pass_time(2 * STEP)
                self._heal()
                self._await_rest()
                self._ask_at_last()
                self._await_rest()
                evidence = self._evidence()
                found = violations(evidence)
                return [*found, *evidence.story()] if found else []
        finally:
            self._store.close(self._url)

    def _put_appointment(self) -> None:
        native = self._simulator.get("apt_1") or {}
        eta = datetime.now(UTC) + _ETA[self._history.near]
        times = {"estimatedTimeOfArrival": eta.isoformat(), "windowStart": eta.isoformat()}
        times["windowEnd"] = (eta + timedelta(hours=1)).isoformat()
        self._simulator.put(self._id, {**native, **times, "id": self._id})

    # Time

    def _pass_time(self, seconds: float) -> None:
        """Let so much time pass for every process, at the history's pace."""
        end = self._time.now + seconds
        while self._time.now < end - 1e-9:
            step = min(STEP, end - self._time.now)
            self._await_writes_on_their_way()
            self._await_late_commits(self._time.now + step)
            self._time.advance(step)
            self._fleet.thaw(self._time.now)
            self._listen(step * self._history.pace)

    def _await_writes_on_their_way(self) -> None:
        """Between its permit and its first byte a write is on its way: see docs/concepts/at-most-once.md.

        Here no time passes meanwhile, however slow the machine is.
        """
        deaths = self._fleet.deaths
        ends_at = time.time() + BOUND
        while self._fleet.permits - self._lost_permits > self._simulator.log.count("cancel", self._id):
            if self._fleet.deaths != deaths or time.time() > ends_at:
                break
            self._listen(0.001)

    def _forgive_lost_permits(self) -> None:
        """A process that was ended between its permit and its write has sent nothing, or it has arrived by now."""
        ends_at = time.time() + _SENT
        while time.time() < ends_at and self._missing():
            time.sleep(0.001)
        self._lost_permits += self._missing()

    def _missing(self) -> int:
        return max(0, self._fleet.permits - self._lost_permits - self._simulator.log.count("cancel", self._id))

    def _await_late_commits(self, until: float) -> None:
        """The source applies a late write before this moment, if it is due by then."""

        def missing() -> bool:
            entries = self._simulator.log.entries(self._id)
            lost = [entry for entry in entries if (entry.operation, entry.fault) == ("cancel", "late-commit")]
            due = sum(self._at(entry) + LATE_COMMIT <= until for entry in lost)
            return due > sum(entry.operation == "late-commit" for entry in entries)

        self._wait_for(lambda: not missing())

    def _at(self, entry: Any) -> float:
        return self._time.at(datetime.fromisoformat(entry.time).timestamp())

    def _listen(self, seconds: float) -> None:
        """Take in answers for so many real seconds."""
        deaths = self._fleet.deaths
        ends_at = time.time() + seconds
        while True:
            self._fleet.take_in(max(0.0, ends_at - time.time()))
            if self._fleet.deaths != deaths:
                deaths = self._fleet.deaths
                self._forgive_lost_permits()
            if time.time() >= ends_at:
                return

    def _wait_for(self, happened: Callable[[], bool], within: float = BOUND) -> None:
        """Wait until it has happened, for a bounded time; no time of the history passes."""
        ends_at = time.time() + within
        while not happened() and time.time() < ends_at:
            self._listen(0.005)

    # Events

    def _happen(self, event: Event) -> None:
        what = event.what
        node = what.get("node", 0)
        match event.do:
            case "cancel" | "read" | "hint":
                self._request({"do": event.do, **what}, event.until)
            case "crash-at" | "hold-at" | "go-on":
                self._fleet[node].order({"do": event.do, **what})
            case "kill":
                self._fleet[node].send_signal(signal.SIGKILL)
            case "freeze":
                self._freeze(node, what["seconds"])
            case "pass":
                self._pass_time(what["seconds"])
            case "await-read":
                self._await_read()
            case "await-answers":
                # For a moment: what is well waits for more time to pass, and what is broken does not.
                self._wait_for(lambda: all(e.ended is not None for e in self._exchanges.values()), MOMENT)
            case "clock-jumps":
                self._time.jump(what["seconds"], what.get("host"))
            case "store-out":
                self._store.disturb(self._url, self._application, what["seconds"])
            case "purge" | "resolve" | "undo" | "rename":
                with suppress(Unavailable):
                    getattr(self, f"_{event.do}")()
            case "arm":
                self._simulator.faults.arm(self._id, FAULTS[what["fault"]], times=what["times"])
            case "cancelled-outside":
                self._cancelled_outside = time.time()
                change = {"status": "cancelled", "cancellation": {"reasonCode": "operator_error"}}
                self._simulator.patch(self._id, change)

    # What people do, from a host of their own

    def _purge(self) -> None:
        # At once, although a person keeps what is settled for long: this is what forgetting may do at worst.
        before, states = self._time.wall() + 1e6, [str(state) for state in SETTLED]
        began = time.time()
        if Maintenance(self._ledger()).purge(states, before=before, source=self._name):
            self._purges.append((began, time.time()))

    def _resolve(self) -> None:
        """An operator reads the row, then the source, and is right about the write."""
        row = self._ledger().find(self._key)
        if row is None or row.state not in UNRESOLVED or self._missing() or self._may_come_late():
            return
        resolution = "cancelled" if self._is_cancelled() else "not-applied"
        if resolve_by_operator(self._repository(), row, Resolution(resolution), "read the source", "anyone"):
            self._resolutions.append(time.time())

    def _undo(self) -> None:
        row = self._ledger().find(self._key)
        if row is not None:
            undo_resolution(self._repository(), row, "read again", "anyone", readable=True)

    def _rename(self) -> None:
        """Every facade is stopped, the source gets another name, and every facade is started with it."""
        if self._ledger().find(self._key) is None:
            return
        self._renames += 1
        old, self._name = self._name, f"{self._application}-{self._renames}"
        self._fleet.restart(lambda: self._moved(old), name=self._name)
        self._forgive_lost_permits()

    def _moved(self, old: str) -> None:
        """The records of a source have its new name. What a process that was killed has locked is free soon."""
        ends_at = time.time() + BOUND
        while True:
            try:
                rename(self._ledger(), old, self._name)
            except Unavailable:
                if time.time() > ends_at:
                    raise
                time.sleep(0.01)
            else:
                return

    def _may_come_late(self) -> bool:
        entries = self._simulator.log.entries(self._id)
        lost = sum((entry.operation, entry.fault) == ("cancel", "late-commit") for entry in entries)
        return lost > sum(entry.operation == "late-commit" for entry in entries)

    def _repository(self) -> CancellationRepository:
        ledger = self._ledger()
        return CancellationRepository(ledger, TIMERS, ledger.clock)

    def _freeze(self, node: int, seconds: float) -> None:
        """Not between a permit and its write: a process frozen there is beyond what is promised."""
        for _ in range(100):
            self._fleet.freeze(node, self._time.now + seconds)
            if not self._missing():
                return
            self._fleet.thaw()
            self._listen(0.005)

    def _request(self, order: dict[str, Any], until: str = "") -> Exchange:
        n = len(self._exchanges) + 1
        exchange = self._exchanges[n] = Exchange(n, order["do"], time.time())
        node = order["node"]
        process = self._fleet[node]
        process.order({**order, "n": n, "id": self._id})
        conditions: dict[str, Callable[[], bool]] = {
            "": lambda: True,
            "held": lambda: process.held,
            # Answered, or its process has died, or it waits for the attempt of another request.
            "served": lambda: exchange.ended is not None or self._fleet[node] is not process or self._joined(str(n)),
        }
        self._wait_for(conditions[until])
        return exchange

    def _joined(self, request_id: str) -> bool:
        key = self._key
        try:
            return any(line["request_id"] == request_id and line["event"] == "repeat" for line in self._timeline(key))
        except Unavailable:
            return False

    def _await_read(self) -> None:
        """Until one more read of the source is answered and recorded."""

        def recorded() -> int:
            try:
                return sum(line["event"] != "repeat" for line in self._timeline(self._key))
            except Unavailable:
                return 0

        before = recorded()
        self._pass_time(READ_DUE)
        self._wait_for(lambda: recorded() > before)

    def _answered(self, answer: dict[str, Any]) -> None:
        exchange = self._exchanges[answer["n"]]
        exchange.ended, exchange.answer = time.time(), answer

    # The end

    def _heal(self) -> None:
        """Nothing disturbs any more, but for what was lost and what the clock lost."""
        self._simulator.faults.disarm(self._id)
        self._fleet.thaw()
        self._listen(0.01)
        for node in range(self._history.nodes):
            self._fleet[node].order({"do": "crash-at", "point": "nowhere", "pass": 0})
            self._fleet[node].order({"do": "go-on"})
        self._healed = self._time.now

    def _await_rest(self) -> None:
        def settled() -> bool:
            try:
                row = self._ledger().find(self._key)
            except Unavailable:
                return False
            if row is None:
                return True
            # Where reads go on they must have found the truth; late commits have come after that time.
            reads_on = row.state in {State.CANCELLED, State.OPERATOR}
            true = not reads_on or (row.state == State.CANCELLED) == self._is_cancelled()
            return row.state in {*SETTLED, State.OPERATOR} and true

        self._pass_time(self._healed + LATE_COMMIT + 2 * STEP - self._time.now)
        ends_at = time.time() + BOUND
        while not settled() and time.time() < ends_at:
            self._pass_time(STEP)
            self._listen(0.01)

    def _ask_at_last(self) -> None:
        """One more request, and more while the source's cancellation does not show: a read may just have been slow."""
        ends_at = time.time() + BOUND
        while time.time() < ends_at:
            last = self._request({"do": "cancel", "node": 0, "reason": "pat"})
            asked = self._fleet[0]
            while last.ended is None and self._fleet[0] is asked and time.time() < ends_at:
                self._pass_time(STEP)
                self._listen(0.01)
            if last.said == "cancelled" or not self._is_cancelled():
                return

    def _is_cancelled(self) -> bool:
        return bool((self._simulator.get(self._id) or {})["status"] == "cancelled")

    def _timeline(self, key: tuple[str, str]) -> list[Any]:
        return list(self._ledger().timeline(key))

    def _ledger(self) -> Ledger:
        return Ledger(self._store.engine(self._url), clock=_OwnClock(self._time))

    @property
    def _key(self) -> tuple[str, str]:
        return self._name, self._id

    def _evidence(self) -> Evidence:
        ledger = self._ledger()
        key = self._key
        return Evidence(
            exchanges=list(self._exchanges.values()),
            log=self._simulator.log.entries(self._id),
            cancelled_outside=self._cancelled_outside,
            cancelled_at_source=self._is_cancelled(),
            row=ledger.find(key),
            timeline=[dict(line) for line in ledger.timeline(key)],
            time=self._time,
            purges=self._purges,
            resolutions=self._resolutions,
        )
