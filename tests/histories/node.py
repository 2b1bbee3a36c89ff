"""One facade process of a history: the use case and the reconciler, driven over a socket, killed at will."""

import ctypes
import gc
import json
import mmap
import os
import signal
import socket
import struct
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, make_url

from facade.cancellation.attempt import Means
from facade.cancellation.budget import Budget
from facade.cancellation.doubt import Doubt
from facade.cancellation.reconciler import Reconciler
from facade.cancellation.records import Records
from facade.cancellation.timers import Timers
from facade.cancellation.use_case import Cancellations
from facade.cancellation.wish import Caller
from facade.clock import Clock
from facade.contract import Appointment, CancelRequest, Coding, Permit, SourceAdapter, SourceConfig
from facade.errors import RequestError
from facade.fhir.reasons import SYSTEM
from facade.ledger import engine as store
from facade.ledger.store import Ledger
from facade.registry import Source
from plugins.heim.adapter import HeimAdapter
from tests.histories.variants import VARIANTS

ANSWER_WITHIN = 1.0
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
)


class JumpingClock(Clock):
    """The machine's clock, moved by the offset (a double) in a file that the history shares."""

    def __init__(self, path: str) -> None:
        with Path(path).open("r+b") as file:
            self._offset = mmap.mmap(file.fileno(), 8)

    def now(self) -> float:
        return time.time() + struct.unpack("d", self._offset[:8])[0]


class Node:
    """Builds the facade's inside and obeys: each order is a JSON line, each answer another."""

    def __init__(self, channel: socket.socket, order: dict[str, Any], source: Source, engine: Engine) -> None:
        self._channel = channel
        self._writing = threading.Lock()
        self._crash: tuple[str, int] | None = None
        if order["variant"]:
            VARIANTS[order["variant"]]()
        clock = JumpingClock(order["clock"])
        template = source.adapter._config
        settings = {**template.settings, "base_url": order["base_url"]}
        adapter = HeimAdapter(SourceConfig(plugin="heim", name=order["name"], settings=settings))
        self._source = replace(source, name=order["name"], adapter=adapter)
        _aim(engine, order["store"])
        ledger = Ledger(engine, clock=clock, crash_point=self._crash_point)
        records = Records(ledger, TIMERS, clock)
        budget = Budget(ANSWER_WITHIN)
        looking = Doubt(records, TIMERS, clock)
        self._cancellations = Cancellations(Means(budget=budget, timers=TIMERS, records=records), looking)
        Reconciler([self._source], records, looking, TIMERS, budget).start()

    def serve(self) -> None:
        """Until the channel ends."""
        self._say({"pid": os.getpid()})
        with self._channel.makefile("rb") as orders:
            for line in orders:
                order = json.loads(line)
                if order["do"] == "crash-at":
                    self._crash = (order["point"], order["pass"])
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
                caller = Caller("scheduler", str(order["n"]))
                given = self._cancellations.cancel(self._source, request, caller)
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

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: Permit) -> Appointment:
        permit()
        self._status = "cancelled"
        return self.read(request.appointment_id)


def _warm_up(source: Source, url: str) -> Engine:
    """An engine that has compiled what a node will say, and every model and schema built once."""
    store.LOCK_WAIT = 0.3
    engine = store.connect(url, pool_size=2, max_overflow=4)
    clock = Clock()
    records = Records(Ledger(engine), TIMERS, clock)
    looking = Doubt(records, TIMERS, clock)
    cancellations = Cancellations(Means(budget=Budget(8.0), timers=TIMERS, records=records), looking)
    calm = replace(source, name="warm-up", adapter=_Calm())
    for _ in range(2):
        cancellations.cancel(calm, CancelRequest(appointment_id="apt_1", codings=(Coding(SYSTEM, "pat"),)), Caller("x"))
    Reconciler([calm], records, looking, TIMERS, Budget(8.0)).tick(calm)
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


def zygote(channel: socket.socket, source: Source, url: str) -> None:
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
