"""Send one HTTP request exactly as given: no normalization, no redirects, no retries, no environment proxies."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

MAX_RESPONSE = 8 * 1024 * 1024  # bytes; a facade's responses are about a thousandth of it


class NoResponse(Exception):
    """The exchange ended without a complete response; the text states how."""


class ConnectionRefused(NoResponse):
    """There was no exchange, because the connection was refused."""


@dataclass(frozen=True, kw_only=True)
class WireResponse:
    """A response, the seconds until it came, and its request.

    ``about`` is the raw native id of the requested appointment, empty if there is none. ``sent`` contains the request's
    headers without the key.
    """

    request: str
    status: int
    headers: http.client.HTTPMessage
    body: bytes = field(repr=False)
    seconds: float
    sent: Mapping[str, str] = field(repr=False)
    about: str = ""

    @cached_property
    def resource(self) -> dict[str, Any]:
        """The body as a JSON object, empty if it is not one."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def is_appointment(self) -> bool:
        """Whether it is a 200 with an Appointment, whatever its status."""
        return self.status == 200 and self.resource.get("resourceType") == "Appointment"

    @property
    def result(self) -> str:
        """The HTTP status and, of an Appointment, its status."""
        return f"{self.status} {self.resource.get('status')}" if self.is_appointment else str(self.status)

    @property
    def description(self) -> str:
        """The result, and the texts of the OperationOutcomes that explain it."""
        outcomes = [self.resource, *self.resource.get("contained", [])]
        issues = [issue for one in outcomes for issue in one.get("issue", [])]
        texts = [str(issue.get("details", {}).get("text", issue.get("code"))) for issue in issues]
        return " ".join([self.result, *(f'"{text}"' for text in texts)])


def exchange(
    base_url: str,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str],
    secret_headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    patience: float,
    about: str = "",
) -> WireResponse:
    """Send one request on its own connection. ``target`` is appended to ``base_url`` without any change.

    ``patience`` is in seconds, for each wait and for the whole exchange. Raises NoResponse or ConnectionRefused.
    """
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=patience)
    request = f"{method} {target}"
    started = time.monotonic()
    try:
        connection.putrequest(method, parts.path + target, skip_accept_encoding=True)
        length = {"Content-Length": str(len(body))} if body is not None else {}
        for name, value in {**headers, **(secret_headers or {}), **length, "Connection": "close"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        if body is not None:
            _send(connection, body)
        response = connection.getresponse()
        content = _read(response, started + patience)
    except (OSError, http.client.HTTPException) as error:
        failure = ConnectionRefused if isinstance(error, ConnectionRefusedError) else NoResponse
        raise failure(f"{request} got no response: {_why(error, patience)}") from None
    finally:
        connection.close()
    seconds = time.monotonic() - started
    return WireResponse(
        request=request,
        status=response.status,
        headers=response.headers,
        body=content,
        seconds=seconds,
        sent=dict(headers),
        about=about,
    )


def _send(connection: http.client.HTTPConnection, body: bytes) -> None:
    try:
        connection.send(body)
    except (BrokenPipeError, ConnectionResetError):
        return  # rejected before the whole body was read; the response states why


def _read(response: http.client.HTTPResponse, ends_at: float) -> bytes:
    content = b""
    while chunk := response.read1(65536):
        content += chunk
        if len(content) > MAX_RESPONSE or time.monotonic() > ends_at:
            raise OSError("it does not end")
    if response.length:
        raise OSError("it is incomplete")
    return content


def _why(error: Exception, patience: float) -> str:
    if isinstance(error, TimeoutError):
        return f"none within {patience:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "no one listens there"
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}, {text}" if text else type(error).__name__
