"""How long things may last between the requests: leases, silences, the schedule that looks into doubt."""

import random
from dataclasses import dataclass

MINUTE, HOUR = 60.0, 3600.0


@dataclass(frozen=True, kw_only=True)
class Timers:
    """Seconds. ``settle_window`` is each source's own setting and not among them.

    ``lease``: a claim whose owner says nothing may be taken over. ``sending``: a write whose owner says
    nothing is in doubt. ``send_guard``: an owner that was frozen for longer between recording the write
    and making it does not make it. ``reads``: when doubt is looked into, the last one for ever after.
    ``operator_after``: doubt that old is a person's. ``charge_margin``: so is doubt that near to the ETA,
    while it can still be cancelled without charge. ``hold``: how long a due row stays with who took it.
    ``hint``: how long hints for one appointment are gathered into one read. ``poll``: how often a
    duplicate looks whether the first has ended. ``tick``: how often the reconciler looks for work. ``steady``: how
    long a wall clock must have gone on unset before it sends doubt to a person. ``sweep``: how often the reconciler
    goes through every scheduled read, whatever the time that another host wrote. ``daily``: how often doubt is looked
    into once the appointment has begun.
    """

    lease: float = 10.0
    sending: float = 8.0
    send_guard: float = 1.0
    reads: tuple[float, ...] = (1.0, 2.0, 5.0, 15.0, MINUTE, 5 * MINUTE, 15 * MINUTE, HOUR)
    operator_after: float = 24 * HOUR
    charge_margin: float = 26 * HOUR
    hold: float = 30.0
    hint: float = 1.0
    poll: float = 0.05
    tick: float = 0.5
    steady: float = 60.0
    sweep: float = 60.0
    daily: float = 24 * HOUR

    @classmethod
    def for_answers_within(cls, seconds: float) -> "Timers":
        """The default ones, with room for a write that may take longer."""
        return cls(lease=seconds + 2.0, sending=seconds)

    def read_after(self, step: int, retry_after: float | None = None) -> float:
        """How long after the read before the read of this step (from 0) comes, with jitter of a tenth.

        ``retry_after`` is how long the source asked to be left alone: the read comes no earlier, but for the length of
        the longest step at most.
        """
        least = min(retry_after or 0.0, self.reads[-1])
        return max(self.reads[min(step, len(self.reads) - 1)] * _jitter(0.9), least * _jitter(1.0))


def _jitter(least: float) -> float:
    """Up to a tenth more, and no less than ``least``."""
    return random.uniform(least, 1.1)  # noqa: S311 - spreads load, guards nothing
