"""Structured logs: one JSON line per event on standard error, with facts about a request and never its content."""

import json
import re
import sys
import traceback
from collections.abc import Mapping
from itertools import islice
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

MAX_CHARACTERS = 1_000
"""The length of one logged text, and of all texts inside one logged value together. The rest is cut, with a mark."""
MAX_MEMBERS = 50
"""The members of one logged list or object. The log states only the number of the others."""
_MAX_DEPTH = 4
_MEMBER_COST = 10  # characters that a member counts besides its text
_HUGE = 10**40  # more than any count, time or size; a larger integer could be a text of any length

# Characters that move a terminal's cursor, end a line, or reorder or hide the text beside them: C0 and C1 controls,
# line and paragraph separators, bidirectional marks, embeddings, overrides and isolates (UAX #9), and tags. Also
# surrogates, which have no encoding.
_UNPRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


def configure() -> None:
    """Set up structlog for this process. Commands call it; an import never does."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            bounded,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.WriteLoggerFactory(file=sys.stderr),
        cache_logger_on_first_use=True,
    )


def where(error: BaseException) -> list[str]:
    """Return the stack of an error, innermost last, without its text, which may contain patient data."""
    return [f"{frame.name} {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-5:]]


def visible(text: str) -> str:
    """Return one line of text, with U+FFFD in place of each control or bidirectional character."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    """Return JSON text with escapes for control and bidirectional characters, except line breaks."""
    return _UNPRINTABLE.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def bounded(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """Limit the length of every value and replace its unprintable characters; a structlog processor."""
    line = {
        visible(str(name)[:MAX_CHARACTERS]): _Value().limited(value)
        for name, value in islice(event.items(), MAX_MEMBERS)
    }
    return {**line, "left_out": len(event) - MAX_MEMBERS} if len(event) > MAX_MEMBERS else line


class _Value:
    """One logged value. The values inside it share its limit."""

    def __init__(self) -> None:
        self._left = MAX_CHARACTERS

    def limited(self, value: Any, depth: int = 0) -> Any:
        self._left -= _MEMBER_COST
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return int(value) if -_HUGE < value < _HUGE else f"a number of {value.bit_length()} bits"
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping) and depth < _MAX_DEPTH:
            members = {}
            for name, member in islice(value.items(), MAX_MEMBERS):
                if self._left <= 0:
                    break
                members[self._text(str(name))] = self.limited(member, depth + 1)
            omitted = len(value) - len(members)
            return {**members, "…": f"{omitted} more"} if omitted else members
        if isinstance(value, (list, tuple, set, frozenset)) and depth < _MAX_DEPTH:
            found = []
            for member in islice(value, MAX_MEMBERS):
                if self._left <= 0:
                    break
                found.append(self.limited(member, depth + 1))
            omitted = len(value) - len(found)
            return [*found, f"… {omitted} more"] if omitted else found
        # The text of any other object may be long and contain anything.
        return self._text(f"({type(value).__name__})")

    def _text(self, text: str) -> str:
        cut = text[: max(0, self._left + _MEMBER_COST)]
        self._left -= len(cut)
        return visible(cut) if len(cut) == len(text) else f"{visible(cut)}… ({len(text)} characters)"
