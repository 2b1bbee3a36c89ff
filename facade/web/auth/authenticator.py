"""The protocol of an authentication mode."""

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar, Protocol

from flask import Request

from facade.config import Client, Config


class Authenticator(Protocol):
    """One value of ``auth.mode``: how the facade finds out which client sent a request.

    An implementation subclasses this protocol in a module of its own and is listed in ``AUTHENTICATORS``. It holds no
    state of a request: one instance serves all threads of a process.
    """

    mode: ClassVar[str]
    """The word in the configuration."""
    loopback_only: ClassVar[bool] = False
    """Whether the facade serves programs on its own machine only."""
    capability_text: ClassVar[str]
    """``rest.security.description`` of the CapabilityStatement."""
    security_schemes: ClassVar[Mapping[str, Mapping[str, Any]]] = {}
    """The OpenAPI security schemes that an operation with client credentials requires, by name."""
    forbidden_response: ClassVar[tuple[str, str] | None] = None
    """The OpenAPI response of the Forbidden that ``check_request`` raises, if it does: a name and a description."""
    example_headers: ClassVar[Mapping[str, str]] = {}
    """The request headers that a printed curl command sends, as a shell expands them inside double quotes."""

    @abstractmethod
    def __init__(self, config: Config) -> None:
        """Take what the mode needs from the validated configuration."""

    @classmethod
    def config_problems(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """Return what the configuration file lacks for this mode, one sentence per problem.

        ``document`` holds the tables of the file as written; the schemas report wrong types.
        """
        del document
        return ()

    def check_host(self, host: str) -> None:
        """Raise ConfigurationError if the facade must not listen on the address ``host`` (of ``--host``)."""
        del host

    def check_request(self, request: Request) -> None:
        """Raise Forbidden if this mode must not serve the request at all; runs for every path."""
        del request

    @abstractmethod
    def authenticate(self, request: Request) -> Client:
        """Return the client that sent the request.

        Raises Unauthenticated for absent or unknown credentials, with the header ``WWW-Authenticate``.
        """
