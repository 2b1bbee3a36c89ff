"""gunicorn's worker: one thread waits for all clients, other threads run the application.

A request goes to a thread when its head is complete. If the application then asks for a body that has not arrived, the
thread becomes free, and the request starts from the beginning when the body is complete. So the application rejects by
the head what it can, and a body that does not arrive occupies no thread.
"""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import ClassVar

from gunicorn.workers.base import Worker

from facade.server import framing
from facade.server.connection import Connection, Limits
from facade.server.connection_loop import HEALTH_PATHS, ConnectionLoop
from facade.server.wsgi import BodyState, RawResponse, error_response, parse_head, respond


def worker_class(limits: Limits, health_port: int | None = None) -> type["BoundedWorker"]:
    """Return the worker class with these limits. On ``health_port`` it serves the health probes only."""
    return type("BoundedWorker", (BoundedWorker,), {"limits": limits, "health_port": health_port})


class BoundedWorker(Worker):  # type: ignore[misc]  # gunicorn ships no types
    """A worker process. Each health probe has a thread of its own, besides the threads for all other requests."""

    alive: bool
    limits: ClassVar[Limits] = Limits()
    health_port: ClassVar[int | None] = None

    def init_process(self) -> None:
        """Set up the worker after the fork, and run it. Returns when ``run`` does."""
        self._done: SimpleQueue[tuple[Connection, RawResponse | None, int]] = SimpleQueue()
        self._threads = ThreadPoolExecutor(self.cfg.threads, "request")
        self._health_threads = {path: ThreadPoolExecutor(1, "health") for path in HEALTH_PATHS}
        self._loop = ConnectionLoop(
            self.limits,
            keep_alive=self.cfg.keepalive,
            parse_head=lambda head, client: parse_head(head, client, self.cfg),
            reject=lambda client, error: error_response(None, client, error, self.handle_error),
            submit=self._submit,
        )
        super().init_process()

    def run(self) -> None:
        """Serve until stopped, then finish the requests in progress."""
        # A signal handler writes to the pipe too, which ends the wait.
        self._loop.watch(self.PIPE[0], self._drain_pipe)
        for listener in self.sockets:
            self._loop.listeners.add(listener, for_health=listener.getsockname()[1] == self.health_port)
        while self.alive and self.ppid == os.getppid():
            self._run_once()
        self.alive = False
        self._loop.stop()
        ends_at = time.monotonic() + self.cfg.graceful_timeout
        while len(self._loop) and time.monotonic() < ends_at:
            self._run_once()
        self._loop.close()
        for threads in (self._threads, *self._health_threads.values()):
            threads.shutdown(wait=False, cancel_futures=True)

    def _run_once(self) -> None:
        self.notify()
        self._loop.run_once()
        with contextlib.suppress(Empty):
            while True:
                self._loop.complete(*self._done.get_nowait())

    def _drain_pipe(self) -> None:
        with contextlib.suppress(BlockingIOError):
            os.read(self.PIPE[0], 4096)

    def _submit(self, connection: Connection, body: BodyState, end: int) -> None:
        threads = self._health_threads.get(connection.path, self._threads)
        threads.submit(self._work, connection, bytes(connection.received[:end]), body, end)

    def _work(self, connection: Connection, raw: bytes, body: BodyState, end: int) -> None:
        """Run one request, in a thread."""
        response: RawResponse | None = RawResponse(b"", keep_alive=False)
        try:
            response = respond(
                self.wsgi,
                raw,
                body,
                client=connection.client,
                server=connection.server,
                cfg=self.cfg,
                # After a chunked body, gunicorn's parser might see another start of the next request than framing.
                keep_alive=self.alive and isinstance(connection.body, framing.FixedLengthBody),
                handle_error=self.handle_error,
            )
        finally:
            self._done.put((connection, response, end))
            with contextlib.suppress(OSError):  # the pipe is full: the waiting thread wakes up anyway
                os.write(self.PIPE[1], b".")
