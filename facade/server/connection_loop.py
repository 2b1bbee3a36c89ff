"""Reads and writes all connections of one worker in one thread, which never blocks on any of them.

Every phase of a connection has a deadline, and the number of connections is bounded: to make room for a new
connection, the loop closes the one that has waited longest for its client.
"""

import contextlib
import selectors
import socket
import struct
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from facade.server import framing
from facade.server.connection import Connection, Limits, Phase
from facade.server.listeners import Listeners
from facade.server.wsgi import BodyState, RawResponse

HEALTH_PATHS = ("/health/live", "/health/ready")
"""The only paths that the health port serves."""
_STOP_WITHIN = 1.0  # seconds that a stop waits for clients
_HEALTH_CONNECTIONS = 64
_MAX_HEAD = 64 * 1024  # bytes; gunicorn's parser has smaller limits of its own
_MAX_BODY = 256 * 1024  # bytes of a chunked body in its encoding; more than the application reads
_MAX_UNSENT = 64 * 1024 * 1024  # bytes of responses that clients have not taken yet
_MAX_DISCARDED = 1024 * 1024  # bytes received after the response
_READ_SIZE = 64 * 1024
_LINGER = 2.0  # seconds for a client to hang up after its response
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_NO_HEALTH_PATH = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class ConnectionLoop:
    """The connections of a worker. All methods run in the thread that calls ``run_once``.

    ``parse_head`` returns gunicorn's request object for the bytes of a head and the client's address; ``reject``
    returns the response to its error. ``submit`` starts a request in another thread; afterwards the worker passes its
    response to ``complete``.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        keep_alive: float,
        parse_head: Callable[[bytes, Any], Any],
        reject: Callable[[Any, Exception], RawResponse],
        submit: Callable[[Connection, BodyState, int], None],
    ) -> None:
        self._limits, self._keep_alive = limits, keep_alive
        self._parse_head, self._reject, self._submit = parse_head, reject, submit
        self._poller = selectors.DefaultSelector()
        self._open: dict[bool, set[Connection]] = {False: set(), True: set()}
        self.listeners = Listeners(self._poller, has_room=self._has_room, make_room=self._make_room, take=self._take)
        self._stopping = False
        self._next_deadline = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def watch(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call ``callback`` from ``run_once`` when this file descriptor is readable."""
        self._poller.register(descriptor, selectors.EVENT_READ, callback)

    def run_once(self) -> None:
        """Wait for events, for at most a second, and handle them."""
        resumes_at = self.listeners.resume()
        now = time.monotonic()
        ends_at = min(now + 1.0, self._next_deadline, now + 1.0 if resumes_at is None else resumes_at)
        for key, _ in self._poller.select(max(0.0, ends_at - now)):
            key.data()
        self._expire()

    def stop(self) -> None:
        """Stop accepting connections; clients have a second to finish sending or receiving."""
        self.listeners.stop()
        self._stopping = True
        self._next_deadline = 0.0
        for connection in self._waiting():
            connection.deadline = min(connection.deadline, time.monotonic() + _STOP_WITHIN)

    def close(self) -> None:
        """Close every connection."""
        for connection in [one for some in self._open.values() for one in some]:
            self._close(connection)
        self._poller.close()

    def complete(self, connection: Connection, response: RawResponse | None, end: int) -> None:
        """Send the response to the request that ends at this offset; None: wait for the request's body first."""
        if response is not None:
            connection.next_request(end)
            self._send(connection, response)
            return
        self._enter(connection, Phase.BODY, self._limits.body)
        if connection.expects_continue:
            with contextlib.suppress(OSError):  # without it, a client sends its body after a delay
                connection.sock.send(_CONTINUE)
        self._wait_for(connection, selectors.EVENT_READ)

    # The number of connections

    def _has_room(self, for_health: bool) -> bool:
        """Return whether the loop can take one more connection, or can close one that waits for its client."""
        return not self._is_full(for_health) or bool(self._waiting(for_health))

    def _is_full(self, for_health: bool) -> bool:
        return len(self._open[for_health]) >= (_HEALTH_CONNECTIONS if for_health else self._limits.connections)

    def _take(self, connection: Connection) -> None:
        if self._is_full(connection.for_health):
            self._make_room(connection.for_health)
        self._open[connection.for_health].add(connection)
        self._enter(connection, Phase.HEAD, self._limits.head)
        self._wait_for(connection, selectors.EVENT_READ)

    def _waiting(self, for_health: bool | None = None) -> list[Connection]:
        """Return the connections that wait for their clients."""
        kinds = (False, True) if for_health is None else (for_health,)
        return [one for kind in kinds for one in self._open[kind] if one.phase is not Phase.PROCESSING]

    def _make_room(self, for_health: bool) -> None:
        oldest = min(self._waiting(for_health), key=lambda connection: connection.since, default=None)
        if oldest is not None:
            self._close(oldest)

    # Reading

    def _readable(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_READ_SIZE)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if connection.phase is Phase.LINGERING:
            connection.discarded += len(data)
            if not data or connection.discarded > _MAX_DISCARDED:
                self._close(connection)
        elif data:
            connection.received += data
            self._submit_if_ready(connection)
        elif connection.phase is Phase.BODY:  # the client hung up: the application rejects the incomplete body
            self._start(connection, BodyState.COMPLETE, len(connection.received))
        else:
            self._close(connection)

    def _submit_if_ready(self, connection: Connection) -> None:
        """Submit the request if enough of it has arrived."""
        if connection.phase is Phase.HEAD and not self._has_head(connection):
            return
        received = len(connection.received)
        end = connection.body.end(connection.received)
        if end is None and connection.phase is Phase.BODY and received - connection.body_start > _MAX_BODY:
            end = received
        if end is not None:
            self._start(connection, BodyState.COMPLETE, end)
        elif connection.phase is Phase.HEAD:
            self._start(connection, BodyState.AWAITED, connection.body_start)

    def _has_head(self, connection: Connection) -> bool:
        """Return whether the head is complete and valid; respond to an invalid one."""
        buffer = connection.received
        body_start = framing.head_end(buffer, connection.searched)
        if body_start < 0:
            if connection.keep_alive and not connection.searched:  # a later request begins
                self._enter(connection, Phase.HEAD, self._limits.head)
            connection.searched = len(buffer)
            if len(buffer) > _MAX_HEAD:
                self._send(connection, RawResponse(_TOO_LARGE, keep_alive=False))
            return False
        try:
            request = self._parse_head(bytes(buffer[:body_start]), connection.client)
        except Exception as error:  # noqa: BLE001 - every error of the parser has a response
            self._send(connection, self._reject(connection.client, error))
            return False
        connection.path, connection.body_start = request.path, body_start
        connection.body = framing.body_of(request.headers, body_start)
        connection.expects_continue = any(name == "EXPECT" for name, _ in request.headers)
        if connection.for_health and request.path not in HEALTH_PATHS:
            self._send(connection, RawResponse(_NO_HEALTH_PATH, keep_alive=False))
            return False
        return True

    def _start(self, connection: Connection, body: BodyState, end: int) -> None:
        self._wait_for(connection, 0)
        connection.phase = Phase.PROCESSING
        self._submit(connection, body, end)

    # Writing

    def _send(self, connection: Connection, response: RawResponse) -> None:
        connection.unsent, connection.keep_alive = memoryview(response.content), response.keep_alive
        self._enter(connection, Phase.SENDING, self._limits.response)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            while connection.unsent:
                connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
        except BlockingIOError:
            self._wait_for(connection, selectors.EVENT_WRITE)
            self._bound_unsent()
            return
        except OSError:
            self._close(connection)
            return
        if not connection.keep_alive:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
            self._enter(connection, Phase.LINGERING, _LINGER)
            self._wait_for(connection, selectors.EVENT_READ)
            return
        self._enter(connection, Phase.HEAD, self._limits.head if connection.received else self._keep_alive)
        self._wait_for(connection, selectors.EVENT_READ)
        if connection.received:
            self._submit_if_ready(connection)

    def _bound_unsent(self) -> None:
        sending = [one for one in self._waiting() if one.phase is Phase.SENDING]
        if sum(len(one.unsent) for one in sending) > _MAX_UNSENT:
            self._close(min(sending, key=lambda connection: connection.since))

    # Deadlines and sockets

    def _enter(self, connection: Connection, phase: Phase, within: float) -> None:
        connection.enter(phase, time.monotonic(), min(within, _STOP_WITHIN) if self._stopping else within)
        self._next_deadline = min(self._next_deadline, connection.deadline)

    def _expire(self) -> None:
        now = time.monotonic()
        if now < self._next_deadline:
            return
        for connection in self._waiting():
            if connection.deadline <= now:
                if connection.phase is Phase.BODY and not self._stopping:
                    self._start(connection, BodyState.LATE, connection.body_start)
                else:
                    self._close(connection)
        self._next_deadline = min((one.deadline for one in self._waiting()), default=now + 1.0)

    def _wait_for(self, connection: Connection, events: int) -> None:
        """Wait for the socket to be readable or writable, or (0) for neither."""
        with contextlib.suppress(KeyError, ValueError):  # not watched, or closed
            self._poller.unregister(connection.sock)
        if events:
            callback = self._readable if events == selectors.EVENT_READ else self._flush
            self._poller.register(connection.sock, events, partial(callback, connection))

    def _close(self, connection: Connection) -> None:
        self._wait_for(connection, 0)
        self._open[connection.for_health].discard(connection)
        with contextlib.suppress(OSError):
            if connection.unsent:  # reset: the kernel would keep offering the rest to a client that does not read
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sock.close()
