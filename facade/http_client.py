"""The only user of ``requests``: one exchange with a source, ended by the deadline, its fault classified.

Every exchange has a connection of its own. A pooled connection that the source closed a moment ago
turns a cancel into "reset after it was written", that is, into doubt; a fresh one never does.
"""

# Why this long: the wire, the exchange and the classification are one argument about what has left.

import contextlib
import contextvars
import socket
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import requests
import urllib3
from requests import exceptions as rx
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from facade import strict_json
from facade.deadline import remaining
from facade.errors import AppointmentNotFound, Cause, NotExecuted, OutcomeUnknown, SourceError
from facade.plugin.contract import WritePermit

MAX_BODY = 1024 * 1024  # bytes, decoded

CAUSES: dict[type[Exception], Cause] = {
    rx.RequestException: Cause.CONNECTION_LOST,
    rx.HTTPError: Cause.SERVER_ERROR,
    rx.ConnectionError: Cause.CONNECTION_LOST,
    rx.ProxyError: Cause.UNREACHABLE,
    rx.SSLError: Cause.UNREACHABLE,
    rx.Timeout: Cause.TIMEOUT,
    rx.ConnectTimeout: Cause.UNREACHABLE,
    rx.ReadTimeout: Cause.TIMEOUT,
    rx.URLRequired: Cause.INTERNAL,
    rx.TooManyRedirects: Cause.UNREADABLE,
    rx.MissingSchema: Cause.INTERNAL,
    rx.InvalidSchema: Cause.INTERNAL,
    rx.InvalidURL: Cause.INTERNAL,
    rx.InvalidHeader: Cause.INTERNAL,
    rx.InvalidProxyURL: Cause.INTERNAL,
    rx.ChunkedEncodingError: Cause.CONNECTION_LOST,
    rx.ContentDecodingError: Cause.UNREADABLE,
    rx.StreamConsumedError: Cause.INTERNAL,
    rx.RetryError: Cause.SERVER_ERROR,
    rx.UnrewindableBodyError: Cause.INTERNAL,
    rx.InvalidJSONError: Cause.INTERNAL,  # of a request body
    rx.JSONDecodeError: Cause.UNREADABLE,
}
"""Why, by exception. *Whether* it was done is not read off the exception: `requests` raises the same
ConnectionError for "refused" and for "reset after the POST was read". The wire below knows."""

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "fhir-facade",
}


