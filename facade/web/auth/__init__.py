"""Who is asking: a client's API key, compared by hash in constant time."""

import hashlib
import hmac
import re
from collections.abc import Collection, Iterable

from flask import Request

from facade import loopback
from facade.config import OPERATIONS, Client
from facade.errors import Forbidden, Unauthenticated

_CHALLENGE = {"WWW-Authenticate": 'Bearer realm="fhir-facade"'}
# A key is printable ASCII; only spaces and tabs may stand around it (RFC 9110, section 5.6.3).
_BEARER = re.compile(r"[ \t]*bearer[ \t]+([\x21-\x7e]+)[ \t]*", re.IGNORECASE | re.ASCII)
_ANYBODY = Client("anybody", "", frozenset({"*"}), frozenset(OPERATIONS))


def check_is_local(request: Request, allowed_origins: Collection[str]) -> None:
    """Raises Forbidden for a request that a foreign page or a proxy may have sent; for auth.mode "none"."""
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or ""
    why = loopback.refusal(
        request.headers.items(), target=target, allowed_origins=allowed_origins, setting="auth.allowed_origins"
    )
    if why is not None:
        raise Forbidden(why)


def authenticate(request: Request, mode: str, clients: Iterable[Client]) -> Client:
    """The client that sent this request. Raises Unauthenticated."""
    if mode == "none":
        # The command refuses to bind elsewhere; another server that runs this application might not.
        if request.remote_addr not in loopback.HOSTS:
            raise Unauthenticated('auth.mode is "none", which serves this machine only.', headers=_CHALLENGE)
        return _ANYBODY
    given = _BEARER.fullmatch(request.headers.get("Authorization", ""))
    if given is None:
        raise Unauthenticated("Send an API key: Authorization: Bearer <key>.", headers=_CHALLENGE)
    presented = hashlib.sha256(given[1].encode()).hexdigest()
    # Every client is compared, so that the time taken does not tell which one matched.
    known = [client for client in clients if hmac.compare_digest(client.key_sha256, presented)]
    if not known:
        raise Unauthenticated("This API key is not known; check the key.", headers=_CHALLENGE)
    return known[0]
