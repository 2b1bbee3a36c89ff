"""``auth.mode = "api-key"``: each client has a key and sends it as a bearer token."""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from typing import Any

from flask import Request

from facade.config import Client, Config
from facade.errors import Unauthenticated
from facade.web.auth.authenticator import Authenticator

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fhir-facade"'}
# A key is printable ASCII. Only spaces and tabs may surround it (RFC 9110, section 5.6.3).
_BEARER = re.compile(r"[ \t]*bearer[ \t]+([\x21-\x7e]+)[ \t]*", re.IGNORECASE | re.ASCII)


class ApiKeyAuthenticator(Authenticator):
    """Compares the SHA-256 of the key with that of every client, in constant time."""

    mode = "api-key"
    capability_text = "An API key as bearer token: Authorization: Bearer <key>."
    security_schemes = {  # noqa: RUF012 - a ClassVar by the protocol
        "bearer": {"type": "http", "scheme": "bearer", "description": "The client's API key."}
    }
    example_headers = {"Authorization": "Bearer $FACADE_CLIENT_KEY"}  # noqa: RUF012 - a ClassVar by the protocol

    def __init__(self, config: Config) -> None:
        self._clients = config.clients

    @classmethod
    def config_problems(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """Report a configuration without clients."""
        if document.get("clients", {}) == {}:
            yield f'clients: auth.mode is "{cls.mode}"; configure at least one, as [clients.NAME] with its key'

    def authenticate(self, request: Request) -> Client:
        """Return the client whose key the header ``Authorization`` holds. Raises Unauthenticated."""
        sent = _BEARER.fullmatch(request.headers.get("Authorization", ""))
        if sent is None:
            raise Unauthenticated("Send an API key: Authorization: Bearer <key>.", headers=_CHALLENGE)
        sent_hash = hashlib.sha256(sent[1].encode()).hexdigest()
        # Compare with every client, so that the time taken does not show which one matched.
        found = [client for client in self._clients if hmac.compare_digest(client.key_sha256, sent_hash)]
        if not found:
            raise Unauthenticated("This API key is not known; check the key.", headers=_CHALLENGE)
        return found[0]
