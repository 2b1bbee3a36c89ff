"""Make HTTP exchanges with a source, end them at the deadline, and classify their faults.

No other module uses ``requests``. Each exchange has a new connection. A pooled connection that the source has just
closed would fail with "reset after it was written", which puts a cancel in doubt. A new connection does not.
"""

# Why this long: the exchange, its state and the classification prove together whether a byte may have left.

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
"""The cause by type of exception. The type does not show whether the request was executed: ``requests`` raises the same
ConnectionError for "refused" and for "reset after the POST was read". ``_ExchangeState`` decides that.
"""

_HEADERS = {
    "Accept": "application/json",
    "Accept-Encoding": "identity",
    "Connection": "close",
    "User-Agent": "fhir-facade",
}


@dataclass(frozen=True)
class HttpResponse:
    """A complete response: status code, headers (case-insensitive), decoded body of at most 1 MiB."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    def json(self, *, exact: bool = False) -> Any:
        """Parse the body as JSON. Raises OutcomeUnknown if it is empty, incomplete or ambiguous.

        ``exact`` keeps numbers as they are written, so that ``HttpClient.send`` writes the same digits. NaN and
        infinities then raise OutcomeUnknown, since they cannot be written.
        """
        try:
            return strict_json.loads_native(self.body, exact=exact)
        except strict_json.NotStrictJson as error:
            raise OutcomeUnknown(Cause.UNREADABLE, f"HTTP {self.status}: {error}") from None

    def retry_after(self) -> float | None:
        """Return the header ``Retry-After`` in seconds; None if it is missing or invalid.

        The header is a number of seconds or a date (RFC 9110, section 10.2.3).
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
    """An HTTP client for one configured source.

    It follows no redirects, ignores proxies and netrc of the environment, and never retries a write. ``headers`` are
    sent with every request and may contain secrets. ``connect_timeout`` is in seconds. At most ``max_concurrent``
    exchanges run at a time. A further one is rejected without waiting, so that a source that hangs cannot use up all
    threads.
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
        """Send a GET request, and return the response whatever its status.

        ``path`` is a template, for example ``/v1/appointments/{id}``. Each of ``ids`` is quoted as one path segment.
        If the connection fails or is lost, the request is retried once while time is left. Raises NotExecuted or
        OutcomeUnknown if there is no complete response before the deadline.
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
        """Send a request once, with a JSON body, a form or no body, and return the response whatever its status.

        ``path`` and ``ids`` are as for ``get``. The permit is taken after the connection is established and before the
        first byte is sent. For a request that writes nothing, for example one for a token, pass a permit that does
        nothing. Raises NotExecuted only if no byte of the request can have left, otherwise OutcomeUnknown. What the
        permit raises is raised unchanged.
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
        url = self._base_url + _fill_path(path, ids)
        time_left = remaining()
        if not time_left:
            raise NotExecuted(Cause.TIMEOUT, "no time left for the exchange")
        if not self._slots.acquire(blocking=False):
            raise NotExecuted(Cause.THROTTLED, "the limit of concurrent exchanges with this source is reached")
        state = _ExchangeState(permit)
        request = requests.Request(method, url, headers={**self._headers, **(headers or {})}, data=body)
        finished: Future[HttpResponse] = Future()

        def run() -> None:
            try:
                try:
                    response = self._perform(request, state, time_left)
                finally:
                    self._slots.release()
            # The waiting thread classifies every error, and raises it.
            except BaseException as error:  # noqa: BLE001
                finished.set_exception(error)
            else:
                finished.set_result(response)

        # A separate thread, because the timeouts of a socket limit neither name resolution nor a header that arrives
        # one byte per second.
        context = contextvars.copy_context()
        try:
            threading.Thread(target=context.run, args=(run,), name="exchange", daemon=True).start()
        except RuntimeError:
            self._slots.release()
            raise NotExecuted(Cause.THROTTLED, "this process cannot start another thread") from None
        if not wait([finished], time_left).done:
            state.abandon()
            raise state.fault(Cause.TIMEOUT, "the deadline passed")
        error = finished.exception()
        if error is not None:
            raise _classify_fault(state, error)
        return finished.result()

    def _perform(self, request: requests.Request, state: "_ExchangeState", time_left: float) -> HttpResponse:
        # No requests.Session: it would read the body of a redirect, and use proxies and netrc of the environment.
        prepared = request.prepare()
        # A second protection against an id that URL normalization would turn into another path.
        if urlsplit(prepared.url or "").path != urlsplit(request.url).path:
            raise NotExecuted(Cause.INTERNAL, "the URL changed while the request was prepared")
        timeout = (min(self._connect_timeout, time_left), time_left)
        with (
            contextlib.closing(_SingleExchangeAdapter(state)) as adapter,
            adapter.send(prepared, stream=True, timeout=timeout) as response,
        ):
            body = bytearray()
            for chunk in response.iter_content(16 * 1024):
                body += chunk
                if len(body) > MAX_BODY:
                    raise OutcomeUnknown(Cause.UNREADABLE, "the response is larger than 1 MiB")
            return HttpResponse(response.status_code, response.headers, bytes(body))


def classify(
    response: HttpResponse,
    *,
    own_error: Callable[[HttpResponse], bool],
    throttles_before_execution: bool = False,
) -> HttpResponse:
    """Return a response with status 200, 201 or 204; raise the outcome that any other status proves.

    ``own_error`` returns whether a response has the source's own error shape. Only in that shape do 400, 401, 403, 404
    and 422 prove that nothing was executed. 429 proves it only with ``throttles_before_execution``: the source
    documents that it throttles before it executes. Raises AppointmentNotFound (404 in the own shape), NotExecuted or
    OutcomeUnknown, with the seconds of ``Retry-After``.
    """
    status, detail = response.status, f"HTTP {response.status}"
    if status in {200, 201, 204}:
        return response
    retry_after = response.retry_after()
    refusals = {400: Cause.REFUSED, 401: Cause.CREDENTIALS, 403: Cause.CREDENTIALS, 422: Cause.REFUSED}
    if own_error(response):
        if status == 404:
            raise AppointmentNotFound(detail)
        if status in refusals:
            raise NotExecuted(refusals[status], detail, retry_after=retry_after)
        if status == 429 and throttles_before_execution:
            raise NotExecuted(Cause.THROTTLED, detail, retry_after=retry_after)
    unknown_causes = {202: Cause.UNPROVEN, 401: Cause.CREDENTIALS, 403: Cause.CREDENTIALS, 408: Cause.TIMEOUT}
    unknown_causes |= {
        409: Cause.CONFLICT,
        412: Cause.CONFLICT,
        423: Cause.CONFLICT,
        429: Cause.THROTTLED,
        504: Cause.TIMEOUT,
    }
    cause = unknown_causes.get(status, Cause.SERVER_ERROR if status >= 500 else Cause.UNREADABLE)
    raise OutcomeUnknown(cause, detail, retry_after=retry_after)


def _classify_fault(state: "_ExchangeState", error: BaseException) -> BaseException:
    if isinstance(error, rx.RequestException):
        cause = next(CAUSES[cls] for cls in type(error).__mro__ if cls in CAUSES)
        # requests raises ConnectionError for a timeout while it reads the body.
        if error.args and isinstance(error.args[0], urllib3.exceptions.ReadTimeoutError):
            cause = Cause.TIMEOUT
        return state.fault(cause, type(error).__name__)
    if isinstance(error, (OSError, urllib3.exceptions.HTTPError)):
        return state.fault(Cause.CONNECTION_LOST, type(error).__name__)
    # A SourceError and what the permit raised stay unchanged. Anything else is a bug, which the use case handles.
    return error.error if isinstance(error, _PermitFailed) else error


def _fill_path(path: str, ids: Mapping[str, str]) -> str:
    """Fill the template with each id as exactly one path segment. Raises NotExecuted for an unusable id."""
    return path.format(**{name: _segment(name, value) for name, value in ids.items()})


def _segment(name: str, value: str) -> str:
    with contextlib.suppress(UnicodeEncodeError):  # half of a surrogate pair
        if value not in {"", ".", ".."} and "/" not in value and "\\" not in value:
            return quote(value, safe="")
    raise NotExecuted(Cause.INTERNAL, f"{name} is not usable in a URL")


class _PermitFailed(Exception):
    """Wraps what the permit raised. Otherwise urllib3 would treat some OSErrors as faults of the network."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error = error


