"""JSON that means one thing only: what ``json.loads`` would let through or choke on is refused."""

import json
import re
import uuid
from dataclasses import dataclass
from typing import Any

MAX_DEPTH = 64
MAX_DIGITS = 64
MAX_NATIVE_DEPTH = 400  # the parser recurses; the interpreter's limit is 1000 frames

_STRINGS = re.compile(rb'"(?:[^"\\]|\\.)*+"', re.DOTALL)
_BRACKETS = re.compile(rb"[\[\]{}]")
# Python's encoder has no way to write a number by its digits, so they travel through it in a string that nothing
# else is: no source can know the mark.
_MARK = f"number-{uuid.uuid4()}:"
_MARKED = re.compile(rf'"{_MARK}([0-9eE.+-]+)"')


@dataclass(frozen=True)
class Number:
    """A number as it was written, to be written so again."""

    digits: str


class NotStrictJson(ValueError):
    """The bytes are not JSON that means one thing only; the text says why, without quoting them."""


def loads(body: bytes) -> Any:
    """Parse UTF-8 JSON. Raises NotStrictJson for anything ambiguous, malformed or too deep.

    Refused besides malformed JSON: other encodings, a byte order mark, duplicate members, NaN and
    infinities, lone surrogates, more than 64 levels of nesting, numbers of more than 64 digits.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise NotStrictJson("the body begins with a byte order mark; send plain UTF-8")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictJson("the body is not UTF-8") from None
    # Before the parser sees it: its recursion is the interpreter's, and 100,000 brackets end it.
    if _depth(body) > MAX_DEPTH:
        raise NotStrictJson(f"the body is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_number,
        )
        # Surrogates arrive as escapes, so only the parsed text shows them.
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"the body is not JSON: line {error.lineno}, column {error.colno}") from None
    except UnicodeEncodeError:
        raise NotStrictJson("the body holds half of a surrogate pair") from None
    return value


def loads_native(body: bytes, *, exact: bool = False) -> Any:
    """Parse a source's JSON, tolerantly: in what is not used of it, anything that JSON parsers write is borne.

    A byte order mark is skipped, numbers may be long, NaN is null. What would be ambiguous evidence (duplicate
    members) or end the interpreter (nesting) is refused as above. ``exact`` is for what is written back: it reads
    every number as a Number and refuses NaN and infinities, which cannot be.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if _depth(body) > MAX_NATIVE_DEPTH:
        raise NotStrictJson(f"the body is nested more than {MAX_NATIVE_DEPTH} levels deep")
    try:
        return json.loads(
            body.decode("utf-8"),
            object_pairs_hook=_unique,
            parse_constant=_no_constant if exact else lambda _: None,
            parse_int=Number if exact else _any_integer,
            parse_float=Number if exact else float,
        )
    except ValueError as error:
        raise error if isinstance(error, NotStrictJson) else NotStrictJson("the body is not JSON in UTF-8") from None


def dumps(value: Any) -> str:
    """Write JSON, a Number by its digits. Raises ValueError for NaN, TypeError for what is no JSON."""
    text = json.dumps(value, allow_nan=False, default=_marked)
    return _MARKED.sub(r"\1", text)


def _marked(value: Any) -> str:
    if not isinstance(value, Number):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return f"{_MARK}{value.digits}"


def _any_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _depth(body: bytes) -> int:
    deepest = depth = 0
    for bracket in _BRACKETS.findall(_STRINGS.sub(b"", body)):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("an object holds the same member twice")
    return members


def _no_constant(_: str) -> None:
    raise NotStrictJson("NaN and infinities are not JSON")


def _integer(digits: str) -> int:
    if len(digits.lstrip("-")) > MAX_DIGITS:
        raise NotStrictJson(f"a number has more than {MAX_DIGITS} digits")
    return int(digits)


def _number(digits: str) -> float:
    if len(digits) > MAX_DIGITS:
        raise NotStrictJson(f"a number has more than {MAX_DIGITS} digits")
    number = float(digits)
    if number in (float("inf"), float("-inf")):
        raise NotStrictJson("a number is too large")
    return number
