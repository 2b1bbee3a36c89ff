"""``If-Match``: the version of the appointment that the client expects."""

import re

from flask import Request

from facade.errors import BadRequest

# The characters of an entity tag and the optional whitespace around it: RFC 9110, sections 8.8.3 and 5.6.3.
_ENTITY_TAG = r'(?:W/)?"[!#-~\x80-\xff]*"[ \t]*'
ENTITY_TAGS = re.compile(rf"[ \t]*{_ENTITY_TAG}(?:,[ \t]*{_ENTITY_TAG})*")
"""A list of one or more entity tags."""
_OPAQUE_TAG = re.compile(r'"([^"]*)"')


def if_match(request: Request) -> frozenset[str] | None:
    """Return the versions that ``If-Match`` names, ``*`` for any version; None if the request does not have it.

    Raises BadRequest for a malformed header.
    """
    value = request.headers.get("If-Match")
    if value is None:
        return None
    if value.strip(" \t") == "*":
        return frozenset({"*"})
    if not ENTITY_TAGS.fullmatch(value):
        raise BadRequest('If-Match is malformed; send a version as an ETag gave it: W/"0".')
    return frozenset(_OPAQUE_TAG.findall(value))
