"""JSON that means one thing only: what ``json.loads`` would let through or choke on is refused."""

import json
import re
import uuid
from itertools import accumulate
from typing import Any, TypeAlias

MAX_DEPTH = 64
MAX_DIGITS = 64
MAX_NATIVE_DEPTH = 400  # the parser recurses; the interpreter's limit is 1000 frames
MAX_NAME = 64  # characters of a member's name in a text about it

# Everything up to the next bracket, strings whole. It matches wherever it is tried: the quantifiers are possessive, a
# string need not end, and the end of the body does for a bracket. So every byte is looked at once, whatever it is.
_UP_TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"[^"\\]*+(?:\\.?[^"\\]*+)*+"?)*+([\[\]{}]|\Z)', re.DOTALL)
_STEP = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
# Python's encoder has no way to write a number by its digits, so they travel through it in a string that nothing
# else is: no source can know the mark.
_MARK = f"number-{uuid.uuid4()}:"
_MARKED = re.compile(rf'"{_MARK}([0-9eE.+-]+)"')

_Way: TypeAlias = "tuple[_Way, str | int] | None"  # from a value to the document's root: what holds it, and where


class Number:
    """A number as it was written, to be written so again. Plain, since a document may hold very many."""

    __slots__ = ("digits",)

    def __init__(self, digits: str) -> None:
        self.digits = digits


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
        # Half of a surrogate pair arrives as an escape, so only the parsed text shows it.
        if "\\u" in text:
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
    """A document has too many members. ``path`` names the array, or is empty where all values together are too many.

    Long names are cut in it.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


def bound(value: Any, *, members: int, values: int) -> int:
    """Check how many members each array has, and how many values there are in all; how many that is.

    The check ends at the first excess, so that it costs no more than the limits allow. Raises TooMany.
    """
    left = values
    # Each value with the way to it, as links: a path as text would be as long as the names, once for each value.
    waiting: list[tuple[_Way, Any]] = [(None, value)]
    while waiting:
        way, found = waiting.pop()
        if not isinstance(found, (list, dict)):
            continue
        if isinstance(found, list) and len(found) > members:
            raise TooMany(_path(way))
        left -= len(found)
        if left < 0:
            raise TooMany("")
        steps = enumerate(found) if isinstance(found, list) else found.items()
        waiting += [((way, step), member) for step, member in steps if isinstance(member, (list, dict))]
    return values - left


def _path(way: _Way) -> str:
    steps: list[str] = []
    while way is not None:
        way, step = way
        steps.append(f"[{step}]" if isinstance(step, int) else f".{_cut(str(step))}")
    return "".join(reversed(steps)).removeprefix(".")


def _cut(name: str) -> str:
    return name if len(name) <= MAX_NAME else f"{name[:MAX_NAME]}…"


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


def _is_deeper(body: bytes, limit: int) -> bool:
    """Whether the document is nested more than ``limit`` levels deep; linear in its length."""
    if body.count(b"[") + body.count(b"{") <= limit:
        return False
    brackets = b"".join(_UP_TO_BRACKET.findall(body))
    return max(accumulate(map(_STEP.__getitem__, brackets), initial=0)) > limit


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
