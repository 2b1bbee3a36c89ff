"""One facade process of a history: the use case and the reconciler, driven over a socket, killed at will."""

import ctypes
import gc
import json
import os
import signal
import socket
import sys
import threading
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from facade_heim.adapter import HeimAdapter
from sqlalchemy import Engine, event, make_url

from facade.cancellation.attempt_context import AttemptContext
from facade.cancellation.budget import Budget
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.reconciler import Reconciler
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.service import CancellationService
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.clock import Clock
from facade.errors import RequestError
from facade.fhir.reasons import SYSTEM
from facade.ledger import engine as store
from facade.ledger.store import Ledger
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest, Coding, SourceAdapter, SourceConfig, WritePermit
from tests.histories.timeline import HostClock
from tests.histories.variants import VARIANTS

HELD = 60.0  # real seconds that a held process waits at most to continue
_PR_SET_PDEATHSIG = 1  # linux/prctl.h
TIMERS = Timers(
    lease=0.5,
    sending=0.7,
    send_guard=0.1,
    reads=(0.05, 0.1, 0.2, 0.3),
    operator_after=30.0,
    hold=0.5,
    hint=0.05,
    poll=0.02,
    tick=0.05,
    steady=0.5,
    sweep=0.1,
)


@dataclass(frozen=True)
class Patient(Budget):
    """Real seconds enough for every part: a busy machine must not keep a facade from sending."""

    answer_within: float = 40.0
    work: float = 30.0
    read: float = 10.0
    write: float = 10.0
    probe: float = 10.0


IMPATIENT = Budget(0.5)  # its write ends before the source's silence does


class HistoryClock(Clock):
    """The history's time, as this host shows it."""

    def __init__(self, host: HostClock) -> None:
        self._host = host

    def now(self) -> float:
        return self._host.now()

    def monotonic(self) -> float:
        return self._host.monotonic()


class Counting(SourceAdapter):
    """Counts the write permits that the adapter before it was granted."""

    def __init__(self, adapter: SourceAdapter, host: HostClock) -> None:
        self._adapter = adapter
        self._host = host

    def read(self, appointment_id: str) -> Appointment:
        return self._adapter.read(appointment_id)

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        def counted() -> None:
            permit()
            self._host.count_permit()

        return self._adapter.cancel(request, current, counted)


class Node:
    """Builds the facade's inside and obeys: each order is a JSON line, each answer another."""

    def __init__(self, channel: socket.socket, order: dict[str, Any], source: ConfiguredSource, engine: Engine) -> None:
        self._channel = channel
        self._writing = threading.Lock()
        self._crash: tuple[str, int] | None = None
        self._hold = ""
        self._go_on = threading.Event()
        if order["variant"]:
            VARIANTS[order["variant"]]()
        host = HostClock(Path(order["clock"]))
        clock = HistoryClock(host)
        template = source.adapter._config  # type: ignore[attr-defined]  # set or patched by the test
        settings = {**template.settings, "base_url": order["base_url"]}
        adapter = HeimAdapter(SourceConfig(plugin="heim", name=order["name"], settings=settings))
        adapter._http._connect_timeout = Patient.read if order["patient"] else IMPATIENT.read
        self._source = replace(source, name=order["name"], adapter=Counting(adapter, host))
        _aim(engine, order["store"])
        ledger = Ledger(engine, clock=clock, crash_point=self._crash_point)
        repository = CancellationRepository(ledger, TIMERS, clock)
        budget = Patient() if order["patient"] else IMPATIENT
        resolver = InDoubtResolver(repository, TIMERS, clock)
        self._cancellations = CancellationService(
            AttemptContext(budget=budget, timers=TIMERS, repository=repository), resolver
        )
        Reconciler([self._source], repository, resolver, TIMERS, budget).start()

    def serve(self) -> None:
        """Until the channel ends."""
        self._say({"pid": os.getpid()})
        with self._channel.makefile("rb") as orders:
            for line in orders:
                order = json.loads(line)
                if order["do"] == "crash-at":
                    self._crash = (order["point"], order["pass"])
                elif order["do"] == "hold-at":
                    self._hold = order["point"]
                elif order["do"] == "go-on":
                    self._hold = ""
                    self._go_on.set()
                else:
                    threading.Thread(target=self._obey, args=(order,), daemon=True).start()

    def _obey(self, order: dict[str, Any]) -> None:
        answer: dict[str, Any]
        try:
            if order["do"] == "hint":
                self._cancellations.hint(self._source, order["id"])
                answer = {"said": "hinted"}
            elif order["do"] == "read":
                given = self._cancellations.read(self._source, order["id"])
                answer = {"said": given.appointment["status"], "version": given.version}
            else:
                request = CancelRequest(appointment_id=order["id"], codings=(Coding(SYSTEM, order["reason"]),))
                requester = Requester("scheduler", str(order["n"]))
                given = self._cancellations.cancel(self._source, request, requester)
                answer = {"said": given.appointment["status"], "outcome": given.outcome, "version": given.version}
                answer["body"] = json.dumps(given.appointment)
        except RequestError as error:
            answer = {"said": str(error.status)}
        except Exception as error:  # noqa: BLE001 - the checker reports whatever it is
            answer = {"said": "bug", "error": repr(error)}
        self._say({"n": order["n"], **answer})

    def _say(self, answer: dict[str, Any]) -> None:
        with self._writing:
            self._channel.sendall(json.dumps(answer).encode() + b"\n")

    def _crash_point(self, name: str) -> None:
        if self._hold == name:
            self._hold = ""
            self._say({"held": name})
            self._go_on.wait(HELD)
        if self._crash is not None and self._crash[0] == name:
            if self._crash[1] == 0:
                os.kill(os.getpid(), signal.SIGKILL)
            self._crash = (name, self._crash[1] - 1)


