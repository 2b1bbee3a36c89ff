"""Structured logs: one JSON line an event, on standard error; facts of the exchange, never content."""

import json
import re
import sys
import traceback
from collections.abc import Mapping
from itertools import islice
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

LONGEST = 1_000
"""Characters of one logged text, and of all the texts inside one logged value together; more is cut off, marked."""
MOST = 50
"""Members of one logged list or object; more are counted, not shown."""
_DEEPEST = 4
_MEMBER = 10  # what a member takes of the room besides its text
_HUGE = 10**40  # beyond every count, time and size; as text it could be of any length

# What moves a terminal's cursor, ends a line, or reorders or hides the text beside it: C0 and C1 controls, line and
# paragraph separators, bidirectional marks, embeddings, overrides and isolates (UAX #9), tags; and half characters,
# which no terminal can be sent.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ud800-\udfff\U000e0000-\U000e007f]"
)


def configure() -> None:
    """Set up structlog for a process of ours; called by commands, never at import."""
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
    """Where an error arose, innermost last. Its text is left out: it may hold what a patient said."""
    return [f"{frame.name} {frame.filename}:{frame.lineno}" for frame in traceback.extract_tb(error.__traceback__)[-5:]]


def visible(text: str) -> str:
    """One line of text, with a replacement character for each that would not be seen, or not where it stands."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def escaped(text: str) -> str:
    """JSON text with an escape for each character that would not be seen; its line breaks stay."""
    return _UNSEEN.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text)


def bounded(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor: every value as what a log can hold, whatever its length and its characters."""
    line = {visible(str(name)[:LONGEST]): _Value().shown(value) for name, value in islice(event.items(), MOST)}
    return {**line, "left_out": len(event) - MOST} if len(event) > MOST else line


class _Value:
    """One logged value; what stands inside it shares its room."""

    def __init__(self) -> None:
        self._room = LONGEST

    def shown(self, value: Any, depth: int = 0) -> Any:
        self._room -= _MEMBER
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return int(value) if -_HUGE < value < _HUGE else f"a number of {value.bit_length()} bits"
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            members = {}
            for name, member in islice(value.items(), MOST):
                if self._room <= 0:
                    break
                members[self._text(str(name))] = self.shown(member, depth + 1)
            left = len(value) - len(members)
            return {**members, "…": f"{left} more"} if left else members
        if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEEPEST:
            found = []
            for member in islice(value, MOST):
                if self._room <= 0:
                    break
                found.append(self.shown(member, depth + 1))
            left = len(value) - len(found)
            return [*found, f"… {left} more"] if left else found
        # Whatever it is, its text may be long and hold anything.
        return self._text(f"({type(value).__name__})")

    def _text(self, text: str) -> str:
        cut = text[: max(0, self._room + _MEMBER)]
        self._room -= len(cut)
        return visible(cut) if len(cut) == len(text) else f"{visible(cut)}… ({len(text)} characters)"
