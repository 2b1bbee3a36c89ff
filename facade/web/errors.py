"""Renders every error as an OperationOutcome."""

import json

import structlog
from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError

from facade.errors import BadRequest, ContentTooLarge, MethodNotAllowed, NotFound, RequestError, Unavailable
from facade.fhir.operation_outcome import of_failure, of_request_error
from facade.observability.logs import where
from facade.web.content_negotiation import error_type
from facade.web.request_lifecycle import note

log = structlog.get_logger()

_BY_STATUS = {error.status: error for error in (BadRequest, NotFound, MethodNotAllowed, ContentTooLarge)}


def install(app: Flask) -> None:
    """Register the error handlers. No response is HTML, and none shows internal details."""
    app.register_error_handler(RequestError, _request_error)
    app.register_error_handler(HTTPException, _http_exception)
    app.register_error_handler(Exception, _failure)


def _request_error(error: RequestError) -> Response:
    if isinstance(error, Unavailable):
        note(outcome="unavailable", cause=error.cause.code if error.cause is not None else "ledger")
    body = json.dumps(of_request_error(error), ensure_ascii=False)
    return Response(body, error.status, headers=error.headers, content_type=error_type(request))


def _http_exception(error: HTTPException) -> Response:
    """Render what Flask and Werkzeug reject by themselves."""
    if error.code == 404:
        return _request_error(NotFound("There is no such route; see /metadata under the base path."))
    kind = _BY_STATUS.get(error.code or 500)
    if kind is None:
        return _failure(error)
    return _request_error(kind("The request cannot be read; check its method, headers and length."))


def _failure(error: Exception) -> Response:
    log.error("failed", error=type(error).__name__, where=where(error))
    return Response(json.dumps(of_failure()), InternalServerError.code, content_type=error_type(request))
