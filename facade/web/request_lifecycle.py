"""What every exchange has: a request id, a client, the common headers, one line in the log."""

import re
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any, cast

import structlog
from flask import Flask, Response, current_app, g, request
from werkzeug.exceptions import MethodNotAllowed as NoSuchMethod

from facade.app import Facade
from facade.errors import MethodNotAllowed, NotFound
from facade.web.auth import authenticate, check_is_local

log = structlog.get_logger()

# A webhook is authenticated by its signature.
OPEN_ENDPOINTS = {
    "health.live",
    "health.ready",
    "fhir.metadata",
    "webhooks.receive",
    "openapi.description",
    "openapi.docs",
    "openapi.docs_page",
    "openapi.docs_file",
}
_ORIGIN = re.compile(r"^https?://[^/]*", re.IGNORECASE)
_SANE_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def this_facade() -> Facade:
    """The facade that the current application serves."""
    return cast(Facade, current_app.extensions["facade"])


def note(**facts: Any) -> None:
    """Facts for this exchange's line in the log: source, outcome, cause, version. Never content."""
    g.facts.update(facts)


def install(app: Flask) -> None:
    """Register the functions that run before and after every request."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get("X-Request-Id", "")
    g.request_id = given if _SANE_ID.fullmatch(given) else str(uuid.uuid4())
    g.started = time.monotonic()
    g.facts = {}
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(request_id=g.request_id)
    facade = this_facade()
    if facade.config.auth_mode == "none":
        check_is_local(request, facade.config.allowed_origins)
    error = request.routing_exception
    other_method = error if isinstance(error, NoSuchMethod) else None
    endpoint, arguments = _with_its_method(other_method) if other_method else (request.endpoint, {})
    if endpoint not in OPEN_ENDPOINTS:
        g.client = authenticate(request, facade.config.auth_mode, facade.config.clients)
        note(client=g.client.name)
    _check_raw_path()
    if other_method is not None:
        # A source that this client may not know of is 404 as with any method; a webhook's tells no one.
        if endpoint not in OPEN_ENDPOINTS and "source_system" in arguments:
            reachable_source(arguments["source_system"])
        raise another_method(other_method.valid_methods or ())


def _check_raw_path() -> None:
    """404 for what only the raw path shows: the server has decoded slashes and dropped leading ones by now."""
    target = request.environ.get("RAW_URI") or request.environ.get("REQUEST_URI") or ""
    path = _ORIGIN.sub("", target.partition("?")[0])
    if "//" in path or "%2f" in path.lower():
        raise NotFound("No route has an empty segment or an encoded slash in its path.")


def _with_its_method(error: NoSuchMethod) -> tuple[str | None, Mapping[str, Any]]:
    """Endpoint and arguments of this path, if it were asked with a method that it has."""
    urls = current_app.create_url_adapter(request)
    return urls.match(method=min(error.valid_methods or ["GET"])) if urls is not None else (None, {})


def another_method(allowed: Iterable[str]) -> MethodNotAllowed:
    """The 405 of a path that has these methods only."""
    methods = sorted(allowed)
    return MethodNotAllowed(f"Use {' or '.join(methods)}.", headers={"Allow": ", ".join(methods)})


def reachable_source(name: str) -> Any:
    """The configured source of this name. NotFound, in the same bytes, if unknown or out of this client's reach."""
    source = this_facade().sources.get(name)
    if source is None or not g.client.reaches(name):
        raise NotFound("There is no such source system for this client; check the path.")
    note(source=source.name)
    return source


def _end(response: Response) -> Response:
    response.headers["X-Request-Id"] = g.request_id
    correlation = request.headers.get("X-Correlation-Id", "")
    if _SANE_ID.fullmatch(correlation):
        response.headers["X-Correlation-Id"] = correlation
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
