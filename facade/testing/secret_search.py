"""Search a text for a secret, as it is and in the encodings of headers, URLs and logs."""

import base64
import html
import json
import math
import re
from functools import cache
from urllib.parse import quote, quote_plus, unquote, unquote_plus

_LINE_BREAK = re.compile(r"[\r\n]|\\[rn]")  # as it is, or as JSON escapes it
SHORTEST = 6
"""Characters. A shorter piece of base64 or hexadecimal occurs in too many other texts."""


@cache
def encodings(secret: str) -> frozenset[str]:
    """Return the forms of a secret that a search must find; none is empty.

    They are: the secret as it is; percent- and form-encoded; escaped as in JSON, Python and XML; in hexadecimal, in
    both cases; in base64 and base64url, alone or inside a longer text such as ``user:secret``.
    """
    data = secret.encode("utf-8", "surrogatepass")
    plain = {secret, quote(secret, safe=""), quote(secret), quote_plus(secret), html.escape(secret)}
    plain |= {json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1], repr(secret)[1:-1]}
    plain |= {form.lower() for form in (quote(secret, safe=""), quote_plus(secret)) if "%" in form}
    plain |= {"".join(f"%{byte:02X}" for byte in data), "".join(f"%{byte:02x}" for byte in data)}
    packed = {data.hex(), data.hex().upper(), data.hex(":"), data.hex(" ")}
    packed |= {piece for offset in range(3) for piece in _in_base64(data, offset)}
    return frozenset({form for form in plain if form} | {form for form in packed if len(form) >= SHORTEST})


def leaks(text: str, secret: str) -> bool:
    """Return whether a text contains the secret in any form of ``encodings``.

    A form is also found behind any other percent-encoding, and broken into lines as base64 is in MIME.
    """
    forms = encodings(secret)
    in_one_line = _LINE_BREAK.sub("", text)
    return any(form in one for one in {text, unquote(text), unquote_plus(text), in_one_line} for form in forms)


def without(text: str, secret: str) -> str:
    """Return the text without any form of the secret."""
    for form in sorted(encodings(secret), key=len, reverse=True):
        text = text.replace(form, "")
    return text


def _in_base64(data: bytes, offset: int) -> set[str]:
    """Encode the bytes in base64 after ``offset`` others; return the characters that depend on these bytes only."""
    begin, end = math.ceil(offset * 8 / 6), (offset + len(data)) * 8 // 6
    padded = bytes(offset) + data
    return {encode(padded).decode("ascii")[begin:end] for encode in (base64.b64encode, base64.urlsafe_b64encode)}
