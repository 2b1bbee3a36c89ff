"""Clients that are slow on purpose, each kind on raw sockets, and what becomes of their connections."""

import contextlib
import select
import socket
import time
from collections.abc import Iterator

from tests.conftest import KEY

CANCEL = b'{"resourceType": "Appointment", "status": "cancelled"}'
_HEAD = f"Host: 127.0.0.1\r\nAuthorization: Bearer {KEY}\r\nContent-Type: application/fhir+json\r\n".encode()
_APPOINTMENT = b"POST /Appointment/heim/apt_1 HTTP/1.1\r\n" + _HEAD
READ = b"GET /openapi.json HTTP/1.1\r\n" + _HEAD + b"\r\n"

KINDS = {
    "half the headers": _APPOINTMENT + b"X-More: to co",
    "nothing at all": b"",
    "half a body": _APPOINTMENT + b"Content-Length: 1000\r\n\r\n" + CANCEL,
    "half a chunk": _APPOINTMENT + b"Transfer-Encoding: chunked\r\n\r\n100\r\n" + CANCEL,
    "half a body to a webhook": b"POST /webhooks/nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{",
    "one that never reads": READ * 100,
}


def connect(address: tuple[str, int], sent: bytes = b"") -> socket.socket:
    """A connection with a small receive buffer, on which this has been sent."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(30)
    connection.connect(address)
    connection.sendall(sent)
    return connection


@contextlib.contextmanager
def slow_clients(address: tuple[str, int], sent: bytes, count: int) -> Iterator[list[socket.socket]]:
    """So many connections on which this has been sent; closed in the end."""
    with contextlib.ExitStack() as stack:
        yield [stack.enter_context(connect(address, sent)) for _ in range(count)]


def until_closed(connection: socket.socket, *, within: float = 60.0) -> bytes:
    """What comes until the other side closes; fails if it does not."""
    came = bytearray()
    ends_at = time.monotonic() + within
    while (left := ends_at - time.monotonic()) > 0:
        connection.settimeout(left)
        try:
            data = connection.recv(65536)
        except TimeoutError:
            break
        except ConnectionError:
            return bytes(came)
        if not data:
            return bytes(came)
        came += data
    raise AssertionError("the connection was not closed")


def is_open(connection: socket.socket) -> bool:
    """Whether the other side has neither answered nor closed."""
    return not select.select([connection], [], [], 0)[0]