@dataclass(frozen=True)
class HttpResponse:
    """A complete answer: status code, headers (case-insensitive), decoded body of at most 1 MiB."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self, *, exact: bool = False) -> Any:
        """The body as JSON. Raises OutcomeUnknown for a body that is empty, cut or ambiguous.

        ``exact`` keeps numbers as they are written, so that ``HttpClient.send`` writes them back digit by digit;
        NaN and infinities, which cannot be written back, are unreadable then.
        """
        try:
            return strict_json.loads_native(self.body, exact=exact)
        except strict_json.NotStrictJson as error:
            raise OutcomeUnknown(Cause.UNREADABLE, f"HTTP {self.status}: {error}") from None

    def retry_after(self) -> float | None:
        """The seconds that ``Retry-After`` states, or that are left until its date; None without it.

        RFC 9110, section 10.2.3.
        """
        value = self.headers.get("Retry-After", "").strip(" \t")
        if value.isascii() and value.isdigit():
            return float(value[:9])
        try:
            until = parsedate_to_datetime(value)
            return max(
                0.0, ((until if until.tzinfo else until.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
            )
        except (ValueError, OverflowError):
            return None


class HttpClient:
    """HTTP with one configured source: no redirects, no environment proxies, no netrc, no retried write.

    ``headers`` go with every exchange and may hold secrets. At most ``max_concurrent`` exchanges run
    at once; one more is refused at once, so that a hung source cannot take every thread.
    """

    def __init__(
        self,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        connect_timeout: float = 1.0,
        max_concurrent: int = 8,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {**_HEADERS, **(headers or {})}
        self._connect_timeout = connect_timeout
        self._slots = threading.BoundedSemaphore(max_concurrent)

    def get(self, path: str, *, headers: Mapping[str, str] | None = None, **ids: str) -> HttpResponse:
        """Read. ``path`` is a template (``/v1/appointments/{id}``); each id is quoted into one segment.

        A transport fault is tried once more while time is left. Raises NotExecuted, OutcomeUnknown.
        """
        try:
            return self._exchange("GET", path, ids, headers=headers)
        except SourceError as error:
            if error.cause not in {Cause.CONNECTION_LOST, Cause.UNREACHABLE} or not remaining():
                raise
            return self._exchange("GET", path, ids, headers=headers)

    def send(
        self,
        method: str,
        path: str,
        *,
        permit: WritePermit,
        json: Any = None,
        form: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        **ids: str,
    ) -> HttpResponse:
        """Write once, JSON or a form. The permit is taken when the connection stands, before the first byte leaves.

        A request that writes nothing, like one for a token, needs a permit that does nothing.
        Raises NotExecuted only where no byte of the request can have left; else OutcomeUnknown.
        """
        try:
            body = None if json is None else strict_json.dumps(json).encode()
        except (TypeError, ValueError):
            raise NotExecuted(Cause.INTERNAL, "the body is not JSON") from None
        kind = {} if body is None else {"Content-Type": "application/json"}
        if form is not None:
            body, kind = urlencode(form).encode(), {"Content-Type": "application/x-www-form-urlencoded"}
        return self._exchange(method, path, ids, permit=permit, body=body, headers={**kind, **(headers or {})})

    def _exchange(
        self,
        method: str,
        path: str,
        ids: Mapping[str, str],
        *,
        permit: WritePermit | None = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> HttpResponse:
        url = self._base_url + _fill(path, ids)
        time_left = remaining()
        if not time_left:
            raise NotExecuted(Cause.TIMEOUT, "no time left to begin the exchange")
        if not self._slots.acquire(blocking=False):
            raise NotExecuted(Cause.THROTTLED, "as many calls to this source are under way as are allowed")
        wire = _Wire(permit)
        request = requests.Request(method, url, headers={**self._headers, **(headers or {})}, data=body)
        finished: Future[HttpResponse] = Future()

        def run() -> None:
            try:
                try:
                    answer = self._perform(request, wire, time_left)
                finally:
                    self._slots.release()
            # Whatever it is, the waiting thread must get it: it translates and raises.
            except BaseException as error:  # noqa: BLE001
                finished.set_exception(error)
            else:
                finished.set_result(answer)

        # A thread of its own, because neither name resolution nor a header that comes one byte a
        # second obeys any timeout of the socket's.
        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=(run,), name="exchange", daemon=True).start()
        except RuntimeError:
            self._slots.release()
            raise NotExecuted(Cause.THROTTLED, "this process cannot start another thread") from None
        if not wait([finished], time_left).done:
            wire.abandon()
            raise wire.fault(Cause.TIMEOUT, "the deadline passed")
        error = finished.exception()
        if error is not None:
            raise _translated(wire, error)
        return finished.result()

    def _perform(self, request: requests.Request, wire: "_Wire", time_left: float) -> HttpResponse:
        # No session: it would read a redirect's whole body, and proxies and netrc from the environment.
        prepared = request.prepare()
        # Belt and braces for an id that a normaliser would turn into another path.
        if urlsplit(prepared.url or "").path != urlsplit(request.url).path:
            raise NotExecuted(Cause.INTERNAL, "the URL changed while the request was prepared")
        timeout = (min(self._connect_timeout, time_left), time_left)
        with (
            contextlib.closing(_OneExchange(wire)) as adapter,
            adapter.send(prepared, stream=True, timeout=timeout) as response,
        ):
            body = bytearray()
            for chunk in response.iter_content(16 * 1024):
                body += chunk
                if len(body) > MAX_BODY:
                    raise OutcomeUnknown(Cause.UNREADABLE, "the answer is larger than 1 MiB")
            return HttpResponse(response.status_code, response.headers, bytes(body))


def classify(
    answer: HttpResponse,
    *,
    own_error: Callable[[HttpResponse], bool],
    throttles_before_execution: bool = False,
) -> HttpResponse:
    """Pass a 200, 201 or 204 on; raise for every other status, by the outcome it proves.

    ``own_error`` says whether the answer has the source's own error shape: only then do 400, 401, 403,
    404 and 422 prove that nothing was done, and 429 only where the source documents that it refuses
    before it executes. What the source says of ``Retry-After`` goes with the error. Raises AppointmentNotFound
    (own 404), NotExecuted, OutcomeUnknown.
    """
    status, detail = answer.status, f"HTTP {answer.status}"
    if status in {200, 201, 204}:
        return answer
    wait = answer.retry_after()
    refusals = {400: Cause.REFUSED, 401: Cause.CREDENTIALS, 403: Cause.CREDENTIALS, 422: Cause.REFUSED}
    if own_error(answer):
        if status == 404:
            raise AppointmentNotFound(detail)
        if status in refusals:
            raise NotExecuted(refusals[status], detail, retry_after=wait)
        if status == 429 and throttles_before_execution:
            raise NotExecuted(Cause.THROTTLED, detail, retry_after=wait)
    unclear = {202: Cause.UNPROVEN, 401: Cause.CREDENTIALS, 403: Cause.CREDENTIALS, 408: Cause.TIMEOUT}
    unclear |= {
        409: Cause.CONFLICT,
        412: Cause.CONFLICT,
        423: Cause.CONFLICT,
        429: Cause.THROTTLED,
        504: Cause.TIMEOUT,
    }
    cause = unclear.get(status, Cause.SERVER_ERROR if status >= 500 else Cause.UNREADABLE)
    raise OutcomeUnknown(cause, detail, retry_after=wait)


def _translated(wire: "_Wire", error: BaseException) -> BaseException:
    if isinstance(error, rx.RequestException):
        cause = next(CAUSES[cls] for cls in type(error).__mro__ if cls in CAUSES)
        # Inside the body, requests calls a timeout a ConnectionError.
        if error.args and isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError):
            cause = Cause.TIMEOUT
        return wire.fault(cause, type(error).__name__)
    if isinstance(error, (OSError, urllib3.exceptions.HTTPError)):
        return wire.fault(Cause.CONNECTION_LOST, type(error).__name__)
    # A SourceError, and what the permit raised, as it is. Anything else is a bug; the use case decides.
    return error.error if isinstance(error, _NotPermitted) else error


def _fill(path: str, ids: Mapping[str, str]) -> str:
    """The template with each id as exactly one path segment. Raises NotExecuted for one that cannot be."""
    return path.format(**{name: _segment(name, value) for name, value in ids.items()})


def _segment(name: str, value: str) -> str:
    with contextlib.suppress(UnicodeEncodeError):  # half of a surrogate pair
        if value not in {"", ".", ".."} and "/" not in value and "\\" not in value:
            return quote(value, safe="")
    raise NotExecuted(Cause.INTERNAL, f"{name} is not usable in a URL")


class _NotPermitted(Exception):
    """Holds what the permit raised, so that no layer takes it for the network's: urllib3 swallows some OSErrors."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _Wire:
    """What is known of one exchange: connected, sending, abandoned. It decides, not the exception."""

    def __init__(self, permit: WritePermit | None) -> None:
        self._permit = permit
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._sending = False
        self._abandoned = False

    def connected(self, sock: socket.socket) -> None:
        """Called after the handshakes; raises to end the exchange."""
        self._go_on(sock)

    def before_first_byte(self, sock: socket.socket) -> None:
        """Called immediately before the first byte of the request; raises to prevent that byte."""
        self._go_on(sock)
        if self._permit is not None:
            try:
                self._permit()
            except Exception as error:
                raise _NotPermitted(error) from error
        self._go_on(sock, sending=True)

    def _go_on(self, sock: socket.socket, *, sending: bool = False) -> None:
        with self._lock:
            # By the clock too: a process that was frozen may wake in this thread first.
            if self._abandoned or not remaining():
                raise NotExecuted(Cause.TIMEOUT, "the deadline passed before the request was sent")
            self._socket, self._sending = sock, sending

    def abandon(self) -> None:
        """No one waits any more: send nothing that was not sent, and wake the thread that reads."""
        with self._lock:
            self._abandoned = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # gone already
                    # Not SSLSocket's own: that takes the encryption off first, under a thread that may be sending.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def fault(self, cause: Cause, detail: str) -> SourceError:
        """NotExecuted while no byte of the request can have left, else OutcomeUnknown."""
        with self._lock:
            if self._sending:
                # What was wrong with our request showed before; now it is the answer's headers.
                return OutcomeUnknown(Cause.UNREADABLE if cause is Cause.INTERNAL else cause, detail)
        return NotExecuted(Cause.UNREACHABLE if cause is Cause.CONNECTION_LOST else cause, detail)


class _OneExchange(HTTPAdapter):
    """A requests adapter whose connections report to the wire; it never retries."""

    def __init__(self, wire: _Wire) -> None:
        self._wire = wire
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        wire = self._wire

        class Watched:
            """What both kinds of connection report to the wire."""

            sock: Any
            begun = False

            def connect(self) -> None:
                super().connect()  # type: ignore[misc]  # of the connection that this is mixed into
                wire.connected(self.sock)

            def send(self, data: Any) -> None:
                if not self.begun:
                    if self.sock is None:
                        self.connect()
                    wire.before_first_byte(self.sock)
                    self.begun = True
                super().send(data)  # type: ignore[misc]  # as above

        class Connection(Watched, HTTPConnection):
            pass

        class SecureConnection(Watched, HTTPSConnection):
            pass

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
