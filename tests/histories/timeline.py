"""The time that the facade processes of one history live in: it passes only when the history says so."""

import mmap
import struct
import time
from bisect import bisect_right
from pathlib import Path

_LAYOUT = struct.Struct("ddd")  # the wall clock, the monotonic clock, the write permits that were granted


class HostClock:
    """The clocks of one facade process, in a file that the history and the process share.

    The file also counts the write permits that the process was granted, so that the history knows of a write
    that is about to leave.
    """

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_LAYOUT.size))
        with path.open("r+b") as file:
            self._memory = mmap.mmap(file.fileno(), _LAYOUT.size)

    def show(self, now: float, monotonic: float) -> None:
        """Set both clocks, in seconds."""
        self._write(0, now)
        self._write(1, monotonic)

    def now(self) -> float:
        return self._read(0)

    def monotonic(self) -> float:
        return self._read(1)

    @property
    def permits(self) -> int:
        """How many write permits the process, and those before it in its place, were granted."""
        return int(self._read(2))

    def count_permit(self) -> None:
        self._write(2, self._read(2) + 1)

    def close(self) -> None:
        self._memory.close()

    def _read(self, index: int) -> float:
        (value,) = struct.unpack_from("d", self._memory, 8 * index)
        return float(value)

    def _write(self, index: int, value: float) -> None:
        struct.pack_into("d", self._memory, 8 * index, value)


class Timeline:
    """Seconds since the history began, advanced step by step, and when in real time each step was made."""

    def __init__(self, clocks: list[HostClock]) -> None:
        self._clocks = clocks
        self._base = time.time()
        self._jumped = [0.0] * len(clocks)
        self._real: list[float] = [0.0]
        self._reached: list[float] = [0.0]
        self.advance(0.0)

    @property
    def now(self) -> float:
        """Seconds since the history began."""
        return self._reached[-1]

    def advance(self, seconds: float) -> None:
        """Let time pass on every host."""
        self._reached.append(self.now + seconds)
        self._real.append(time.time())
        self._show()

    def jump(self, seconds: float, host: int | None = None) -> None:
        """Set every wall clock forwards or back, or the one of one host; no time passes."""
        for number in range(len(self._jumped)) if host is None else [host]:
            self._jumped[number] += seconds
        self._show()

    def wall(self) -> float:
        """What a clock shows that no one has set."""
        return self._base + self.now

    def at(self, real: float) -> float:
        """How far the history was at a moment of the machine's own clock."""
        return self._reached[bisect_right(self._real, real) - 1]

    def _show(self) -> None:
        for clock, jumped in zip(self._clocks, self._jumped, strict=True):
            clock.show(self.wall() + jumped, 1000.0 + self.now)
