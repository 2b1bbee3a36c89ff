"""One request through the WSGI application, from bytes to bytes: nothing here waits for a client."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NoReturn

from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create


class BodyAwaited(BaseException):
    """The application has asked for a body that is not here yet.

    No Exception: an application that handles every Exception must not take it for an error of its own.
    """


class Body(Enum):
    """How much of the request's body there is."""

    WHOLE = auto()  # or as much as the client sent before it hung up
    AWAITED = auto()
    LATE = auto()


@dataclass(frozen=True)
class RawResponse:
    """The bytes of an answer, and whether the connection can carry another request."""

    content: bytes
    keep: bool


class _Sink:
    """What gunicorn takes for the client's socket; it keeps what is written to it."""

    def __init__(self) -> None:
        self.written = bytearray()

    def sendall(self, data: bytes) -> None:
        self.written += data

    def send(self, data: bytes) -> int:
        """Drop an interim response: the worker sends "100 Continue" itself, when it waits for a body."""
        return len(data)

    def gettimeout(self) -> float:
        return 0.0


class _NotHere:
    """The input of a request whose body is not here."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def read(self, *_: Any) -> NoReturn:
        raise self._error

    readline = readlines = __iter__ = read


def parse_head(head: bytes, client: Any, cfg: Any) -> Any:
    """gunicorn's request of this head. Raises its errors."""
    return next(RequestParser(cfg, [head], client))


def answer(
    wsgi: Callable[..., Any], raw: bytes, body: Body, *, client: Any, server: Any, cfg: Any, keep: bool, refuse: Any
) -> RawResponse | None:
    """The application's answer to one request; None where it needs a body that is awaited.

    ``raw`` is the request as it came, without the body where that is awaited or late. A late body is a TimeoutError
    for whoever reads it. ``refuse`` is gunicorn's way to answer what its parser does not take, and a bug.
    """
    sink, request = _Sink(), None
    try:
        request = parse_head(raw, client, cfg)
        response, environ = create(request, sink, client, server, cfg)
        environ["wsgi.multithread"] = True
        if body is not Body.WHOLE:
            environ["wsgi.input"] = _NotHere(BodyAwaited if body is Body.AWAITED else TimeoutError)
        if not keep or body is not Body.WHOLE:
            response.force_close()  # where the next request would begin is not known
        parts = wsgi(environ, response.start_response)
        try:
            for part in parts:
                response.write(part)
            response.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()
    except BodyAwaited:
        return None
    except Exception as error:  # noqa: BLE001 - a bug of the application's is 500, whatever it raises
        return refusal(request, client, error, refuse)
    return RawResponse(bytes(sink.written), keep=not response.should_close())


def refusal(request: Any, client: Any, error: Exception, refuse: Any) -> RawResponse:
    """gunicorn's answer to a request that its parser does not take, or that failed."""
    sink = _Sink()
    refuse(request, sink, client, error)
    return RawResponse(bytes(sink.written), keep=False)
