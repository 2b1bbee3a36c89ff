"""gunicorn's worker: one thread waits for all clients, and threads answer the requests that are here.

A request goes to a thread when its head is here. Where the application then asks for a body that is not here, the
thread is given back, and the request begins anew when the body has come: what can be refused by the head is refused
before the body, and a body that does not come costs no thread.
"""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import ClassVar

from gunicorn.workers.base import Worker

from facade.server import framing
from facade.server.clients import PROBES, Clients
from facade.server.connection import Connection, Limits
from facade.server.handling import Body, RawResponse, answer, parse_head, refusal


def worker_class(limits: Limits, probe_port: int | None = None) -> type["BoundedWorker"]:
    """The worker with these limits. What it accepts on ``probe_port`` gets answers to probes only."""
    return type("BoundedWorker", (BoundedWorker,), {"limits": limits, "probe_port": probe_port})


class BoundedWorker(Worker):  # type: ignore[misc]  # gunicorn ships no types
    """A worker process. Probes have a thread for each of their paths, beside the threads for everything else."""

    alive: bool
    limits: ClassVar[Limits] = Limits()
    probe_port: ClassVar[int | None] = None

    def init_process(self) -> None:
        """Prepare in the worker, after the fork; returns when ``run`` does."""
        self._done: SimpleQueue[tuple[Connection, RawResponse | None, int]] = SimpleQueue()
        self._threads = ThreadPoolExecutor(self.cfg.threads, "request")
        self._probe_threads = {path: ThreadPoolExecutor(1, "probe") for path in PROBES}
        self._clients = Clients(
            self.limits,
            keep_alive=self.cfg.keepalive,
            parse_head=lambda head, client: parse_head(head, client, self.cfg),
            refuse=lambda client, error: refusal(None, client, error, self.handle_error),
            hand_over=self._hand_over,
        )
        super().init_process()

    def run(self) -> None:
        """Serve until stopped, then let what is being answered end."""
        # A signal writes into the pipe too, so that it ends the wait.
        self._clients.wake_up_for(self.PIPE[0], self._empty_the_pipe)
        for listener in self.sockets:
            self._clients.listeners.add(listener, for_probes=listener.getsockname()[1] == self.probe_port)
        while self.alive and self.ppid == os.getppid():
            self._turn()
        self.alive = False
        self._clients.stop()
        ends_at = time.monotonic() + self.cfg.graceful_timeout
        while len(self._clients) and time.monotonic() < ends_at:
            self._turn()
        self._clients.close()
        for threads in (self._threads, *self._probe_threads.values()):
            threads.shutdown(wait=False, cancel_futures=True)

    def _turn(self) -> None:
        self.notify()
        self._clients.turn()
        with contextlib.suppress(Empty):
            while True:
                self._clients.answered(*self._done.get_nowait())

    def _empty_the_pipe(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.PIPE[0], 4096)

    def _hand_over(self, connection: Connection, body: Body, end: int) -> None:
        threads = self._probe_threads.get(connection.path, self._threads)
        threads.submit(self._work, connection, bytes(connection.received[:end]), body, end)

    def _work(self, connection: Connection, raw: bytes, body: Body, end: int) -> None:
        """RawResponse one request, in a thread."""
        found: RawResponse | None = RawResponse(b"", keep=False)
        try:
            found = answer(
                self.wsgi,
                raw,
                body,
                client=connection.client,
                server=connection.server,
                cfg=self.cfg,
                # Whether our idea of where chunks end is gunicorn's is not left to chance.
                keep=self.alive and isinstance(connection.body, framing.Sized),
                refuse=self.handle_error,
            )
        finally:
            self._done.put((connection, found, end))
            with contextlib.suppress(OSError):  # full: the waiting thread is about to wake up
                os.write(self.PIPE[1], b".")
