"""Finds the end of a request in the bytes that a connection has received so far.

gunicorn's parser reads the same bytes afterwards and decides whether they are a valid request.
"""

import re
from collections.abc import Iterable

_HEAD_END = b"\r\n\r\n"
_CHUNK_SIZE = re.compile(rb"[0-9A-Fa-f]{1,8}")
_MAX_LINE = 4096  # bytes of a chunk-size line or of a trailer line


def head_end(buffer: bytearray, searched: int) -> int:
    """Return the offset after the head, or -1. The first ``searched`` bytes were searched before."""
    found = buffer.find(_HEAD_END, max(0, searched - len(_HEAD_END) + 1))
    return found if found < 0 else found + len(_HEAD_END)


class FixedLengthBody:
    """A body of a stated length; 0 for a request without a body."""

    def __init__(self, start: int, length: int) -> None:
        self._end = start + length

    def end(self, buffer: bytearray) -> int | None:
        """Return the offset after the body, None while it is incomplete."""
        return self._end if len(buffer) >= self._end else None


class ChunkedBody:
    """A chunked body. The total time is linear in its length, in however many pieces it arrives."""

    def __init__(self, start: int) -> None:
        self._line = self._searched = start
        self._in_trailer = False

    def end(self, buffer: bytearray) -> int | None:
        """Return the offset after the body, None while it is incomplete.

        For an invalid chunk this is the end of the buffer: gunicorn's parser then rejects the request.
        """
        while (found := buffer.find(b"\r\n", self._searched)) >= 0:
            line, after = bytes(buffer[self._line : found]), found + 2
            if not self._in_trailer:
                size = line.partition(b";")[0].strip(b" \t")
                if not _CHUNK_SIZE.fullmatch(size):
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


def body_of(headers: Iterable[tuple[str, str]], start: int) -> FixedLengthBody | ChunkedBody:
    """Return the body that follows a head, from headers that gunicorn's parser has accepted; names are upper-case."""
    found = dict(headers)
    if "TRANSFER-ENCODING" in found:
        return ChunkedBody(start)
    return FixedLengthBody(start, int(found.get("CONTENT-LENGTH", "0")))
