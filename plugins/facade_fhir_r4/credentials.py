"""Provides the bearer token: the configured one, or one from SMART Backend Services, kept until it almost expires.

http://hl7.org/fhir/smart-app-launch/STU2/backend-services.html
"""

import json
import re
import threading
import time
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable
from concurrent.futures import Future
from contextvars import Context
from datetime import timedelta
from typing import Any
from urllib.parse import urlsplit

from facade import (
    Cause,
    ConfigurationError,
    HttpClient,
    HttpResponse,
    NotExecuted,
    SourceConfig,
    SourceError,
    deadline,
    remaining,
)

_ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_ASSERTION_LIFE = timedelta(minutes=4)  # at most five; servers' clocks differ
_TOKEN = re.compile(r"[A-Za-z0-9._~+/=-]+")  # RFC 6750, section 2.1
_FETCH_WITHIN = 10.0  # seconds; each call waits no longer than its own deadline
_MARGIN = 30.0  # seconds before its expiry from which a token is no longer used
_DEFAULT_LIFE = 300.0  # seconds; SMART requires expires_in and recommends no more than this
_LONGEST_LIFE = 86_400.0
_SECONDS = re.compile(r"[0-9]{1,9}")  # some servers write expires_in as a string
# RFC 6749, section 5.2; any other text of the endpoint is not logged.
_ERRORS = frozenset(
    "invalid_request invalid_client invalid_grant unauthorized_client unsupported_grant_type invalid_scope".split()
)
_CAUSES = {400: Cause.CREDENTIALS, 401: Cause.CREDENTIALS, 403: Cause.CREDENTIALS, 429: Cause.THROTTLED}


class Credentials(ABC):
    """Provides the bearer token of the next request."""

    @abstractmethod
    def token(self) -> str:
        """Return a token to send. Raises NotExecuted."""

    @abstractmethod
    def drop(self, token: str) -> bool:
        """Discard a token that the server has rejected. Returns whether ``token()`` may now return another one."""


class StaticToken(Credentials):
    """The one configured token."""

    def __init__(self, token: str) -> None:
        self._token = token

    def token(self) -> str:
        """Return the configured token."""
        return self._token

    def drop(self, token: str) -> bool:
        """Return False: there is no other token."""
        return False


