"""What time it is: one clock, handed in, so that a test can make it jump."""

import time


class Clock:
    """The machine's clocks. ``now`` may jump, forwards and back; ``monotonic`` never does."""

    def now(self) -> float:
        """Seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds since some fixed moment of this machine's."""
        return time.monotonic()
