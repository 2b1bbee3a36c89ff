"""Native ids as FHIR ids: one reversible encoding.

R4 allows ``[A-Za-z0-9\\-.]{1,64}`` (http://hl7.org/fhir/R4/datatypes.html#id). A legal id stays as it
is. Any other, and any that begins with the mark, becomes the mark plus ``.hh`` (hexadecimal UTF-8) for
each character outside ``[A-Za-z0-9-]``: ``p_1`` is ``x-.p.5f1``.
"""

import re

from facade.errors import NotFound

MARK = "x-."
MAX_LENGTH = 64

_LEGAL = re.compile(r"[A-Za-z0-9\-.]{1,64}")
_ENCODED = re.compile(r"(?:[A-Za-z0-9-]|\.[0-9a-f]{2})*")
_OTHER = re.compile(r"[^A-Za-z0-9-]")


def encode(raw: str) -> str:
    """The FHIR id of a raw native id; longer than 64 characters where the raw id has no FHIR id."""
    if _LEGAL.fullmatch(raw) and not raw.startswith(MARK):
        return raw
    return MARK + _OTHER.sub(_hexadecimal, raw)


def decode(text: str) -> str:
    """The raw native id that ``text``, raw or encoded, stands for."""
    if not text.startswith(MARK) or not _ENCODED.fullmatch(text, len(MARK)):
        return text
    parts = re.sub(r"\.([0-9a-f]{2})", lambda match: chr(int(match[1], 16)), text[len(MARK) :])
    try:
        raw = parts.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        return text
    # Only what encode() would have written is an encoded form; the rest is a raw id that looks like one.
    return raw if encode(raw) == text else text


def resolve(text: str, pattern: str) -> str:
    """The raw id behind an id in a URL or body. Raises NotFound for one that this source cannot have."""
    raw = decode(text)
    dots_alone = not raw.strip(".")
    if dots_alone or not re.fullmatch(pattern, raw) or len(encode(raw)) > MAX_LENGTH:
        raise NotFound("The source system cannot have an appointment with this id; check the id.")
    return raw


def _hexadecimal(match: re.Match[str]) -> str:
    return "".join(f".{byte:02x}" for byte in match[0].encode("utf-8"))
