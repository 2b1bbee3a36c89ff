"""The clock. It is a parameter everywhere, so that a test can set the time."""

import time


class Clock:
    """The clocks of the machine. ``now`` may jump forwards and backwards; ``monotonic`` never goes backwards."""

    def now(self) -> float:
        """Return the seconds since 1970, UTC."""
        return time.time()

    def monotonic(self) -> float:
        """Return the seconds since a fixed, unspecified moment of this machine."""
        return time.monotonic()
