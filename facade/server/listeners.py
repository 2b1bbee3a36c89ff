"""Accepts connections, and pauses while there is no room for another one."""

import errno
import selectors
import socket
import time
from collections.abc import Callable
from functools import partial
from typing import Any

from facade.server.connection import Connection

_PAUSE = 0.05  # seconds
_SEND_BUFFER = 128 * 1024  # bytes
_NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_NOTHING_TO_ACCEPT = (errno.EAGAIN, errno.EWOULDBLOCK, errno.ECONNABORTED, errno.EPROTO)


class Listeners:
    """The listening sockets of one worker.

    ``has_room`` and ``make_room`` take whether the connection is for health probes; ``take`` gets each new connection.
    """

    def __init__(
        self,
        poller: selectors.BaseSelector,
        *,
        has_room: Callable[[bool], bool],
        make_room: Callable[[bool], None],
        take: Callable[[Connection], None],
    ) -> None:
        self._poller = poller
        self._has_room = has_room
        self._make_room = make_room
        self._take = take
        self._all: dict[Any, bool] = {}
        self._paused: set[Any] = set()
        self._resumes_at = 0.0

    def add(self, listener: Any, *, for_health: bool) -> None:
        """Accept from this socket."""
        listener.setblocking(False)
        self._all[listener] = for_health
        self._paused.add(listener)

    def resume(self) -> float | None:
        """End the pauses that are over. Returns when the next pause ends, None if there is none."""
        if self._paused and time.monotonic() >= self._resumes_at:
            for listener in self._paused:
                self._poller.register(listener, selectors.EVENT_READ, partial(self._accept, listener))
            self._paused.clear()
        return self._resumes_at if self._paused else None

    def stop(self) -> None:
        """Accept nothing more."""
        for listener in self._all.keys() - self._paused:
            self._poller.unregister(listener)
        self._all.clear()
        self._paused.clear()

    def _accept(self, listener: Any) -> None:
        for_health = self._all[listener]
        if not self._has_room(for_health):
            self._pause(listener)
            return
        try:
            sock, client = listener.accept()
        except OSError as error:
            if error.errno in _NO_ROOM:
                self._make_room(for_health)
                self._pause(listener)
            elif error.errno not in _NOTHING_TO_ACCEPT:
                raise
            return
        server: tuple[Any, ...] = listener.getsockname()
        accepted: socket.socket = sock
        accepted.setblocking(False)
        # By default the kernel buffers megabytes for a client that reads nothing.
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
        self._take(Connection(accepted, client, server, for_health=for_health))

    def _pause(self, listener: Any) -> None:
        self._poller.unregister(listener)
        self._paused.add(listener)
        self._resumes_at = time.monotonic() + _PAUSE
