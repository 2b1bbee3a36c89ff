"""One client's connection: what it has brought, what it has still to take, and until when."""

import socket
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from facade.server.framing import Chunked, Sized


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How long a client may take, in seconds each in total, and how many connections one worker keeps.

    ``head`` counts from the connection, or from the first byte of a later request on it; ``body`` from when the facade
    begins to wait for it; ``answer`` from when it is ready.
    """

    head: float = 10.0
    body: float = 10.0
    answer: float = 10.0
    connections: int = 512


class Phase(Enum):
    """What a connection waits for."""

    HEAD = auto()  # its client
    BODY = auto()  # its client
    WORKING = auto()  # a thread of ours
    SENDING = auto()  # its client
    LEAVING = auto()  # its client: everything is sent, and closing at once could take it back (RFC 9112, 9.6)


class Connection:
    """Its ``deadline`` counts in every phase but WORKING."""

    def __init__(self, sock: socket.socket, client: Any, server: Any, *, for_probes: bool) -> None:
        self.sock = sock
        self.client = client
        self.server = server
        self.for_probes = for_probes
        self.phase = Phase.HEAD
        self.since = 0.0
        self.deadline = 0.0
        self.received = bytearray()
        self.searched = 0
        self.body_begins = 0
        self.body: Sized | Chunked = Sized(0, 0)
        self.path = ""
        self.expects_continue = False
        self.unsent = memoryview(b"")
        self.keep = False
        self.discarded = 0

    def enter(self, phase: Phase, now: float, within: float) -> None:
        """Begin a phase that ends within so many seconds."""
        self.phase, self.since, self.deadline = phase, now, now + within

    def next_request(self, end: int) -> None:
        """Forget the request that ends at this offset; what follows it belongs to the next one."""
        del self.received[:end]
        self.searched = 0
