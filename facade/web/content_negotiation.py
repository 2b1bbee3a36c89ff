"""Which format a request is in and which one its answer may have: FHIR R4 as JSON, or a clear refusal."""

import re

from flask import Request
from werkzeug.datastructures import MIMEAccept
from werkzeug.http import parse_accept_header, parse_options_header

from facade.errors import NotAcceptable, UnsupportedMediaType

FHIR_JSON = "application/fhir+json; fhirVersion=4.0; charset=utf-8"
JSON = "application/json; charset=utf-8"
_TYPES = {"application/fhir+json": FHIR_JSON, "application/json": JSON}
WORDS = {**_TYPES, "json": FHIR_JSON}
# The library takes every space of Unicode for one; a header that means something here is ASCII.
_PLAIN = re.compile(r"[\t\x20-\x7e]*")
_RANGES = {"*/*": FHIR_JSON, "application/*": FHIR_JSON, **_TYPES}


def answer_type(request: Request) -> str:
    """The Content-Type of the answer. ``_format`` wins over ``Accept``. Raises NotAcceptable."""
    wanted = request.args.get("_format")
    if wanted:
        # An unescaped "+" in a query is a space.
        name, options = parse_options_header(wanted)
        name = name.strip(" ").replace(" ", "+")
        if _PLAIN.fullmatch(wanted) and name in WORDS and _version_is_served(options):
            return WORDS[name]
        raise NotAcceptable("_format names a format that is not written here; use _format=json.")
    # Highest quality first; of equals, the more specific, then the earlier.
    accepted = request.headers.get("Accept") or "*/*"
    for value, quality in parse_accept_header(accepted if _PLAIN.fullmatch(accepted) else "", MIMEAccept):
        name, options = parse_options_header(value)
        if quality > 0 and name.lower() in _RANGES and _version_is_served(options):
            return _RANGES[name.lower()]
    raise NotAcceptable("Accept names no format that is written here; accept application/fhir+json, FHIR 4.0.")


def error_type(request: Request) -> str:
    """The Content-Type of an error: what was asked for if it can be had, else FHIR JSON."""
    try:
        return answer_type(request)
    except NotAcceptable:
        return FHIR_JSON


def check_sent(request: Request) -> None:
    """Raises UnsupportedMediaType unless the body is said to be FHIR R4 (or plain) JSON in UTF-8."""
    sent = request.headers.get("Content-Type", "")
    name, options = parse_options_header(sent if _PLAIN.fullmatch(sent) else "")
    if name.lower() not in _TYPES or options.get("charset", "utf-8").lower() not in {"utf-8", "utf8"}:
        raise UnsupportedMediaType("The body must be FHIR R4 JSON; send Content-Type: application/fhir+json.")
    if not _version_is_served(options):
        raise UnsupportedMediaType("Only FHIR R4 is read here; send fhirVersion=4.0 or leave it out.")


def _version_is_served(options: dict[str, str]) -> bool:
    versions = [value for name, value in options.items() if name.lower() == "fhirversion"]
    return all(version == "4.0" for version in versions)
