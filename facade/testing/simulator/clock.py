"""The simulators' clock, which a test or the control API moves."""

from datetime import datetime, timedelta

from facade.plugin.contract import utc_now


class Clock:
    """The real time, moved by an offset."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """Return the clock's current instant, with its zone."""
        return utc_now() + self._offset

    def move_to(self, instant: datetime) -> None:
        """Set the clock, which runs on from this instant. Raises ValueError outside the years 1970 to 2999."""
        self._move(instant - utc_now())

    def advance(self, seconds: float) -> None:
        """Move the clock forward, or back. Raises ValueError or OverflowError outside the years 1970 to 2999."""
        self._move(self._offset + timedelta(seconds=seconds))

    def back_to_real_time(self) -> None:
        """Return to the real time."""
        self._offset = timedelta()

    def _move(self, offset: timedelta) -> None:
        year = (utc_now() + offset).year
        if not 1970 <= year <= 2999:  # the seeded appointments' times are before and after the clock's
            raise ValueError(f"year {year}")
        self._offset = offset
