"""Capture what a process logs and prints while a block runs: structlog, logging, standard output and standard error."""

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog


@dataclass
class CapturedLog:
    """The captured lines; complete when the block has ended."""

    lines: list[str] = field(default_factory=list)


class _LineHandler(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.NOTSET)
        self._lines = lines
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Append the formatted record, with an exception's text and traceback."""
        self._lines.append(self.format(record))


@contextlib.contextmanager
def log_capture() -> Iterator[CapturedLog]:
    """Capture everything, at every level, in place of printing it."""
    captured = CapturedLog()
    root, handler, out = logging.getLogger(), _LineHandler(captured.lines), io.StringIO()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.NOTSET + 1)
    try:
        with (
            structlog.testing.capture_logs() as events,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            yield captured
    finally:
        root.removeHandler(handler)
        root.setLevel(level)
        captured.lines += [str(event) for event in events]
        captured.lines += out.getvalue().splitlines()
