"""Where one request ends in the bytes that a connection has brought so far.

gunicorn's parser reads the same bytes afterwards and has the last word on whether they are a request.
"""

import re
from collections.abc import Iterable

_HEAD_ENDS = b"\r\n\r\n"
_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_MAX_LINE = 4096  # bytes of a chunk's size line or of a trailer


def head_end(buffer: bytearray, searched: int) -> int:
    """Return the offset behind the head, or -1; everything before ``searched`` was looked at already."""
    found = buffer.find(_HEAD_ENDS, max(0, searched - len(_HEAD_ENDS) + 1))
    return found if found < 0 else found + len(_HEAD_ENDS)


class Sized:
    """A body of a stated length, 0 where there is none."""

    def __init__(self, begins: int, length: int) -> None:
        self._ends = begins + length

    def end(self, buffer: bytearray) -> int | None:
        """Return the offset behind the body, None while it is incomplete."""
        return self._ends if len(buffer) >= self._ends else None


class Chunked:
    """A chunked body. Takes time in proportion to its length, in however many pieces it comes."""

    def __init__(self, begins: int) -> None:
        self._line = self._searched = begins
        self._in_trailer = False

    def end(self, buffer: bytearray) -> int | None:
        """Return the offset behind the body, None while it is incomplete.

        A body that is not chunked as HTTP has it ends with what is there: gunicorn's parser refuses it.
        """
        while (found := buffer.find(b"\r\n", self._searched)) >= 0:
            line, after = bytes(buffer[self._line : found]), found + 2
            if not self._in_trailer:
                size = line.partition(b";")[0].strip(b" \t")
                if not _SIZE.fullmatch(size):
                    return len(buffer)
                self._in_trailer = int(size, 16) == 0
                self._line = after if self._in_trailer else after + int(size, 16) + 2
            elif not line:
                return after
            else:
                self._line = after
            self._searched = self._line
        if len(buffer) - self._line > _MAX_LINE:
            return len(buffer)
        self._searched = max(self._line, len(buffer) - 1)
        return None


def body_of(headers: Iterable[tuple[str, str]], begins: int) -> Sized | Chunked:
    """Return the frame of the body behind a head that gunicorn's parser has accepted; names are upper-case."""
    found = dict(headers)
    if "TRANSFER-ENCODING" in found:
        return Chunked(begins)
    return Sized(begins, int(found.get("CONTENT-LENGTH", "0")))
