"""The CapabilityStatement."""

from typing import TYPE_CHECKING, Any

from flask import Flask, Response, current_app

from facade.fhir.capability_statement import capability_statement
from facade.web.fhir_response import fhir_response
from facade.web.operation import GET, operation

if TYPE_CHECKING:
    from facade.app import Facade


@operation(
    GET,
    "/metadata",
    credentials=None,
    tag="Facade",
    response="CapabilityStatement",
    errors="NotAcceptable",
    parameters="format",
)
def metadata() -> Response:
    """Return the CapabilityStatement: what this facade does."""
    return fhir_response(capabilities(current_app))


def capabilities(app: Flask) -> dict[str, Any]:
    """Return the CapabilityStatement of the facade that this application serves."""
    facade: Facade = app.extensions["facade"]
    single = facade.single_source
    return capability_statement(
        base_path=facade.config.base_path,
        started=app.extensions["facade_started"],
        security=facade.authenticator.capability_text,
        single_cancels=single is not None,
        single_reads=single is not None and single.readable,
        maps_reasons=any(source.mapping is not None for source in facade.sources.values()),
    )
