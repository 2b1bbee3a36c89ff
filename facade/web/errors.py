"""Renders every error as an OperationOutcome, in one place."""

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
    """Register the handlers: nothing leaves as HTML or with a detail of ours."""
    app.register_error_handler(RequestError, _refused)
    app.register_error_handler(HTTPException, _http)
    app.register_error_handler(Exception, _failed)


def _refused(error: RequestError) -> Response:
    if isinstance(error, Unavailable):
        note(outcome="unavailable", cause=error.cause.word if error.cause is not None else "ledger")
    body = json.dumps(of_request_error(error), ensure_ascii=False)
    return Response(body, error.status, headers=error.headers, content_type=error_type(request))


def _http(error: HTTPException) -> Response:
    """What Flask and Werkzeug refuse by themselves."""
    if error.code == 404:
        return _refused(NotFound("There is no such route; see /metadata under the base path."))
    kind = _BY_STATUS.get(error.code or 500)
    if kind is None:
        return _failed(error)
    return _refused(kind("The request cannot be read; check its method, headers and length."))


def _failed(error: Exception) -> Response:
    log.error("failed", error=type(error).__name__, where=where(error))
    return Response(json.dumps(of_failure()), InternalServerError.code, content_type=error_type(request))
