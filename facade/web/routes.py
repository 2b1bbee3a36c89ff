"""The FHIR routes: each view checks in the order that docs/reference/errors.md states and hands down."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import Blueprint, Flask, Response, current_app, g, request

from facade import strict_json
from facade.app import Facade
from facade.cancellation.results import CancelResult
from facade.cancellation.stored_request import Requester
from facade.errors import BadRequest, ContentTooLarge, Forbidden, NotFound, RequestTimeout
from facade.fhir import ids
from facade.fhir import request as cancel_request
from facade.fhir.capability_statement import capability_statement
from facade.fhir.masking import masked
from facade.plugin.configured_source import ConfiguredSource
from facade.web import preconditions
from facade.web.content_negotiation import answer_type, check_sent
from facade.web.request_lifecycle import note, reachable_source, this_facade

MAX_BODY = 64 * 1024  # bytes; a real cancel has a few KiB

blueprint = Blueprint("fhir", __name__)


@blueprint.post("/Appointment/<source_system>/<appointment_id>")
def cancel(source_system: str, appointment_id: str) -> Response:
    """Cancel one appointment of a named source."""
    return _cancel(reachable_source(source_system), appointment_id)


@blueprint.post("/Appointment/<appointment_id>")
def cancel_in_single_source(appointment_id: str) -> Response:
    """Cancel one appointment of the only or the default source."""
    return _cancel(_single_source(), appointment_id)


@blueprint.get("/Appointment/<source_system>/<appointment_id>")
def read(source_system: str, appointment_id: str) -> Response:
    """Read one appointment of a named source."""
    return _read(reachable_source(source_system), appointment_id)


@blueprint.get("/Appointment/<appointment_id>")
def read_in_single_source(appointment_id: str) -> Response:
    """Read one appointment of the only or the default source."""
    return _read(_single_source(), appointment_id)


@blueprint.get("/ConceptMap/<source_system>")
def concept_map(source_system: str) -> Response:
    """The mapping of cancellation reasons in force for one source."""
    source = reachable_source(source_system)
    if source.mapping is None:
        raise NotFound("This source system has no mapping of cancellation reasons.")
    return _resource({**source.mapping.resource, "id": ids.encode(source.name)})


@blueprint.get("/metadata")
def metadata() -> Response:
    """What this facade does."""
    return _resource(capabilities(current_app))


def capabilities(app: Flask) -> dict[str, Any]:
    """The CapabilityStatement of the facade that this application serves."""
    facade: Facade = app.extensions["facade"]
    single = facade.single_source
    return capability_statement(
        base_path=facade.config.base_path,
        started=app.extensions["facade_started"],
        authenticated=facade.config.auth_mode != "none",
        single_cancels=single is not None,
        single_reads=single is not None and single.readable,
        maps_reasons=any(source.mapping is not None for source in facade.sources.values()),
    )


def _cancel(source: ConfiguredSource, appointment_id: str) -> Response:
    # All that the head can show comes first: a server need not wait for the body of what is refused anyway.
    permit("cancel")
    check_length()
    check_sent(request)
    answer_type(request)
    if_match = preconditions.if_match(request)
    raw_id = ids.decode(appointment_id)
    wish = cancel_request.parse(parse(limited_body()), raw_id, if_match)
    # Only now, in the contract's order: of a body that is no request the client hears first.
    ids.resolve(appointment_id, source.plugin.id_pattern)
    client = Requester(g.client.name, g.request_id)
    spent = time.monotonic() - g.started
    answer = this_facade().cancellations.cancel(source, wish, client, spent=spent)
    if "read" not in g.client.operations:
        explained = this_facade().config.explain_proposed
        answer = replace(answer, appointment=masked(answer.appointment, explained=explained))
    return _answer(answer)


def _read(source: ConfiguredSource, appointment_id: str) -> Response:
    permit("read")
    answer_type(request)
    return _answer(this_facade().cancellations.read(source, ids.resolve(appointment_id, source.plugin.id_pattern)))


def _single_source() -> ConfiguredSource:
    source = this_facade().single_source
    if source is None:
        raise NotFound("Several source systems are configured; name one: Appointment/{sourceSystem}/{id}.")
    found: ConfiguredSource = reachable_source(source.name)
    return found


def permit(operation: str) -> None:
    """Raises Forbidden unless this client may do it."""
    if operation not in g.client.operations:
        raise Forbidden(f"This client may not {operation} appointments here; ask the facade's operators.")


def check_length() -> None:
    """Raises ContentTooLarge for a stated length over MAX_BODY."""
    if (request.content_length or 0) > MAX_BODY:
        raise _too_large()


def limited_body() -> bytes:
    """The request's body, whole.

    Raises ContentTooLarge over MAX_BODY, RequestTimeout for one that does not come in time, BadRequest for one that
    breaks off.
    """
    check_length()
    try:
        body = request.stream.read(MAX_BODY + 1)
    except TimeoutError:
        raise late() from None
    except Exception as error:  # the server's parser has errors of its own, whichever server it is
        raise BadRequest("The body breaks off or is not sent as its headers say.") from error
    if len(body) > MAX_BODY:
        raise _too_large()
    if len(body) < (request.content_length or 0):
        raise BadRequest("The body is shorter than its Content-Length says.")
    return body


def late() -> RequestTimeout:
    """The 408 of a body that does not come in time."""
    return RequestTimeout("The body did not come in time; send the request again.")


def _too_large() -> ContentTooLarge:
    return ContentTooLarge(f"The body is larger than {MAX_BODY // 1024} KiB; send the cancel's elements only.")


def parse(body: bytes, what: str = "request") -> Any:
    """The body's JSON. Raises BadRequest for what is not JSON that means one thing."""
    try:
        return strict_json.loads(body)
    except strict_json.NotStrictJson as error:
        raise BadRequest(f"The {what} cannot be read: {error}.", issue_code="structure") from None


def _answer(answer: CancelResult) -> Response:
    note(outcome=answer.outcome, cause=answer.cause)
    if answer.detail:
        note(detail=answer.detail)
    response = _resource(answer.appointment)
    response.headers["ETag"] = f'W/"{answer.version}"'
    return response


def _resource(resource: Mapping[str, Any]) -> Response:
    return Response(json.dumps(resource, ensure_ascii=False), content_type=answer_type(request))
