"""``@operation``: the one declaration of an HTTP operation, on its view.

Everything about a route is derived from it: the route in Flask, the credentials and the client operation that it
requires, the 405 of other methods, the OpenAPI description and the table of routes in the README.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from facade.config_tables import CLIENT_OPERATIONS

GET, POST = "GET", "POST"
ARGUMENTS = {"sourceSystem": "source_system", "id": "appointment_id"}
"""The parameters of a path whose argument of the view has another name."""


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A view with its declaration; the arguments of ``operation`` explain the fields."""

    method: str
    path: str
    view: Callable[..., Any]
    credentials: Literal["client", "signature"] | None
    requires: str | None
    single_source: bool
    under_base_path: bool
    documented: bool
    tag: str
    response: str
    status: int
    errors: tuple[str, ...]
    parameters: tuple[str, ...]
    body: str

    @property
    def name(self) -> str:
        """The view's name: the endpoint in Flask and the ``operationId`` in OpenAPI."""
        return self.view.__name__

    @property
    def summary(self) -> str:
        """The first line of the view's docstring, without its full stop."""
        return (self.view.__doc__ or "").strip().partition("\n")[0].rstrip(".")

    @property
    def methods(self) -> frozenset[str]:
        """The methods that the route accepts: Flask serves HEAD wherever it serves GET."""
        return frozenset({GET, "HEAD"} if self.method == GET else {self.method})

    @property
    def path_parameters(self) -> tuple[str, ...]:
        """The names of the path's parameters, in order."""
        return tuple(re.findall(r"\{(\w+)\}", self.path))

    @property
    def rule(self) -> str:
        """The path as a Flask rule."""
        return re.sub(r"\{(\w+)\}", lambda match: f"<{ARGUMENTS.get(match[1], match[1])}>", self.path)

    @property
    def takes_source(self) -> bool:
        """Whether the view gets a ConfiguredSource that the client may reach, as its argument ``source``."""
        return self.credentials == "client" and (self.single_source or "sourceSystem" in self.path_parameters)

    def under(self, base_path: str) -> str:
        """Return the prefix of the path, where FHIR routes are served under ``base_path``."""
        return base_path if self.under_base_path else ""


def operation(
    method: str,
    path: str,
    *,
    credentials: Literal["client", "signature"] | None = "client",
    requires: str | None = None,
    single_source: bool = False,
    under_base_path: bool = True,
    documented: bool = True,
    tag: str = "Appointment",
    response: str = "",
    status: int = 200,
    errors: str = "",
    parameters: str = "",
    body: str = "",
) -> Callable[[Callable[..., Any]], Operation]:
    """Declare that a view serves ``method`` on ``path``; its docstring's first line says what it does.

    ``credentials`` is ``"client"`` (the authenticator decides, 401), ``"signature"`` (the view checks one) or None.
    ``requires`` is the client operation that the client must be allowed (403); None admits every client.
    A view with client credentials and ``{sourceSystem}`` in its path gets the argument ``source`` in its place, a
    ConfiguredSource that the client may reach (404). ``single_source`` passes the only or the default source.
    ``under_base_path`` prefixes the path with ``facade.base_path``.

    The rest is for OpenAPI: ``documented`` is false for pages for people; ``tag``; ``response``, ``body`` and the
    words in ``errors`` and ``parameters`` are the names of components (facade/web/openapi/components.py). The
    errors that follow from the declaration need not be named: 401, 403, 405 and 500.
    """
    if requires is not None and requires not in CLIENT_OPERATIONS:
        raise ValueError(f"{path} requires {requires!r}, which is no client operation: use one of {CLIENT_OPERATIONS}")
    if requires is not None and credentials != "client":
        raise ValueError(f"{path} requires {requires!r} of a client, and has no client credentials")

    def declare(view: Callable[..., Any]) -> Operation:
        return Operation(
            method=method,
            path=path,
            view=view,
            credentials=credentials,
            requires=requires,
            single_source=single_source,
            under_base_path=under_base_path,
            documented=documented,
            tag=tag,
            response=response,
            status=status,
            errors=tuple(errors.split()),
            parameters=tuple(parameters.split()),
            body=body,
        )

    return declare
