"""R4's rules for narratives and periods, implemented independently of the facade's own checks."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.parsers import expat

from facade.verify.hl7 import NARRATIVE_ELEMENTS

_NAMESPACE = "http://www.w3.org/1999/xhtml"
_RUNS = re.compile(r"javascript:|vbscript:|data:(?!image/)", re.IGNORECASE)


class _Reader:
    """Parses one narrative and records whether it contains what R4 does not allow."""

    def __init__(self) -> None:
        self.depth, self.wrong, self.has_content = 0, False, False
        self.parser = expat.ParserCreate(namespace_separator=" ")
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end
        self.parser.CharacterDataHandler = self._characters
        self.parser.CommentHandler = self._comment
        self.parser.StartCdataSectionHandler = self._not_allowed
        self.parser.StartDoctypeDeclHandler = self.parser.ProcessingInstructionHandler = self._not_allowed

    def _start(self, element: str, attributes: Mapping[str, str]) -> None:
        namespace, _, name = element.rpartition(" ")
        self.wrong |= namespace != _NAMESPACE or name not in NARRATIVE_ELEMENTS or (not self.depth and name != "div")
        self.wrong |= any(
            key.lower().startswith("on") or _RUNS.match("".join(value.split())) for key, value in attributes.items()
        )
        self.has_content |= name == "img"
        self.depth += 1

    def _end(self, _: str) -> None:
        self.depth -= 1

    def _characters(self, text: str) -> None:
        self.has_content |= bool(text.strip())

    def _comment(self, text: str) -> None:
        self.wrong |= text.startswith((">", "->"))  # in HTML the comment ends there, and the rest is parsed

    def _not_allowed(self, *_: Any) -> None:
        self.wrong = True
        raise ValueError


def is_allowed(div: Any) -> bool:
    """Check txt-1 and txt-2: one XHTML div with formatting and some content, and nothing active."""
    reader = _Reader()
    try:
        reader.parser.Parse(div if isinstance(div, str) else "", True)
    except (expat.ExpatError, ValueError):
        return False
    return reader.has_content and not reader.wrong


def ends_before_it_starts(period: Mapping[str, Any]) -> bool:
    """Check per-1, with the precision that both moments have."""
    start, end = _in_utc(period.get("start")), _in_utc(period.get("end"))
    common = min(len(start), len(end))
    return start[:common] > end[:common]


def _in_utc(moment: Any) -> str:
    """Return a date as it is written, an instant in UTC, and the empty string for what is not a dateTime."""
    if not isinstance(moment, str) or "T" not in moment:
        return moment if isinstance(moment, str) else ""
    try:
        return datetime.fromisoformat(moment).astimezone(UTC).isoformat(timespec="microseconds")
    except (ValueError, OverflowError):
        return ""
