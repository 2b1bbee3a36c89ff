"""What a process says while a block runs: structlog, logging, standard output and standard error, as text."""

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field

import structlog


@dataclass
class Heard:
    """Everything said, in lines; complete once the block has ended."""

    lines: list[str] = field(default_factory=list)


class _Listener(logging.Handler):
    def __init__(self, lines: list[str]) -> None:
        super().__init__(logging.NOTSET)
        self._lines = lines
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))

    def emit(self, record: logging.LogRecord) -> None:
        """Formatted, with an exception's text and traceback."""
        self._lines.append(self.format(record))


@contextlib.contextmanager
def hearing() -> Iterator[Heard]:
    """Listen to everything, at every level; nothing of it is passed on."""
    heard = Heard()
    root, listener, out = logging.getLogger(), _Listener(heard.lines), io.StringIO()
    level = root.level
    root.addHandler(listener)
    root.setLevel(logging.NOTSET + 1)
    try:
        with (
            structlog.testing.capture_logs() as events,
            contextlib.redirect_stdout(out),
            contextlib.redirect_stderr(out),
        ):
            yield heard
    finally:
        root.removeHandler(listener)
        root.setLevel(level)
        heard.lines += [str(event) for event in events]
        heard.lines += out.getvalue().splitlines()
