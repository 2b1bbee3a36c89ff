"""Sends a FHIR resource."""

import json
from collections.abc import Mapping
from typing import Any

from flask import Response, request

from facade.web.content_negotiation import response_type


def fhir_response(resource: Mapping[str, Any]) -> Response:
    """Return the resource as a 200 in the format that the current request accepts. Raises NotAcceptable."""
    return Response(json.dumps(resource, ensure_ascii=False), content_type=response_type(request))