class _Calm(SourceAdapter):
    """A source without network, to warm up with."""

    def __init__(self) -> None:
        self._status = "booked"

    def read(self, appointment_id: str) -> Appointment:
        return {"resourceType": "Appointment", "id": appointment_id, "status": self._status}

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        permit()
        self._status = "cancelled"
        return self.read(request.appointment_id)


def _warm_up(source: ConfiguredSource, url: str) -> Engine:
    """An engine that has compiled what a node will say, and every model and schema built once."""
    store.LOCK_WAIT = 1.0
    engine = store.connect(url, pool_size=2, max_overflow=4)
    clock = Clock()
    repository = CancellationRepository(Ledger(engine), TIMERS, clock)
    resolver = InDoubtResolver(repository, TIMERS, clock)
    cancellations = CancellationService(
        AttemptContext(budget=Budget(8.0), timers=TIMERS, repository=repository), resolver
    )
    calm = replace(source, name="warm-up", adapter=_Calm())
    for _ in range(2):
        cancellations.cancel(
            calm, CancelRequest(appointment_id="apt_1", codings=(Coding(SYSTEM, "pat"),)), Requester("x")
        )
    Reconciler([calm], repository, resolver, TIMERS, Budget(8.0)).tick(calm)
    engine.dispose()
    return engine


def _aim(engine: Engine, url: str) -> None:
    """Let the engine connect to this URL from now on: it is the one that everything was compiled for."""
    dialect = engine.dialect
    cargs, cparams = dialect.create_connect_args(make_url(url))

    @event.listens_for(engine, "do_connect")
    def _elsewhere(_: Any, __: Any, given: list[Any], named: dict[str, Any]) -> None:
        given[:] = cargs
        named.update(cparams)


def die_with_the_parent() -> None:
    """A run that is broken off leaves no process behind, not even a frozen one (Linux; elsewhere it may)."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def zygote(channel: socket.socket, source: ConfiguredSource, url: str) -> None:
    """Forks a node for each order; pre-imported and single-threaded, so that a fork is cheap and safe.

    ``url`` is a ledger to warm up on, of the same kind as the nodes' ones.
    """
    die_with_the_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    engine = _warm_up(source, url)
    gc.collect()
    gc.freeze()  # a collection in a child would copy every page of what it shares with its parent
    with channel.makefile("rb") as orders:
        for line in orders:
            order = json.loads(line)
            if os.fork() == 0:
                die_with_the_parent()
                try:
                    with socket.socket(socket.AF_UNIX) as own:
                        own.connect(order["channel"])
                        Node(own, order, source, engine).serve()
                finally:
                    os._exit(0)
