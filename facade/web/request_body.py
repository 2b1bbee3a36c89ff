"""Reads the body of the current request, within limits."""

from typing import Any

from flask import request

from facade import strict_json
from facade.errors import BadRequest, ContentTooLarge, RequestTimeout

MAX_BODY = 64 * 1024  # bytes; a real cancel has a few KiB


def check_length() -> None:
    """Raise ContentTooLarge for a ``Content-Length`` over MAX_BODY."""
    if (request.content_length or 0) > MAX_BODY:
        raise _too_large()


def read_body() -> bytes:
    """Return the whole body.

    Raises ContentTooLarge for a body over MAX_BODY, RequestTimeout for one that does not arrive in time, BadRequest
    for one that is incomplete.
    """
    check_length()
    try:
        body = request.stream.read(MAX_BODY + 1)
    except TimeoutError:
        raise late() from None
    except Exception as error:  # each WSGI server's parser has errors of its own
        raise BadRequest("The body is incomplete or is not encoded as its headers say.") from error
    if len(body) > MAX_BODY:
        raise _too_large()
    if len(body) < (request.content_length or 0):
        raise BadRequest("The body is shorter than its Content-Length says.")
    return body


def parse_json(body: bytes, what: str = "request") -> Any:
    """Return the body's JSON. Raises BadRequest for malformed or ambiguous JSON; ``what`` names the message."""
    try:
        return strict_json.loads(body)
    except strict_json.NotStrictJson as error:
        raise BadRequest(f"The {what} cannot be read: {error}.", issue_code="structure") from None


def late() -> RequestTimeout:
    """Return the 408 of a body that does not arrive in time."""
    return RequestTimeout("The body did not arrive in time; send the request again.")


def _too_large() -> ContentTooLarge:
    return ContentTooLarge(f"The body is larger than {MAX_BODY // 1024} KiB; send only the elements of the cancel.")
