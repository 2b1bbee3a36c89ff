"""One appointment, the processes that cancel it, its source, and everything that may go wrong: one step at a time.

An actor is a greenlet that runs the real code up to its next step, which is a transaction or a call of the source. A
world lists what may happen next, and whoever explores it picks; the same picks lead to the same world.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast
from unittest import mock

import greenlet

from facade.cancellation import attempt, in_doubt, native, reconciler, results, service, timers
from facade.cancellation.attempt_context import AttemptContext
from facade.cancellation.budget import Budget
from facade.cancellation.in_doubt import Resolution, resolve_by_operator, undo_resolution
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.states import SETTLED, UNRESOLVED, State
from facade.cancellation.stored_request import Requester
from facade.clock import Clock
from facade.errors import RequestError
from facade.fhir import reasons, sanitize
from facade.fhir.appointment import Identity
from facade.ledger.store import Ledger
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import CancelRequest, Capabilities, Support
from tests.explorer.memory import MemoryLedger, Store
from tests.explorer.source import SETTLE_WINDOW, WRITES, ModelAdapter, SourceModel, declared

KEY = ("s", "1")
HOUR = 3700.0  # and a bit: longer than anything is put off
BUDGET = Budget(8.0)
TIMERS = timers.Timers.for_response_within(8.0)


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What there is, and how often each thing may happen in one run."""

    processes: int = 2
    clients: int = 2
    ticks: int = 0  # passes of a reconciler; the processes take turns
    readers: int = 0
    operators: int = 0
    undos: int = 0
    purges: int = 0
    passes: int = 2  # of ``quantum`` seconds
    quantum: float = 11.0  # longer than a lease, a silence and a client's patience
    kills: int = 0
    power_cuts: int = 0
    one_host: bool = False
    ledger_faults: int = 0
    read_faults: int = 0
    outside: int = 0  # cancelled by somebody else
    edits: int = 0  # changed by somebody else
    skew: tuple[float, ...] = (0.0, 0.0, 0.0)  # seconds of each process's wall clock
    writes: tuple[str, ...] = WRITES
    capabilities: Capabilities = field(default_factory=Capabilities)
    repeat: str = "errors"


class Violation(BaseException):
    """An invariant does not hold. No Exception: the code that is explored turns those of an adapter into outcomes."""


FAULTS = {"fails", "unacknowledged", "missing"}

Action = tuple[str, str]
"""Who goes on, or what happens; and how."""


class Actor:
    """One thread of one process, standing at a step: ``label``, and the ``choices`` of what becomes of it."""

    def __init__(self, world: "World", name: str, process: "Process", act: Callable[["Actor"], str]) -> None:
        self.name, self.process = name, process
        self.label, self.choices = "begin", ("ok",)
        self.past: Any = 0  # stands for everything that its code has seen
        self.waits: tuple[int, float] | None = None  # for the ledger or the time to change from these
        self.begun = False
        self.faulted = False
        self.result = ""
        self.reported_before = False  # whether somebody had received "cancelled" when this one began
        self._world = world
        self._act = act
        self._thread: Any = greenlet.greenlet(self._run)

    @property
    def alive(self) -> bool:
        return not self._thread.dead

    def _run(self, _: str) -> None:
        self.result = self._act(self)

    def go_on(self, how: str) -> None:
        if not self.begun:
            self.begun, self.reported_before = True, self._world.reported
        self.waits = None
        self.faulted |= how in FAULTS
        self.saw((self.label, how, self._world.time))
        self._thread.switch(how)

    def step(self, label: str, choices: tuple[str, ...]) -> str:
        """Of its own code: stop here, and go on as it is picked."""
        self.label, self.choices = label, choices
        picked: str = self._world.hub.switch()
        return picked

    def saw(self, what: Any) -> None:
        self.past = hash((self.past, repr(what)))

    def end(self) -> None:
        """The process is gone; none of its code runs any more."""
        self._thread.throw(greenlet.GreenletExit)

    def key(self) -> Any:
        return (self.begun, self.label, self.past, self.waits, self.reported_before) if self.alive else None


class _Clock(Clock):
    def __init__(self, world: "World", skew: float) -> None:
        self._world, self._skew = world, skew

    def now(self) -> float:
        return 1_000_000.0 + self._world.time + self._skew

    def monotonic(self) -> float:
        return self._world.time


