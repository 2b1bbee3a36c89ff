"""Cancels and reads appointments. Each view checks in the order that docs/reference/errors.md states."""

import time
from dataclasses import replace

from flask import Response, g, request

from facade.cancellation.results import CancelResult
from facade.cancellation.stored_request import Requester
from facade.fhir import ids
from facade.fhir import request as cancel_request
from facade.fhir.masking import mask
from facade.plugin.configured_source import ConfiguredSource
from facade.web import preconditions
from facade.web.content_negotiation import check_content_type, response_type
from facade.web.fhir_response import fhir_response
from facade.web.operation import GET, POST, operation
from facade.web.request_body import check_length, parse_json, read_body
from facade.web.request_lifecycle import note, this_facade

_CANCEL_ERRORS = (
    "BadRequest NotFound NotAcceptable RequestTimeout PreconditionFailed ContentTooLarge UnsupportedMediaType "
    "UnprocessableContent Unavailable"
)
_READ_ERRORS = "NotFound NotAcceptable NotSupported SourceUnavailable"


@operation(
    POST,
    "/Appointment/{sourceSystem}/{id}",
    requires="cancel",
    response="CancelResponse",
    errors=_CANCEL_ERRORS,
    parameters="format ifMatch",
    body="CancelRequest",
)
def cancel(source: ConfiguredSource, appointment_id: str) -> Response:
    """Cancel one appointment of a named source."""
    return _cancel(source, appointment_id)


@operation(
    POST,
    "/Appointment/{id}",
    requires="cancel",
    single_source=True,
    response="CancelResponse",
    errors=_CANCEL_ERRORS,
    parameters="format ifMatch",
    body="CancelRequest",
)
def cancel_in_single_source(source: ConfiguredSource, appointment_id: str) -> Response:
    """Cancel one appointment of the only or the default source."""
    return _cancel(source, appointment_id)


@operation(
    GET,
    "/Appointment/{sourceSystem}/{id}",
    requires="read",
    response="Appointment",
    errors=_READ_ERRORS,
    parameters="format",
)
def read(source: ConfiguredSource, appointment_id: str) -> Response:
    """Read one appointment of a named source."""
    return _read(source, appointment_id)


@operation(
    GET,
    "/Appointment/{id}",
    requires="read",
    single_source=True,
    response="Appointment",
    errors=_READ_ERRORS,
    parameters="format",
)
def read_in_single_source(source: ConfiguredSource, appointment_id: str) -> Response:
    """Read one appointment of the only or the default source."""
    return _read(source, appointment_id)


def _cancel(source: ConfiguredSource, appointment_id: str) -> Response:
    # Check everything in the head first, so that a server need not wait for the body of a rejected request.
    check_length()
    check_content_type(request)
    response_type(request)
    if_match = preconditions.if_match(request)
    raw_id = ids.decode(appointment_id)
    parsed = cancel_request.parse(parse_json(read_body()), raw_id, if_match)
    # Only now: by docs/reference/errors.md, a malformed body takes precedence over an id that the source cannot have.
    ids.parse(appointment_id, source.plugin.id_pattern)
    requester = Requester(g.client.name, g.request_id)
    spent = time.monotonic() - g.started
    result = this_facade().cancellations.cancel(source, parsed, requester, spent=spent)
    if "read" not in g.client.operations:
        explained = this_facade().config.explain_proposed
        result = replace(result, appointment=mask(result.appointment, explained=explained))
    return _response(result)


def _read(source: ConfiguredSource, appointment_id: str) -> Response:
    response_type(request)
    return _response(this_facade().cancellations.read(source, ids.parse(appointment_id, source.plugin.id_pattern)))


def _response(result: CancelResult) -> Response:
    note(outcome=result.outcome, cause=result.cause)
    if result.detail:
        note(detail=result.detail)
    response = fhir_response(result.appointment)
    response.headers["ETag"] = f'W/"{result.version}"'
    return response
