"""Search a source's log for a reason or a note: as a text, as a number, or within a longer text."""

import html
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import unquote, unquote_plus


def was_sent(words: str, path: str | None, body: Any) -> bool:
    """Return whether a request's body, its query or a whole segment of its path contains a code or some words."""
    place, _, query = (path or "").partition("?")
    return mentions(words, body) or mentions(words, query) or words in map(unquote, place.split("/"))


def mentions(words: str, value: Any) -> bool:
    """Return whether this JSON value contains a code or some words as a whole, however its texts are escaped.

    A number counts as its digits. A code within a longer word or number does not count.
    """
    whole = re.compile(rf"(?<![\w-])(?<!\d\.){re.escape(words)}(?![\w-])(?!\.\d)")
    return any(whole.search(form) for text in _texts(value) for form in _forms(text))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from (name for name in value if isinstance(name, str))
        value = list(value.values())
    if isinstance(value, list | tuple):
        for member in value:
            yield from _texts(member)
    elif isinstance(value, float) and value.is_integer():
        yield str(int(value))
    elif isinstance(value, str | int | float) and not isinstance(value, bool):
        yield str(value)


def _forms(text: str) -> set[str]:
    """Return the text, and the text after percent-decoding, form-decoding and XML unescaping."""
    return {text, unquote(text), unquote_plus(text), html.unescape(text)}
