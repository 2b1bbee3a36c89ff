"""The time that simulators live in, which a test or the control API moves."""

from datetime import datetime, timedelta

from facade.plugin.contract import utc_now


class Clock:
    """The real time, moved by an offset."""

    def __init__(self) -> None:
        self._offset = timedelta()

    def now(self) -> datetime:
        """The current instant there, with its zone."""
        return utc_now() + self._offset

    def move_to(self, instant: datetime) -> None:
        """Set the clock; it runs on from there. Raises ValueError outside the years 1970 to 2999."""
        self._move(instant - utc_now())

    def advance(self, seconds: float) -> None:
        """Move the clock on, or back. Raises ValueError or OverflowError outside the years 1970 to 2999."""
        self._move(self._offset + timedelta(seconds=seconds))

    def back_to_real_time(self) -> None:
        """Forget every move."""
        self._offset = timedelta()

    def _move(self, offset: timedelta) -> None:
        year = (utc_now() + offset).year
        if not 1970 <= year <= 2999:  # room for every seed's times before and after
            raise ValueError(f"year {year}")
        self._offset = offset
