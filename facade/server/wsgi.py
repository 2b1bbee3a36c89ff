"""Runs one request through the WSGI application, from bytes to bytes. Nothing in this module waits for a client."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, NoReturn

from gunicorn.http.parser import RequestParser
from gunicorn.http.wsgi import create


class BodyAwaited(BaseException):
    """The application asked for a body that has not arrived yet.

    This is no Exception, so that an application that handles every Exception does not handle this one.
    """


class BodyState(Enum):
    """How much of the request's body has arrived."""

    COMPLETE = auto()  # or as much as the client sent before it hung up
    AWAITED = auto()
    LATE = auto()


@dataclass(frozen=True)
class RawResponse:
    """The bytes of a response, and whether the connection can carry another request."""

    content: bytes
    keep_alive: bool


class _Sink:
    """Stands for the client's socket in calls of gunicorn, and keeps what gunicorn writes."""

    def __init__(self) -> None:
        self.written = bytearray()

    def sendall(self, data: bytes) -> None:
        self.written += data

    def send(self, data: bytes) -> int:
        """Drop an interim response: the worker itself sends "100 Continue" when it waits for a body."""
        return len(data)

    def gettimeout(self) -> float:
        return 0.0


class _MissingBody:
    """The WSGI input of a request whose body has not arrived."""

    def __init__(self, error: type[BaseException]) -> None:
        self._error = error

    def read(self, *_: Any) -> NoReturn:
        raise self._error

    readline = readlines = __iter__ = read


def parse_head(head: bytes, client: Any, cfg: Any) -> Any:
    """Return gunicorn's request object for a head. Raises gunicorn's errors."""
    return next(RequestParser(cfg, [head], client))


def respond(
    application: Callable[..., Any],
    raw: bytes,
    body: BodyState,
    *,
    client: Any,
    server: Any,
    cfg: Any,
    keep_alive: bool,
    handle_error: Any,
) -> RawResponse | None:
    """Return the application's response to one request; None if it needs a body that has not arrived yet.

    ``raw`` holds the bytes of the request, without the body if that is awaited or late. Reading a late body raises
    TimeoutError. ``handle_error`` is gunicorn's, for requests that its parser rejects and for bugs.
    """
    sink, request = _Sink(), None
    try:
        request = parse_head(raw, client, cfg)
        response, environ = create(request, sink, client, server, cfg)
        environ["wsgi.multithread"] = True
        if body is not BodyState.COMPLETE:
            environ["wsgi.input"] = _MissingBody(BodyAwaited if body is BodyState.AWAITED else TimeoutError)
        if not keep_alive or body is not BodyState.COMPLETE:
            response.force_close()  # the start of the next request is unknown
        parts = application(environ, response.start_response)
        try:
            for part in parts:
                response.write(part)
            response.close()
        finally:
            if hasattr(parts, "close"):
                parts.close()
    except BodyAwaited:
        return None
    except Exception as error:  # noqa: BLE001 - a bug in the application is a 500, whatever it raises
        return error_response(request, client, error, handle_error)
    return RawResponse(bytes(sink.written), keep_alive=not response.should_close())


def error_response(request: Any, client: Any, error: Exception, handle_error: Any) -> RawResponse:
    """Return gunicorn's response to a request that its parser rejects, or that failed."""
    sink = _Sink()
    handle_error(request, sink, client, error)
    return RawResponse(bytes(sink.written), keep_alive=False)
