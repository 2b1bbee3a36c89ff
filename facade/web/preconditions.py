"""``If-Match``: which version the client means."""

import re

from flask import Request

from facade.errors import BadRequest

# What an entity tag may hold, and the space around it: RFC 9110, sections 8.8.3 and 5.6.3.
_ONE = r'(?:W/)?"[!#-~\x80-\xff]*"[ \t]*'
LIST = re.compile(rf"[ \t]*{_ONE}(?:,[ \t]*{_ONE})*")
"""Entity tags, one or more."""
_TAG = re.compile(r'"([^"]*)"')


def if_match(request: Request) -> frozenset[str] | None:
    """The versions that ``If-Match`` names, ``*`` among them for any; None where it was not sent.

    Raises BadRequest for one that is malformed.
    """
    value = request.headers.get("If-Match")
    if value is None:
        return None
    if value.strip(" \t") == "*":
        return frozenset({"*"})
    if not LIST.fullmatch(value):
        raise BadRequest('If-Match is malformed; send a version as it came in an ETag: W/"0".')
    return frozenset(_TAG.findall(value))
