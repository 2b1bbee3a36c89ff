"""Reads and writes JSON strictly: rejects what ``json.loads`` accepts although it is ambiguous, or fails on."""

import json
import re
import uuid
from itertools import accumulate
from typing import Any, TypeAlias

MAX_DEPTH = 64
MAX_DIGITS = 64
MAX_NATIVE_DEPTH = 400  # the parser is recursive, and the interpreter's limit is 1000 frames
MAX_NAME = 64  # characters of a member's name in a path

# Matches everything up to the next bracket, with strings as a whole. It matches at every position: the quantifiers are
# possessive, a string may be unterminated, and the end of the body counts as a bracket. So it reads every byte once.
_UP_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.?[^"\\]*+)*+"?)*+([\[\]{}]|\Z)', re.DOTALL)
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# Python's encoder cannot write a number by its digits. They pass through it as a string with a random mark, which no
# source can know.
_MARK = f"number-{uuid.uuid4()}:"
_MARKED = re.compile(rf'"{_MARK}([0-9eE.+-]+)"')

# The path of a value: its container's path, and its name or index there. None is the root.
_Path: TypeAlias = "tuple[_Path, str | int] | None"


class Number:
    """A number with its digits as written. It has slots, because a document may contain very many."""

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits


class NotStrictJson(ValueError):
    """The bytes are not valid, unambiguous JSON. The text states the cause and does not quote them."""


def loads(body: bytes) -> Any:
    """Parse UTF-8 JSON. Raises NotStrictJson for malformed, ambiguous or too deeply nested JSON.

    Rejected besides malformed JSON: other encodings, a byte order mark, duplicate members, NaN and infinities, lone
    surrogates, more than 64 levels of nesting, numbers of more than 64 digits.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        raise NotStrictJson("the body begins with a byte order mark; send plain UTF-8")
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        raise NotStrictJson("the body is not UTF-8") from None
    # Check before parsing: the parser is recursive, and 100,000 brackets would exhaust the stack.
    if _is_deeper(body, MAX_DEPTH):
        raise NotStrictJson(f"the body is nested more than {MAX_DEPTH} levels deep")
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_no_constant,
            parse_int=_integer,
            parse_float=_number,
        )
        # A lone surrogate is an escape in the body, so only the parsed text shows it.
        if "\\u" in text:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise NotStrictJson(f"the body is not JSON: line {error.lineno}, column {error.colno}") from None
    except UnicodeEncodeError:
        raise NotStrictJson("the body contains half of a surrogate pair") from None
    return value


def loads_native(body: bytes, *, exact: bool = False) -> Any:
    """Parse a source's JSON. Accepts what common encoders write, because the facade uses only a part of it.

    Skips a byte order mark, accepts long numbers, and reads NaN as null. Rejects duplicate members, which would be
    ambiguous evidence, and more than MAX_NATIVE_DEPTH levels of nesting. ``exact`` is for documents that are written
    back: it reads every number as a Number and rejects NaN and infinities, which JSON cannot represent.
    """
    body = body.removeprefix(b"\xef\xbb\xbf")
    if _is_deeper(body, MAX_NATIVE_DEPTH):
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


class TooMany(ValueError):
    """A document has too many members. ``path`` names the array, or is empty if the document has too many values.

    Names in the path are cut after MAX_NAME characters.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def check_size(value: Any, *, members: int, values: int) -> int:
    """Check the number of members of each array, and the number of values in all. Returns the latter.

    Raises TooMany at the first excess, so that the cost depends on the limits and not on the document.
    """
    left = values
    # Each value with its path as a linked list: as text, a path would repeat all names for each value.
    remaining: list[tuple[_Path, Any]] = [(None, value)]
    while remaining:
        path, found = remaining.pop()
        if not isinstance(found, (list, dict)):
            continue
        if isinstance(found, list) and len(found) > members:
            raise TooMany(_path_text(path))
        left -= len(found)
        if left < 0:
            raise TooMany("")
        steps = enumerate(found) if isinstance(found, list) else found.items()
        remaining += [((path, step), member) for step, member in steps if isinstance(member, (list, dict))]
    return values - left


def _path_text(path: _Path) -> str:
    steps: list[str] = []
    while path is not None:
        path, step = path
        steps.append(f"[{step}]" if isinstance(step, int) else f".{_cut(str(step))}")
    return "".join(reversed(steps)).removeprefix(".")


def _cut(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"


def dumps(value: Any) -> str:
    """Write JSON, and a Number by its digits. Raises ValueError for NaN, TypeError for a value without JSON form."""
    text = json.dumps(value, allow_nan=False, default=_marked)
    return _MARKED.sub(r"\1", text)


def _marked(value: Any) -> str:
    if not isinstance(value, Number):
        raise TypeError(f"{type(value).__name__} is not JSON")
    return f"{_MARK}{value.digits}"


def _any_integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else float(digits)


def _is_deeper(body: bytes, limit: int) -> bool:
    """Return whether the document is nested more than ``limit`` levels deep, in linear time."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    brackets = b"".join(_UP_TO_BRACKET.findall(body))
    return max(accumulate(map(_STEP.__getitem__, brackets), initial=0)) > limit


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise NotStrictJson("an object has the same member twice")
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