class Process:
    """One facade: what its threads share, of which nothing outlives it."""

    def __init__(self, world: "World", number: int) -> None:
        self.number = number
        skew = world.setup.skew[number]
        clock = _Clock(world, skew)
        self.ledger: Any = MemoryLedger(world.store, clock, world.step, world.saw)
        self.repository = CancellationRepository(cast(Ledger, self.ledger), TIMERS, clock)
        context = AttemptContext(budget=BUDGET, timers=TIMERS, repository=self.repository, explain=False)
        resolver = in_doubt.InDoubtResolver(self.repository, TIMERS, clock)
        self.cancellations = service.CancellationService(context, resolver)
        self.reconciler = reconciler.Reconciler([world.configured], self.repository, resolver, TIMERS, BUDGET)

    def key(self) -> Any:
        watch = self.repository.observed
        return tuple(sorted((repr(k), v) for k, v in watch._since.items())), self.reconciler._next_sweep


class World:
    """The state of everything. ``actions`` may happen next; ``apply`` makes one happen, and raises Violation."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.hub = greenlet.getcurrent()
        self.time = 0.0
        self.reported = False  # somebody got "cancelled"
        self.calm = True  # nothing went wrong, and no time was lost
        self.left = Counter(
            time=setup.passes,
            kill=setup.kills,
            power=setup.power_cuts,
            ledger=setup.ledger_faults,
            read=setup.read_faults,
            outside=setup.outside,
            edit=setup.edits,
        )
        self.store = Store(one_host=setup.one_host)
        self.source = SourceModel(self.step, self.saw, self._before_write)
        versioned = setup.capabilities.versioned_writes is Support.FULL
        self.configured = ConfiguredSource(
            name=KEY[0],
            plugin=declared(setup.capabilities, setup.repeat),
            adapter=ModelAdapter(self.source, versioned=versioned),
            identity=Identity(source="s", source_system="urn:s", native_system="urn:s:".__add__),
            mapping=None,
            settings={"settle_window": SETTLE_WINDOW},
        )
        self.processes = [Process(self, number) for number in range(setup.processes)]
        self.forgotten = self.purged = False
        self.actors = [*self._cast()]
        self.running: Actor | None = None

    # What may happen

    def actions(self) -> list[Action]:
        found: list[Action] = []
        waiting: set[str] = set()  # of those who do the same, one after the other begins: they are all alike
        for actor in self.actors:
            kind = actor.name.rstrip("0123456789")
            if not actor.alive or kind in waiting or actor.waits == (self.store.version, self.time):
                continue
            if not actor.begun:
                waiting.add(kind)
            found += [(actor.name, how) for how in actor.choices if self._may(actor, how)]
        if self.left["time"] and self._may_pass():
            found.append(("time", "passes"))
        if self.left["kill"]:
            at_work = {actor.process.number for actor in self.actors if actor.begun and actor.alive}
            found += [("kill", str(number)) for number in sorted(at_work)]
        if self.left["power"] and self.store.durable[0] != self.store.rows:
            found.append(("power", "cut"))
        found += [("late", how) for how in self.source.late()]
        if self.left["outside"] and not self.source.cancelled:
            found.append(("outside", "cancels"))
        if self.left["edit"] and not self.source.cancelled:
            found.append(("outside", "edits"))
        return found

    def _may(self, actor: Actor, how: str) -> bool:
        if how in FAULTS:
            return self.left["read" if actor.label == "read appointment" else "ledger"] > 0
        return actor.label != "write" or how in self.setup.writes

    def _may_pass(self) -> bool:
        # Between the last check and the first byte no one is frozen: that is assumed (docs/concepts/at-most-once.md).
        about_to_write = any(actor.alive and actor.label == "write" for actor in self.actors)
        return not about_to_write and self.source.may_pass_until(self.time + self.setup.quantum)

    def apply(self, action: Action) -> None:
        who, how = action
        self.calm &= who not in {"time", "kill", "power", "late", "outside"} and how in {"ok", "done"}
        if who == "time":
            self.left["time"] -= 1
            self.pass_time(self.setup.quantum)
        elif who == "kill":
            self.left["kill"] -= 1
            self._kill(int(how))
        elif who == "power":
            self.left["power"] -= 1
            self.store.cut_the_power()
            for process in [*self.processes] if self.setup.one_host else ():
                self._kill(process.number)
        elif who == "late":
            self.source.arrives(how)
        elif who == "outside":
            self.left["outside" if how == "cancels" else "edit"] -= 1
            self.source.changed_outside(cancelled=how == "cancels")
        else:
            self._go_on(next(actor for actor in self.actors if actor.name == who), how)

    def close(self) -> None:
        """End every thread: what stands in the frames of one that does not go on is never collected."""
        for actor in self.actors:
            if actor.begun and actor.alive:
                actor.end()

    def pass_time(self, seconds: float) -> None:
        self.time += seconds
        self.source.time = self.time

    def _go_on(self, actor: Actor, how: str) -> None:
        if how in FAULTS:
            self.left["read" if actor.label == "read appointment" else "ledger"] -= 1
        self.running = actor
        actor.go_on(how)
        self.running = None
        if not actor.alive:
            self._ended(actor)

    def _kill(self, number: int) -> None:
        for actor in self.actors:
            if actor.process.number == number and actor.begun and actor.alive:
                actor.end()
        self.processes[number] = Process(self, number)
        for actor in self.actors:
            if actor.alive and actor.process.number == number:
                actor.process = self.processes[number]

    def step(self, label: str, choices: tuple[str, ...]) -> str:
        return self.running.step(label, choices) if self.running is not None else "ok"

    def saw(self, what: Any) -> None:
        if self.running is not None:
            self.running.saw(what)

    # What must hold

    def _before_write(self) -> None:
        """A native write leaves now."""
        durable = self.store.durable[0].get(KEY)
        if durable is None or durable.state not in {State.SENDING, *UNRESOLVED, State.CANCELLED}:
            raise Violation(f"a write left and would be forgotten: {durable and durable.state}")
        if self.source.may_be_executed():
            raise Violation("a second write left, and the first was executed or may yet be")

    def _ended(self, actor: Actor) -> None:
        if actor.result == "bug":
            raise Violation(f"{actor.name} failed")
        if actor.result == "cancelled":
            if not self.source.cancelled:
                raise Violation(f"{actor.name} got cancelled, and it is not")
            self.reported = True
        elif actor.name.startswith("client") and self.calm:
            raise Violation(f"nothing went wrong, and {actor.name} got {actor.result}")
        elif actor.result in {"proposed", "booked"} and actor.reported_before and not self.purged:
            raise Violation(f"{actor.name} got {actor.result} after cancelled had been said")
        if actor.name.startswith("client") and actor.result in {"cancelled", "proposed"}:
            audited = any(done.request_id == actor.name for _, done in self.store.durable[2])
            if not audited and not actor.faulted and not self.forgotten:
                raise Violation(f"the audit of what {actor.name} got would be lost")

    def finish(self) -> None:
        """No one is at work and no more goes wrong: what is in doubt settles, and on the truth."""
        last = Process(self, 0)
        for _ in range(10):
            self.pass_time(HOUR)
            self.source.forget_late(self.time)
            last.reconciler.tick(self.configured)
            row = self.store.rows.get(KEY)
            if row is None or row.state in SETTLED:
                break
        blind = self.setup.capabilities.read is not Support.FULL
        if self.reported and not self.purged and (row is None or row.state != State.CANCELLED):
            raise Violation(f"cancelled got, and the row says {row and row.state}")
        if row is not None and row.state not in SETTLED:
            if row.state != State.OPERATOR or not (blind or self.setup.repeat == "harmful" or row.read_due):
                raise Violation(f"the row stays {row.state}")
            return
        if row is not None and row.state == State.CANCELLED and not self.source.cancelled:
            raise Violation("the row says cancelled, and it is not")
        if row is not None and row.state != State.CANCELLED and self.source.executed_ours and not self.purged:
            raise Violation(f"the write was executed, and the row says {row.state}")

    def key(self) -> int:
        """The same for worlds that go on in the same way."""
        rows, _, audits, number = self.store.durable
        durable = (repr(rows), number) if self.setup.power_cuts else None
        audited = frozenset(done.request_id for _, done in audits)
        actors = tuple(actor.key() for actor in self.actors)
        processes = tuple(process.key() for process in self.processes)
        ledger = (repr(self.store.rows), self.store.number, durable, audited, self.store.version)
        counts = tuple(self.left.values())
        flags = (self.reported, self.forgotten, self.purged, self.calm)
        return hash((self.time, flags, counts, ledger, self.source.key(), actors, processes))

    # Who is there

    def _cast(self) -> Iterator[Actor]:
        setup = self.setup
        kinds: list[tuple[str, int, Callable[[Actor], str]]] = [
            ("client", setup.clients, self._cancel),
            ("tick", setup.ticks, self._tick),
            ("reader", setup.readers, self._read),
            ("operator", setup.operators, self._resolve),
            ("undo", setup.undos, self._undo),
            ("purge", setup.purges, self._purge),
        ]
        for kind, count, act in kinds:
            for number in range(count):
                yield Actor(self, f"{kind}{number + 1}", self.processes[number % len(self.processes)], act)

    def _cancel(self, actor: Actor) -> str:
        requester = Requester(actor.name, actor.name)
        request = CancelRequest(appointment_id=KEY[1])
        try:
            given = actor.process.cancellations.cancel(self.configured, request, requester)
        except RequestError as error:
            return type(error).__name__
        return str(given.appointment["status"])

    def _read(self, actor: Actor) -> str:
        try:
            given = actor.process.cancellations.read(self.configured, KEY[1])
        except RequestError as error:
            return type(error).__name__
        return str(given.appointment["status"])

    def _tick(self, actor: Actor) -> str:
        with suppress(RequestError):
            actor.process.reconciler.tick(self.configured)
        return "ticked"

    def _resolve(self, actor: Actor) -> str:
        """An operator who reads the row, then the source, and is right."""
        try:
            row = actor.process.ledger.find(KEY)
            if row is not None and row.state in UNRESOLVED and not self.source.pending():
                resolution = "cancelled" if self.source.cancelled else "not-applied"
                resolve_by_operator(actor.process.repository, row, Resolution(resolution), "because", "me")
        except RequestError:
            pass
        return "resolved"

    def _undo(self, actor: Actor) -> str:
        try:
            row = actor.process.ledger.find(KEY)
            if row is not None:
                readable = self.configured.readable
                undo_resolution(actor.process.repository, row, "because", "me", readable=readable)
        except RequestError:
            pass
        return "undone"

    def _purge(self, actor: Actor) -> str:
        was_there = KEY in self.store.rows
        with suppress(RequestError):
            actor.process.ledger.purge(tuple(SETTLED), before=actor.process.ledger.clock.now())
        if was_there and KEY not in self.store.rows:
            self.forgotten = True
            # On purpose: nothing follows any more from what got, and from what was executed, before.
            self.purged |= self.reported or self.source.may_be_executed()
        return "purged"


# The real code's outside: time, and what costs much and decides nothing


class _Now:
    """The world whose code is running."""

    world: World | None = None


def _monotonic() -> float:
    return _Now.world.time if _Now.world is not None else 0.0


def _sleep(_: float) -> None:
    world = _Now.world
    actor = world.running if world is not None else None
    if world is not None and actor is not None:
        actor.waits = (world.store.version, world.time)
        actor.step("sleep", ("ok",))


def _complete(source: Any, appointment_id: str, found: Any, **facts: Any) -> dict[str, Any]:
    return {"resourceType": "Appointment", "status": facts["status"]}


def _no_elements(*_: Any) -> dict[str, Any]:  # no Mock: it would keep what it was called with, and so every world
    return {}


def _no_reason(*_: Any, **__: Any) -> None:
    return None


def _resolved(_: Any, status: str, why: Any = None) -> dict[str, Any]:
    return {"resourceType": "Appointment", "status": status}


@contextmanager
def in_the_model() -> Iterator[Callable[[Setup], World]]:
    """While it lasts, the cancellation's code runs by a world's time; gives what makes worlds."""

    def make(setup: Setup) -> World:
        _Now.world = World(setup)
        return _Now.world

    quiet = SimpleNamespace(**dict.fromkeys(("debug", "info", "warning", "error"), lambda *_, **__: None))
    with ExitStack() as patched:
        for module in (results, attempt, in_doubt, native, reconciler, service):
            patched.enter_context(mock.patch.object(module, "log", quiet))
        patched.enter_context(
            mock.patch.object(sys.modules["facade.deadline"], "time", SimpleNamespace(monotonic=_monotonic))
        )
        patched.enter_context(mock.patch.object(service, "time", SimpleNamespace(sleep=_sleep)))
        patched.enter_context(mock.patch.object(timers, "random", SimpleNamespace(uniform=lambda _, __: 1.0)))
        patched.enter_context(mock.patch.object(results, "_complete", _complete))
        patched.enter_context(mock.patch.object(results, "expected_elements", _no_elements))
        patched.enter_context(mock.patch.object(results, "resolved", _resolved))
        patched.enter_context(mock.patch.object(reasons, "cancelation_reason", _no_reason))
        patched.enter_context(mock.patch.object(sanitize, "remove_invalid", lambda found: (found, [])))
        yield make
