"""Encode native ids as FHIR ids, reversibly.

R4 allows ``[A-Za-z0-9\\-.]{1,64}`` (http://hl7.org/fhir/R4/datatypes.html#id). A native id of this form stays as it
is, unless it begins with the mark ``x-.``. Every other id is encoded as the mark and the id, with ``.hh`` (hexadecimal
UTF-8) for each character outside ``[A-Za-z0-9-]``: ``p_1`` becomes ``x-.p.5f1``.
"""

import re

from facade.errors import NotFound

MARK = "x-."
MAX_LENGTH = 64

_LEGAL = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_ENCODED = re.compile(r"(?:[A-Za-z0-9-]|\.[0-9a-f]{2})*")
_OTHER = re.compile(r"[^A-Za-z0-9-]")


def encode(raw: str) -> str:
    """Return the FHIR id of a raw native id. A result over 64 characters means that the raw id has no FHIR id."""
    if _LEGAL.fullmatch(raw) and not raw.startswith(MARK):
        return raw
    return MARK + _OTHER.sub(_hexadecimal, raw)


def decode(text: str) -> str:
    """Return the raw native id of ``text``, which may be raw or encoded."""
    if not text.startswith(MARK) or not _ENCODED.fullmatch(text, len(MARK)):
        return text
    parts = re.sub(r"\.([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text[len(MARK) :])
    try:
        raw = parts.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text
    # Only what encode() returns is an encoded id. Any other text of this form is a raw id.
    return raw if encode(raw) == text else text


def parse(text: str, pattern: str) -> str:
    """Return the raw native id of an id from a URL or a body.

    ``pattern`` is the source's ``id_pattern``, a regular expression for the whole raw id. Raises NotFound for an id
    that the source cannot have.
    """
    raw = decode(text)
    dots_alone = not raw.strip(".")
    if dots_alone or not re.fullmatch(pattern, raw) or len(encode(raw)) > MAX_LENGTH:
        raise NotFound("This id does not have the form of the source system's appointment ids; check the id.")
    return raw


def _hexadecimal(match: re.Match[str]) -> str:
    return "".join(f".{byte:02x}" for byte in match[0].encode("utf-8"))