class ClientCredentials(Credentials):
    """Fetches tokens with an assertion that ``sign`` signs, one at a time, in a thread with a deadline of its own.

    A token that arrives too late for the call that asked for it is there for the next call. At most ``max_concurrent``
    calls wait for it. One more is rejected at once, so that an endpoint that hangs cannot hold every thread.
    """

    def __init__(self, config: SourceConfig, sign: Callable[[dict[str, Any]], str]) -> None:
        self._config = config
        self._sign = sign
        url = urlsplit(config.settings["token_url"])
        self._http = HttpClient(f"{url.scheme}://{url.netloc}")
        self._path = url.path.replace("{", "{{").replace("}", "}}")
        self._places = threading.BoundedSemaphore(config.settings["max_concurrent"])
        self._lock = threading.Lock()  # protects the fields below; never held during a wait
        self._token = ""
        self._usable_until = 0.0  # monotonic
        self._coming: Future[str] | None = None

    def token(self) -> str:
        """Return the current token, or fetch one. Raises NotExecuted: nothing was sent to the FHIR server."""
        with self._lock:
            if time.monotonic() < self._usable_until:
                return self._token
            self._coming = coming = self._coming or self._start()
        if not self._places.acquire(blocking=False):
            raise NotExecuted(Cause.THROTTLED, "as many calls wait for a token as are allowed")
        try:
            return coming.result(remaining())
        except TimeoutError:
            raise NotExecuted(Cause.TIMEOUT, "no time left to wait for a token") from None
        finally:
            self._places.release()

    def drop(self, token: str) -> bool:
        """Discard the token, unless another has replaced it."""
        with self._lock:
            if token == self._token:
                self._usable_until = 0.0
        return True

    def _start(self) -> Future[str]:
        coming: Future[str] = Future()

        def run() -> None:
            try:
                with deadline(_FETCH_WITHIN):
                    token, usable_until = self._fetch()
            # The waiting threads must get the error, whatever it is.
            except BaseException as error:  # noqa: BLE001
                self._came("", 0.0)
                coming.set_exception(error)
            else:
                self._came(token, usable_until)
                coming.set_result(token)

        try:
            # A new context, because the calling thread's context has that thread's deadline.
            threading.Thread(target=Context().run, args=(run,), name="token", daemon=True).start()
        except RuntimeError:
            raise NotExecuted(Cause.THROTTLED, "this process cannot start another thread") from None
        return coming

    def _came(self, token: str, usable_until: float) -> None:
        with self._lock:
            self._token, self._usable_until, self._coming = token, usable_until, None

    def _fetch(self) -> tuple[str, float]:
        """Fetch a token. Returns it with the monotonic time until which to use it."""
        try:
            response = self._http.send("POST", self._path, form=self._form(), permit=_writes_nothing)
            if response.status != 200:
                cause = Cause.SERVER_ERROR if response.status >= 500 else Cause.UNREADABLE
                raise NotExecuted(
                    _CAUSES.get(response.status, cause), f"the token endpoint responded {_refusal(response)}"
                )
            body = response.json()
        except SourceError as error:
            # Whatever happened to this request, nothing was sent to the FHIR server.
            raise NotExecuted(error.cause, f"no token: {error.detail}") from None
        token = body.get("access_token") if isinstance(body, dict) else None
        if not (isinstance(token, str) and _TOKEN.fullmatch(token) and str(body.get("token_type")).lower() == "bearer"):
            raise NotExecuted(Cause.UNREADABLE, "no token: the token endpoint's response contains no bearer token")
        life = body.get("expires_in", _DEFAULT_LIFE)
        if isinstance(life, str) and _SECONDS.fullmatch(life):
            life = int(life)
        life = min(float(life), _LONGEST_LIFE) if type(life) in {int, float} and life > 0 else 0.0
        return token, time.monotonic() + life - min(_MARGIN, life / 2)

    def _form(self) -> dict[str, str]:
        settings = self._config.settings
        client = settings["client_id"]
        claims = {
            "iss": client,
            "sub": client,
            "aud": settings["token_url"],
            "jti": str(uuid.uuid4()),
            "exp": int((self._config.now() + _ASSERTION_LIFE).timestamp()),
        }
        return {
            "grant_type": "client_credentials",
            "scope": settings["scope"],
            "client_assertion_type": _ASSERTION_TYPE,
            "client_assertion": self._sign(claims),
        }


def credentials(config: SourceConfig) -> Credentials:
    """Return the configured credentials. Raises ConfigurationError for a key that cannot sign."""
    token = config.settings["token"]
    return StaticToken(token.reveal()) if token is not None else ClientCredentials(config, _signer(config))


def _signer(config: SourceConfig) -> Callable[[dict[str, Any]], str]:
    settings = config.settings
    try:
        import jwt  # imported here, because only client credentials need it
    except ImportError:
        raise ConfigurationError("client credentials need PyJWT; pip install 'fhir-facade[smart]'") from None
    algorithm, text = settings["algorithm"], settings["private_key_file"].reveal()
    try:
        jwk = json.loads(text) if text.startswith("{") else {}
        key = jwt.PyJWK.from_dict(jwk, algorithm) if jwk else text
        jwt.encode({}, key, algorithm)
    except Exception:  # noqa: BLE001 - a wrong key may raise anything, and the text may contain parts of it
        wrong = f"private_key_file: contains no private key that can sign {algorithm}; give one as PEM or JWK"
        raise ConfigurationError(wrong) from None
    key_id = settings.get("key_id", jwk.get("kid"))
    if not isinstance(key_id, str):
        raise ConfigurationError(
            "key_id: the private key file does not contain it; give the kid under which the key is registered"
        )

    def sign(claims: dict[str, Any]) -> str:
        return jwt.encode(claims, key, algorithm, {"kid": key_id})

    return sign


def _refusal(response: HttpResponse) -> str:
    """Return the status and, if the endpoint sends one, OAuth's error code."""
    try:
        body = response.json()
    except SourceError:
        body = None
    word = body.get("error") if isinstance(body, dict) else None
    known = isinstance(word, str) and word in _ERRORS
    return f"HTTP {response.status} {word}" if known else f"HTTP {response.status}"


def _writes_nothing() -> None:
    """Permit the request: a request for a token is not a native write."""