class _ExchangeState:
    """The state of one exchange: connected, sending, abandoned. It decides whether a byte may have left."""

    def __init__(self, permit: WritePermit | None) -> None:
        self._permit = permit
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None
        self._sending = False
        self._abandoned = False

    def connected(self, sock: socket.socket) -> None:
        """Record the socket after the handshakes. Raises NotExecuted to end the exchange."""
        self._proceed(sock)

    def before_first_byte(self, sock: socket.socket) -> None:
        """Take the permit immediately before the first byte of the request. Raises to prevent that byte."""
        self._proceed(sock)
        if self._permit is not None:
            try:
                self._permit()
            except Exception as error:
                raise _PermitFailed(error) from error
        self._proceed(sock, sending=True)

    def _proceed(self, sock: socket.socket, *, sending: bool = False) -> None:
        with self._lock:
            # The clock is checked too: after a process was frozen, this thread may run before the waiting one.
            if self._abandoned or not remaining():
                raise NotExecuted(Cause.TIMEOUT, "the deadline passed before the request was sent")
            self._socket, self._sending = sock, sending

    def abandon(self) -> None:
        """End the exchange, because no one waits for it: nothing more is sent, and the reading thread wakes up."""
        with self._lock:
            self._abandoned = True
            if self._socket is not None:
                with contextlib.suppress(OSError):  # closed already
                    # Not SSLSocket.shutdown, which removes the encryption while another thread may be sending.
                    socket.socket.shutdown(self._socket, socket.SHUT_RDWR)

    def fault(self, cause: Cause, detail: str) -> SourceError:
        """Return NotExecuted if no byte of the request can have left, else OutcomeUnknown."""
        with self._lock:
            if self._sending:
                # An invalid request fails before it is sent, so now the response's headers are invalid.
                return OutcomeUnknown(Cause.UNREADABLE if cause is Cause.INTERNAL else cause, detail)
        return NotExecuted(Cause.UNREACHABLE if cause is Cause.CONNECTION_LOST else cause, detail)


class _SingleExchangeAdapter(HTTPAdapter):
    """A requests adapter for one exchange, which reports to its state and never retries."""

    def __init__(self, state: _ExchangeState) -> None:
        self._state = state
        super().__init__(max_retries=0)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        state = self._state

        class ReportingConnection:
            """Report the connection and the first byte to the state, for both kinds of connection."""

            sock: Any
            begun = False

            def connect(self) -> None:
                super().connect()  # type: ignore[misc]  # of the connection that this is mixed into
                state.connected(self.sock)

            def send(self, data: Any) -> None:
                if not self.begun:
                    if self.sock is None:
                        self.connect()
                    state.before_first_byte(self.sock)
                    self.begun = True
                super().send(data)  # type: ignore[misc]  # as above

        class Connection(ReportingConnection, HTTPConnection):
            pass

        class SecureConnection(ReportingConnection, HTTPSConnection):
            pass

        class Pool(HTTPConnectionPool):
            ConnectionCls = Connection

        class SecurePool(HTTPSConnectionPool):
            ConnectionCls = SecureConnection

        self.poolmanager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
