"""Structured logs: one JSON line an event, on standard error; facts of the exchange, never content."""

import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

import structlog
from structlog.typing import EventDict, WrappedLogger

LONGEST = 1_000
"""Characters of one logged text, and of all the texts inside one logged value together; more is cut off, marked."""
MOST = 50
"""Members of one logged list or object; more are counted, not shown."""
_DEEPEST = 4
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


def bounded(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """A structlog processor: every value as what a log can hold, whatever its length and its characters."""
    shown, left = _first(event, MOST)
    line = {visible(str(name)[:LONGEST]): _Value().shown(value) for name, value in shown}
    return {**line, "left_out": left} if left else line


class _Value:
    """One logged value; what stands inside it shares its room."""

    def __init__(self) -> None:
        self._room = LONGEST

    def shown(self, value: Any, depth: int = 0) -> Any:
        if value is None or isinstance(value, (bool, float)):
            return value
        if isinstance(value, int):
            return int(value) if -_HUGE < value < _HUGE else f"a number of {value.bit_length()} bits"
        if isinstance(value, str):
            return self._text(value)
        if isinstance(value, Mapping) and depth < _DEEPEST:
            members, left = _first(value, MOST)
            inner = {self._text(str(name)): self.shown(member, depth + 1) for name, member in members}
            return {**inner, "…": f"{left} more"} if left else inner
        if isinstance(value, (list, tuple, set, frozenset)) and depth < _DEEPEST:
            found = list(value)
            more = [f"… {len(found) - MOST} more"] if len(found) > MOST else []
            return [self.shown(member, depth + 1) for member in found[:MOST]] + more
        # Whatever it is, its text may be long and hold anything.
        return self._text(f"({type(value).__name__})")

    def _text(self, text: str) -> str:
        cut = text[: self._room]
        self._room -= len(cut)
        return visible(cut) if len(cut) == len(text) else f"{visible(cut)}… ({len(text)} characters)"


def _first(members: Mapping[Any, Any], most: int) -> tuple[Iterable[tuple[Any, Any]], int]:
    found = list(members.items())
    return found[:most], max(0, len(found) - most)
