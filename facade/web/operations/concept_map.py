"""The mapping of cancellation reasons."""

from flask import Response

from facade.errors import NotFound
from facade.fhir import ids
from facade.plugin.configured_source import ConfiguredSource
from facade.web.fhir_response import fhir_response
from facade.web.operation import GET, operation


@operation(
    GET,
    "/ConceptMap/{sourceSystem}",
    response="ConceptMap",
    errors="UnknownSource NotAcceptable",
    parameters="format",
)
def concept_map(source: ConfiguredSource) -> Response:
    """Return the mapping of cancellation reasons in force for one source."""
    if source.mapping is None:
        raise NotFound("This source system has no mapping of cancellation reasons.")
    return fhir_response({**source.mapping.resource, "id": ids.encode(source.name)})
