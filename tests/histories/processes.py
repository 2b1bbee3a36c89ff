"""The facade processes of one history, as the history sees them: each may be dead, frozen or held at a point."""

import contextlib
import json
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.histories.timeline import HostClock

START = 120.0  # real seconds for a process to start; a machine may do much else


class Process:
    """One facade process; it may be dead or frozen without saying so."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._rest = b""
        self.pid: int | None = None
        self.killed = False
        self.held = False

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

    def await_end(self) -> None:
        """Until the system has no such process any more."""
        ends_at = time.monotonic() + START
        while self.pid is not None and time.monotonic() < ends_at:
            try:
                os.kill(self.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.001)
        raise RuntimeError("a facade process that was killed did not end")

    def fileno(self) -> int:
        return self._channel.fileno()


class Zygote:
    """The channel to the process that forks facade processes."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel

    def fork(self, order: dict[str, Any]) -> None:
        # One line, below PIPE_BUF: whole even when several histories ask at once.
        self._channel.sendall(json.dumps(order).encode() + b"\n")


class Fleet:
    """The processes by their number, each with its host's clock; one that dies is replaced at the next ``take_in``.

    ``order`` is what the zygote forks, but for the channel and the clock. ``answered`` gets each answer.
    """

    def __init__(
        self,
        zygote: Zygote,
        folder: Path,
        name: str,
        count: int,
        order: dict[str, Any],
        answered: Callable[[dict[str, Any]], None],
    ) -> None:
        self._zygote = zygote
        self._socket = folder / f"{name}.sock"
        self._files = [folder / f"{name}.{number}.clock" for number in range(count)]
        self._order = order
        self._answered = answered
        self.clocks = [HostClock(file) for file in self._files]
        self._processes: list[Process] = []
        self._frozen: dict[int, float] = {}
        self.crashes = 0  # processes that died by themselves: at a crash point
        self.deaths = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Start them all; end them all."""
        with socket.socket(socket.AF_UNIX) as self._listener:
            self._listener.bind(str(self._socket))
            self._listener.listen(8)
            self._listener.settimeout(START)
            try:
                for number in range(len(self.clocks)):
                    self._processes.append(self._start(number))
                yield
            finally:
                for process in self._processes:
                    process.end()
                for clock in self.clocks:
                    clock.close()

    def __getitem__(self, number: int) -> Process:
        return self._processes[number]

    @property
    def permits(self) -> int:
        """How many write permits were granted in all."""
        return sum(clock.permits for clock in self.clocks)

    def freeze(self, number: int, until: float) -> None:
        """Stop a process until this moment of the history."""
        self._processes[number].send_signal(signal.SIGSTOP)
        self._frozen[number] = until

    def thaw(self, now: float = float("inf")) -> None:
        """Let every process go on that was to be frozen until ``now`` at the longest."""
        for number in [number for number, until in self._frozen.items() if until <= now]:
            del self._frozen[number]
            self._processes[number].send_signal(signal.SIGCONT)

    def restart(self, meanwhile: Callable[[], None], **changes: str) -> None:
        """End all, wait until they are gone, do what cannot be done while they run, and start all with other orders."""
        for process in self._processes:
            process.end()
            process.await_end()
        self._frozen.clear()
        self.deaths += len(self._processes)
        meanwhile()
        self._order = {**self._order, **changes}
        self._processes = [self._start(number) for number in range(len(self._processes))]

    def take_in(self, seconds: float) -> None:
        """Take in what the processes say, for at most so many real seconds, and replace those that have died."""
        with selectors.DefaultSelector() as selector:
            for number, process in enumerate(self._processes):
                selector.register(process, selectors.EVENT_READ, number)
            for key, _ in selector.select(seconds):
                self._hear(key.data)

    def _hear(self, number: int) -> None:
        process = self._processes[number]
        said = process.answers()
        if said is None:
            self.crashes += not process.killed
            self.deaths += 1
            process.end()
            self._frozen.pop(number, None)
            self._processes[number] = self._start(number)
            return
        for answer in said:
            if "held" in answer:
                process.held = True
            else:
                self._answered(answer)

    def _start(self, number: int) -> Process:
        self._zygote.fork({**self._order, "channel": str(self._socket), "clock": str(self._files[number])})
        channel = self._listener.accept()[0]
        channel.settimeout(START)
        process = Process(channel)
        while process.pid is None:
            said = process.answers()
            if said is None:
                raise RuntimeError("a facade process died while it started")
            process.pid = said[0]["pid"]
        return process
