"""One HTTP exchange exactly as written: nothing is normalised, followed, retried or taken from the environment."""

import http.client
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

MAX_ANSWER = 8 * 1024 * 1024  # bytes; a facade's answers are a thousandth of it


class NoAnswer(Exception):
    """The exchange ended without a complete answer; the text says how."""


class NobodyListens(NoAnswer):
    """There was no exchange: the connection was refused."""


@dataclass(frozen=True, kw_only=True)
class WireResponse:
    """What came back, after how many seconds, and what had been asked.

    ``about`` is the raw native id of the appointment that was asked for, empty where the request was about none.
    ``sent`` has the request's headers but for the key.
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
        """The body as a JSON object, empty where it is none."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            return {}
        return found if isinstance(found, dict) else {}

    @property
    def is_appointment(self) -> bool:
        """Whether it is a 200 with an Appointment, cancelled, proposed or otherwise."""
        return self.status == 200 and self.resource.get("resourceType") == "Appointment"

    @property
    def verdict(self) -> str:
        """The HTTP status, and an Appointment's own."""
        return f"{self.status} {self.resource.get('status')}" if self.is_appointment else str(self.status)

    @property
    def told(self) -> str:
        """The verdict, and the reasons that OperationOutcomes give for it."""
        outcomes = [self.resource, *self.resource.get("contained", [])]
        issues = [issue for outcome in outcomes for issue in outcome.get("issue", [])]
        texts = [str(issue.get("details", {}).get("text", issue.get("code"))) for issue in issues]
        return " ".join([self.verdict, *(f'"{text}"' for text in texts)])


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
    """Send one request on a connection of its own; ``target`` is appended to ``base_url`` as it stands.

    ``patience`` is in seconds, for each wait and for the whole. Raises NoAnswer, or NobodyListens.
    """
    parts = urlsplit(base_url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=patience)
    request = f"{method} {target}"
    begun = time.monotonic()
    try:
        connection.putrequest(method, parts.path + target, skip_accept_encoding=True)
        length = {"Content-Length": str(len(body))} if body is not None else {}
        for name, value in {**headers, **(secret_headers or {}), **length, "Connection": "close"}.items():
            connection.putheader(name, value)
        connection.endheaders()
        if body is not None:
            _send(connection, body)
        response = connection.getresponse()
        content = _read(response, begun + patience)
    except (OSError, http.client.HTTPException) as error:
        failure = NobodyListens if isinstance(error, ConnectionRefusedError) else NoAnswer
        raise failure(f"{request} got no answer: {_why(error, patience)}") from None
    finally:
        connection.close()
    seconds = time.monotonic() - begun
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
        return  # refused before it was read whole; the answer says so


def _read(response: http.client.HTTPResponse, ends_at: float) -> bytes:
    content = b""
    while chunk := response.read1(65536):
        content += chunk
        if len(content) > MAX_ANSWER or time.monotonic() > ends_at:
            raise OSError("it does not end")
    if response.length:
        raise OSError("it breaks off")
    return content


def _why(error: Exception, patience: float) -> str:
    if isinstance(error, TimeoutError):
        return f"none within {patience:g} s"
    if isinstance(error, ConnectionRefusedError):
        return "no one listens there"
    text = getattr(error, "strerror", None) or str(error)
    return f"{type(error).__name__}, {text}" if text else type(error).__name__
