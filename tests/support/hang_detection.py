"""Deadlines that pass when the source hangs, however slow the machine is: an exchange that goes on is waited for."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, wait
from concurrent.futures._base import DoneAndNotDoneFutures
from typing import Any

import pytest

from facade import http_client
from facade.testing.simulator.host import SimulatorHost
from tests.support.waiting import Gate

PATIENT = 60.0  # seconds to answer within: the most that a configuration may say


def give_up_only_what_hangs(monkeypatch: pytest.MonkeyPatch, hosts: Sequence[SimulatorHost]) -> None:
    """End the wait for each exchange as soon as one of these hosts keeps it waiting on purpose."""
    mine = threading.local()

    class Wire(http_client._ExchangeState):
        """Known to the thread that will wait for its exchange."""

        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            mine.wire = self

        def address(self) -> Any:
            try:
                return self._socket.getsockname() if self._socket else None
            except OSError:  # over
                return None

    def wait_unless_it_hangs(futures: Sequence[Future[Any]], seconds: float) -> DoneAndNotDoneFutures[Any]:
        ends_at = time.monotonic() + seconds
        while True:
            result = wait(futures, min(0.01, max(0.0, ends_at - time.monotonic())))
            hangs = any(host.keeps_waiting(mine.wire.address()) for host in hosts)
            if result.done or hangs or time.monotonic() >= ends_at:
                return result

    monkeypatch.setattr(http_client, "_ExchangeState", Wire)
    monkeypatch.setattr(http_client, "wait", wait_unless_it_hangs)


def give_up_once_reached(monkeypatch: pytest.MonkeyPatch, gate: Gate) -> None:
    """Let the deadline of every exchange pass when someone has come to the gate."""

    def wait_until_reached(futures: Sequence[Future[Any]], _: float) -> DoneAndNotDoneFutures[Any]:
        gate.reached()
        return wait(futures, 0)

    monkeypatch.setattr(http_client, "wait", wait_until_reached)
