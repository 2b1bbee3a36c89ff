"""One client's connection: what it has received, what it has still to send, and its deadline."""

import socket
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from facade.server.framing import ChunkedBody, FixedLengthBody


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The seconds that a client has for each phase of a request, and the number of connections of one worker.

    ``head`` counts from the connection, or from the first byte of a later request on it; ``body`` from the moment when
    the application asks for the body; ``response`` from the moment when the response is complete.
    """

    head: float = 10.0
    body: float = 10.0
    response: float = 10.0
    connections: int = 512


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()  # the client sends the head
    BODY = auto()  # the client sends the body
    PROCESSING = auto()  # a thread of the application
    SENDING = auto()  # the client takes the response
    LINGERING = auto()  # the client hangs up; closing first could destroy the sent response (RFC 9112, section 9.6)


class Connection:
    """The state of one connection. ``deadline`` applies in every phase except PROCESSING."""

    def __init__(self, sock: socket.socket, client: Any, server: Any, *, for_health: bool) -> None:
        self.sock = sock
        self.client = client
        self.server = server
        self.for_health = for_health
        self.phase = Phase.HEAD
        self.since = 0.0
        self.deadline = 0.0
        self.received = bytearray()
        self.searched = 0
        self.body_start = 0
        self.body: FixedLengthBody | ChunkedBody = FixedLengthBody(0, 0)
        self.path = ""
        self.expects_continue = False
        self.unsent = memoryview(b"")
        self.keep_alive = False
        self.discarded = 0

    def enter(self, phase: Phase, now: float, within: float) -> None:
        """Begin a phase with a deadline ``within`` seconds from ``now``."""
        self.phase, self.since, self.deadline = phase, now, now + within

    def next_request(self, end: int) -> None:
        """Drop the request that ends at this offset; the bytes after it belong to the next one."""
        del self.received[:end]
        self.searched = 0
