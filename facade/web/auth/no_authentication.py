"""``auth.mode = "none"``: no credentials; serves programs on the same machine only."""

from flask import Request

from facade import loopback
from facade.config import Client, Config
from facade.config_tables import CLIENT_OPERATIONS
from facade.errors import ConfigurationError, Forbidden, Unauthenticated
from facade.web.auth.authenticator import Authenticator

_CLIENT = Client("anybody", "", frozenset({"*"}), frozenset(CLIENT_OPERATIONS))


class NoAuthentication(Authenticator):
    """Takes every request from loopback as the same client, which may do everything.

    Rejects requests that a page of another origin or a proxy may have sent.
    """

    mode = "none"
    loopback_only = True
    capability_text = "None: loopback only."
    forbidden_response = (
        "NotLocal",
        "A `Host` that is not loopback, an `Origin` that is not allowed, or a header of a proxy.",
    )

    def __init__(self, config: Config) -> None:
        self._allowed_origins = config.allowed_origins

    def check_host(self, host: str) -> None:
        """Raise ConfigurationError for an address other than loopback."""
        if host not in loopback.HOSTS:
            raise ConfigurationError(
                f'auth.mode: "{self.mode}" serves loopback only and --host is {host}; use mode = "api-key" or '
                "--host 127.0.0.1"
            )

    def check_request(self, request: Request) -> None:
        """Raise Forbidden for a request that a page of another origin or a proxy may have sent."""
        target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or ""
        reason = loopback.reject_reason(
            request.headers.items(),
            target=target,
            allowed_origins=self._allowed_origins,
            setting="auth.allowed_origins",
        )
        if reason is not None:
            raise Forbidden(reason)

    def authenticate(self, request: Request) -> Client:
        """Return the one client. Raises Unauthenticated for a peer that is not on this machine."""
        # facade serve binds loopback only (check_host). Another server that runs this application may not.
        if request.remote_addr not in loopback.HOSTS:
            raise Unauthenticated(
                f'auth.mode is "{self.mode}", which serves this machine only.',
                headers={"WWW-Authenticate": 'Bearer realm="fhir-facade"'},
            )
        return _CLIENT
