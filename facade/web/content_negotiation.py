"""Which formats a request's body and its response may have: FHIR R4 as JSON, and nothing else."""

import re

from flask import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from facade.errors import NotAcceptable, UnsupportedMediaType

FHIR_JSON = "application/fhir+json; fhirVersion=4.0; charset=utf-8"
JSON = "application/json; charset=utf-8"
_TYPES = {"application/fhir+json": FHIR_JSON, "application/json": JSON}
FORMATS = {**_TYPES, "json": FHIR_JSON}
"""The values of ``_format``, each with the Content-Type of the response."""
# The library treats every Unicode space as whitespace. A meaningful header is ASCII.
_ASCII = re.compile(r"[\t\x20-\x7e]*")
_RANGES = {"*/*": FHIR_JSON, "application/*": FHIR_JSON, **_TYPES}


def response_type(request: Request) -> str:
    """Return the Content-Type of the response. ``_format`` takes precedence over ``Accept``. Raises NotAcceptable."""
    requested = request.args.get("_format")
    if requested:
        # An unescaped "+" in a query is a space.
        name, options = parse_options_header(requested)
        name = name.strip(" ").replace(" ", "+")
        if _ASCII.fullmatch(requested) and name in FORMATS and _is_supported_version(options):
            return FORMATS[name]
        raise NotAcceptable("_format names a format that this facade does not write; use _format=json.")
    # Highest quality first; of equal qualities the more specific range, then the earlier one.
    accepted = request.headers.get("Accept") or "*/*"
    for value, quality in parse_accept_header(accepted if _ASCII.fullmatch(accepted) else "", MIMEAccept):
        name, options = parse_options_header(value)
        if quality > 0 and name.lower() in _RANGES and _is_supported_version(options):
            return _RANGES[name.lower()]
    raise NotAcceptable("Accept names no format that this facade writes; accept application/fhir+json, FHIR 4.0.")


def error_type(request: Request) -> str:
    """Return the Content-Type of an error: the requested one if it is supported, else FHIR JSON."""
    try:
        return response_type(request)
    except NotAcceptable:
        return FHIR_JSON


def check_content_type(request: Request) -> None:
    """Raise UnsupportedMediaType unless ``Content-Type`` declares FHIR R4 JSON or plain JSON, in UTF-8."""
    sent = request.headers.get("Content-Type", "")
    name, options = parse_options_header(sent if _ASCII.fullmatch(sent) else "")
    if name.lower() not in _TYPES or options.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("The body must be FHIR R4 JSON; send Content-Type: application/fhir+json.")
    if not _is_supported_version(options):
        raise UnsupportedMediaType("This facade reads only FHIR R4; send fhirVersion=4.0 or leave it out.")


def _is_supported_version(options: dict[str, str]) -> bool:
    versions = [value for name, value in options.items() if name.lower() == "fhirversion"]
    return all(version == "4.0" for version in versions)
