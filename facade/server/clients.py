"""All connections of one worker, read and written by one thread that never blocks on any of them.

Every phase of a connection has a deadline, and the number of connections is bounded: where there is no room for a new
one, the one that has waited longest for its client is closed.
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
from facade.server.handling import Body, RawResponse
from facade.server.listeners import Listeners

PROBES = ("/health/live", "/health/ready")
"""The only paths that are answered on the port for probes."""
STOPPING = 1.0
"""Seconds that a stop waits for clients."""
_PROBE_CONNECTIONS = 64
_MAX_HEAD = 64 * 1024  # bytes; gunicorn's parser has limits of its own within it
_MAX_BODY = 256 * 1024  # bytes of a chunked body as it is sent, above what the application reads of one
_MAX_UNSENT = 64 * 1024 * 1024  # bytes of answers that clients have not taken yet
_MAX_DISCARDED = 1024 * 1024  # bytes that come after the answer
_PIECE = 64 * 1024
_LEAVING = 2.0  # seconds for a client to hang up when it has its answer
_TOO_LARGE = b"HTTP/1.1 431 Request Header Fields Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_NO_PROBE = b"HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class Clients:
    """The connections. Only the thread that calls ``turn`` calls anything here.

    ``parse_head`` gives gunicorn's request for the bytes of a head and the client's address; ``refuse`` the RawResponse
    to its error. ``hand_over`` has a request answered elsewhere; ``answered`` takes what came of it.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        keep_alive: float,
        parse_head: Callable[[bytes, Any], Any],
        refuse: Callable[[Any, Exception], RawResponse],
        hand_over: Callable[[Connection, Body, int], None],
    ) -> None:
        self._limits, self._keep_alive = limits, keep_alive
        self._parse_head, self._refuse, self._hand_over_elsewhere = parse_head, refuse, hand_over
        self._poller = selectors.DefaultSelector()
        self._open: dict[bool, set[Connection]] = {False: set(), True: set()}
        self.listeners = Listeners(self._poller, has_room=self._has_room, make_room=self._make_room, take=self._take)
        self._stopping = False
        self._next_deadline = 0.0

    def __len__(self) -> int:
        return sum(map(len, self._open.values()))

    def wake_up_for(self, descriptor: int, callback: Callable[[], None]) -> None:
        """Call back from ``turn`` when this is readable."""
        self._poller.register(descriptor, selectors.EVENT_READ, callback)

    def turn(self) -> None:
        """Wait for something to happen, for a second at most, and deal with it."""
        resumes_at = self.listeners.resume()
        now = time.monotonic()
        ends_at = min(now + 1.0, self._next_deadline, now + 1.0 if resumes_at is None else resumes_at)
        for key, _ in self._poller.select(max(0.0, ends_at - now)):
            key.data()
        self._expire()

    def stop(self) -> None:
        """Accept nothing more; clients have a second to send or take what they have begun."""
        self.listeners.stop()
        self._stopping = True
        self._next_deadline = 0.0
        for connection in self._waiting():
            connection.deadline = min(connection.deadline, time.monotonic() + STOPPING)

    def close(self) -> None:
        """Close every connection."""
        for connection in [one for some in self._open.values() for one in some]:
            self._close(connection)
        self._poller.close()

    def answered(self, connection: Connection, answer: RawResponse | None, end: int) -> None:
        """Send the answer to the request that ends at this offset; None: its body is wanted first."""
        if answer is not None:
            connection.next_request(end)
            self._send(connection, answer)
            return
        self._enter(connection, Phase.BODY, self._limits.body)
        if connection.expects_continue:
            with contextlib.suppress(OSError):  # a client that gets none waits a while and sends its body
                connection.sock.send(_CONTINUE)
        self._watch(connection, selectors.EVENT_READ)

    # Room

    def _has_room(self, for_probes: bool) -> bool:
        """Whether one more connection can be taken, if need be for one that waits for its client."""
        return not self._is_full(for_probes) or bool(self._waiting(for_probes))

    def _is_full(self, for_probes: bool) -> bool:
        return len(self._open[for_probes]) >= (_PROBE_CONNECTIONS if for_probes else self._limits.connections)

    def _take(self, connection: Connection) -> None:
        if self._is_full(connection.for_probes):
            self._make_room(connection.for_probes)
        self._open[connection.for_probes].add(connection)
        self._enter(connection, Phase.HEAD, self._limits.head)
        self._watch(connection, selectors.EVENT_READ)

    def _waiting(self, for_probes: bool | None = None) -> list[Connection]:
        """The connections that wait for their clients."""
        kinds = (False, True) if for_probes is None else (for_probes,)
        return [one for kind in kinds for one in self._open[kind] if one.phase is not Phase.WORKING]

    def _make_room(self, for_probes: bool) -> None:
        oldest = min(self._waiting(for_probes), key=lambda connection: connection.since, default=None)
        if oldest is not None:
            self._close(oldest)

    # Reading

    def _readable(self, connection: Connection) -> None:
        try:
            data = connection.sock.recv(_PIECE)
        except BlockingIOError:
            return
        except OSError:
            self._close(connection)
            return
        if connection.phase is Phase.LEAVING:
            connection.discarded += len(data)
            if not data or connection.discarded > _MAX_DISCARDED:
                self._close(connection)
        elif data:
            connection.received += data
            self._go_on(connection)
        elif connection.phase is Phase.BODY:  # it breaks off: the application says so
            self._hand_over(connection, Body.WHOLE, len(connection.received))
        else:
            self._close(connection)

    def _go_on(self, connection: Connection) -> None:
        """Hand the request over if enough of it is here."""
        if connection.phase is Phase.HEAD and not self._has_head(connection):
            return
        received = len(connection.received)
        end = connection.body.end(connection.received)
        if end is None and connection.phase is Phase.BODY and received - connection.body_begins > _MAX_BODY:
            end = received
        if end is not None:
            self._hand_over(connection, Body.WHOLE, end)
        elif connection.phase is Phase.HEAD:
            self._hand_over(connection, Body.AWAITED, connection.body_begins)

    def _has_head(self, connection: Connection) -> bool:
        """Whether a head is here that the application can be shown; what cannot is answered."""
        buffer = connection.received
        begins = framing.head_end(buffer, connection.searched)
        if begins < 0:
            if connection.keep and not connection.searched:  # a later request begins
                self._enter(connection, Phase.HEAD, self._limits.head)
            connection.searched = len(buffer)
            if len(buffer) > _MAX_HEAD:
                self._send(connection, RawResponse(_TOO_LARGE, keep=False))
            return False
        try:
            request = self._parse_head(bytes(buffer[:begins]), connection.client)
        except Exception as error:  # noqa: BLE001 - whatever the parser raises is an answer
            self._send(connection, self._refuse(connection.client, error))
            return False
        connection.path, connection.body_begins = request.path, begins
        connection.body = framing.body_of(request.headers, begins)
        connection.expects_continue = any(name == "EXPECT" for name, _ in request.headers)
        if connection.for_probes and request.path not in PROBES:
            self._send(connection, RawResponse(_NO_PROBE, keep=False))
            return False
        return True

    def _hand_over(self, connection: Connection, body: Body, end: int) -> None:
        self._watch(connection, 0)
        connection.phase = Phase.WORKING
        self._hand_over_elsewhere(connection, body, end)

    # Writing

    def _send(self, connection: Connection, answer: RawResponse) -> None:
        connection.unsent, connection.keep = memoryview(answer.content), answer.keep
        self._enter(connection, Phase.SENDING, self._limits.answer)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        try:
            while connection.unsent:
                connection.unsent = connection.unsent[connection.sock.send(connection.unsent) :]
        except BlockingIOError:
            self._watch(connection, selectors.EVENT_WRITE)
            self._bound_unsent()
            return
        except OSError:
            self._close(connection)
            return
        if not connection.keep:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_WR)
            self._enter(connection, Phase.LEAVING, _LEAVING)
            self._watch(connection, selectors.EVENT_READ)
            return
        self._enter(connection, Phase.HEAD, self._limits.head if connection.received else self._keep_alive)
        self._watch(connection, selectors.EVENT_READ)
        if connection.received:
            self._go_on(connection)

    def _bound_unsent(self) -> None:
        sending = [one for one in self._waiting() if one.phase is Phase.SENDING]
        if sum(len(one.unsent) for one in sending) > _MAX_UNSENT:
            self._close(min(sending, key=lambda connection: connection.since))

    # Time and sockets

    def _enter(self, connection: Connection, phase: Phase, within: float) -> None:
        connection.enter(phase, time.monotonic(), min(within, STOPPING) if self._stopping else within)
        self._next_deadline = min(self._next_deadline, connection.deadline)

    def _expire(self) -> None:
        now = time.monotonic()
        if now < self._next_deadline:
            return
        for connection in self._waiting():
            if connection.deadline <= now:
                if connection.phase is Phase.BODY and not self._stopping:
                    self._hand_over(connection, Body.LATE, connection.body_begins)
                else:
                    self._close(connection)
        self._next_deadline = min((one.deadline for one in self._waiting()), default=now + 1.0)

    def _watch(self, connection: Connection, events: int) -> None:
        """Wait for the socket to be readable, writable, or (0) for nothing."""
        with contextlib.suppress(KeyError, ValueError):  # not watched, or closed
            self._poller.unregister(connection.sock)
        if events:
            callback = self._readable if events == selectors.EVENT_READ else self._flush
            self._poller.register(connection.sock, events, partial(callback, connection))

    def _close(self, connection: Connection) -> None:
        self._watch(connection, 0)
        self._open[connection.for_probes].discard(connection)
        with contextlib.suppress(OSError):
            if connection.unsent:  # the system would go on offering it to a client that does not take it
                connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.sock.close()
