"""What every request has: a request id, a client, access to its source, common headers and one line in the log."""

import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import MethodNotAllowed as MethodNotRouted

from facade.errors import Forbidden, MethodNotAllowed, NotFound
from facade.plugin.configured_source import ConfiguredSource
from facade.web.operation import Operation

if TYPE_CHECKING:
    from facade.app import Facade

log = structlog.get_logger()

_ORIGIN = re.compile(r"^https?://[^/]*", re.IGNORECASE)
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def install(app: Flask, operations: Iterable[Operation]) -> None:
    """Add the routes of the operations, and the functions that run before and after every request."""
    facade: Facade = app.extensions["facade"]
    by_endpoint: dict[str, Operation] = {}
    app.extensions["facade_operations"] = by_endpoint
    for operation in operations:
        if operation.name in by_endpoint:
            raise ValueError(f"two operations have the name {operation.name}: rename a view")
        by_endpoint[operation.name] = operation
        rule = operation.under(facade.config.base_path) + operation.rule
        app.add_url_rule(rule, operation.name, _handler(operation), methods=[operation.method])
    app.before_request(_begin)
    app.after_request(_end)


def this_facade() -> "Facade":
    """Return the facade that the current application serves."""
    return cast("Facade", current_app.extensions["facade"])


def note(**facts: Any) -> None:
    """Add facts to this request's line in the log: source, outcome, cause, version. Never content."""
    g.facts.update(facts)


def _begin() -> None:
    sent_id = request.headers.get("X-Request-Id", "")
    g.request_id = sent_id if _SANE_ID.fullmatch(sent_id) else str(uuid.uuid4())
    g.started = time.monotonic()
    g.facts = {}
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    authenticator = this_facade().authenticator
    authenticator.check_request(request)
    error = request.routing_exception
    wrong_method = error if isinstance(error, MethodNotRouted) else None
    endpoint, arguments = _with_its_method(wrong_method) if wrong_method else (request.endpoint, {})
    operation = current_app.extensions["facade_operations"].get(endpoint)
    # A path without a route needs credentials too: without them, a client cannot find out which paths exist.
    if operation is None or operation.credentials == "client":
        g.client = authenticator.authenticate(request)
        note(client=g.client.name)
    _check_raw_path()
    if wrong_method is not None:
        # 404 takes precedence: whether the source exists must not depend on the method. A webhook never shows it.
        if operation is not None and operation.takes_source and "source_system" in arguments:
            reachable_source(arguments["source_system"])
        raise method_not_allowed(wrong_method.valid_methods or ())


def _check_raw_path() -> None:
    """Raise NotFound for empty segments and encoded slashes: the server has decoded or dropped them in the path."""
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or ""
    path = _ORIGIN.sub("", target.partition("?")[0])
    if "//" in path or "%2f" in path.lower():
        raise NotFound("No route has an empty segment or an encoded slash in its path.")


def _with_its_method(error: MethodNotRouted) -> tuple[str | None, Mapping[str, Any]]:
    """Return the endpoint and the arguments of the path under one of the methods that it has."""
    urls = current_app.create_url_adapter(request)
    return urls.match(method=min(error.valid_methods or ["GET"])) if urls is not None else (None, {})


def _handler(operation: Operation) -> Callable[..., Any]:
    """Return the view with the checks that its declaration asks for, in this order: the source, the permission."""

    def handle(**arguments: Any) -> Any:
        if operation.takes_source:
            name = arguments.pop("source_system", None)
            arguments["source"] = reachable_source(name) if name is not None else _single_source()
        if operation.requires is not None:
            check_permission(operation.requires)
        return operation.view(**arguments)

    return handle


def reachable_source(name: str) -> ConfiguredSource:
    """Return the configured source of this name.

    Raises NotFound, with the same bytes, for an unknown source and for one that the client may not reach.
    """
    source = this_facade().sources.get(name)
    if source is None or not g.client.reaches(name):
        raise NotFound("There is no such source system for this client; check the path.")
    note(source=source.name)
    return source


def _single_source() -> ConfiguredSource:
    source = this_facade().single_source
    if source is None:
        raise NotFound("Several source systems are configured; name one: Appointment/{sourceSystem}/{id}.")
    return reachable_source(source.name)


def check_permission(operation: str) -> None:
    """Raise Forbidden unless the client may use this client operation."""
    if operation not in g.client.operations:
        raise Forbidden(f"This client may not {operation} appointments here; ask the facade's operators.")


def method_not_allowed(allowed: Iterable[str]) -> MethodNotAllowed:
    """Return the 405 of a path that has only these methods."""
    methods = sorted(allowed)
    return MethodNotAllowed(f"Use {' or '.join(methods)}.", headers={"Allow": ", ".join(methods)})


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    correlation_id = request.headers.get("X-Correlation-Id", "")
    if _SANE_ID.fullmatch(correlation_id):
        response.headers["X-Correlation-Id"] = correlation_id
    response.headers["Cache-Control"] = "no-store"
    log.info(
        "request",
        method=request.method if request.url_rule else "other",
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        duration_ms=round((time.monotonic() - g.started) * 1000),
        **g.facts,
    )
    return response
