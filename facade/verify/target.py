"""The facade under test: how requests are sent to it, with which key, and all its responses."""

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from facade.verify.hl7 import SYSTEM
from facade.verify.http import WireResponse, exchange

CANCEL: Mapping[str, Any] = {"resourceType": "Appointment", "status": "cancelled"}
FHIR_JSON = "application/fhir+json"


def with_reason(code: str, **elements: Any) -> dict[str, Any]:
    """Return a cancel's body with one of HL7's reasons."""
    return {**CANCEL, "cancelationReason": {"coding": [{"system": SYSTEM, "code": code}]}, **elements}


@dataclass(frozen=True)
class Key:
    """A bearer token that no repr shows; empty if requests have none."""

    _value: str

    def __repr__(self) -> str:
        return "Key(…)"

    def header(self) -> dict[str, str]:
        """Return the header with the token."""
        return {"Authorization": f"Bearer {self._value}"} if self._value else {}

    def stands_in(self, text: bytes) -> bool:
        """Return whether a text contains the token."""
        return bool(self._value) and self._value.encode() in text

    def __bool__(self) -> bool:
        return bool(self._value)


class Target:
    """The facade at a base URL, one of its source systems, and all its responses so far.

    ``within``: the seconds in which a response must come. The client waits more than twice as long, so that a slow
    response is reported as late and not as missing.
    """

    def __init__(self, url: str, source: str, key: Key, within: float) -> None:
        self.url = url
        self.source = source
        self.key = key
        self.within = within
        self.responses: list[WireResponse] = []

    def path(self, raw_id: str, *, source: str | None = None) -> str:
        """Return the path of an appointment, with its id encoded into one segment."""
        return f"/Appointment/{quote(source or self.source, safe='')}/{quote(raw_id, safe='')}"

    def cancel(self, raw_id: str, body: Any = CANCEL, **kwargs: Any) -> WireResponse:
        """POST a cancel of this appointment; ``request`` describes the other arguments."""
        return self.request("POST", self.path(raw_id), body=body, about=raw_id, **kwargs)

    def read(self, raw_id: str, **kwargs: Any) -> WireResponse:
        """GET this appointment."""
        return self.request("GET", self.path(raw_id), about=raw_id, **kwargs)

    def request(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str | None] | None = None,
        authorization: str | None = None,
        anonymous: bool = False,
        base_url: str | None = None,
        about: str = "",
    ) -> WireResponse:
        """Send one request, with ``path`` unchanged. Raises NoResponse.

        ``body`` is encoded as JSON; bytes are sent unchanged. A header that is None is not sent. ``authorization``
        replaces the key's header, and an ``anonymous`` request has no such header.
        """
        wanted: dict[str, str | None] = {"Accept": FHIR_JSON, "X-Request-Id": f"verify-{secrets.token_hex(8)}"}
        if body is not None:
            wanted["Content-Type"] = FHIR_JSON
        wanted |= headers or {}
        secret = {} if anonymous else self.key.header() if authorization is None else {"Authorization": authorization}
        response = exchange(
            base_url or self.url,
            method,
            path,
            headers={name: value for name, value in wanted.items() if value is not None},
            secret_headers=secret,
            body=body if isinstance(body, bytes | None) else json.dumps(body).encode(),
            patience=3 * self.within + 10,
            about=about,
        )
        self.responses.append(response)
        return response
