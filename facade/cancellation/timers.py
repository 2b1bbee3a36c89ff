"""How long leases and silences last, and when probes of rows in doubt are due."""

import random
from dataclasses import dataclass

MINUTE, HOUR = 60.0, 3600.0
LEASE_MARGIN = 2.0  # seconds of a claim's lease beyond the time in which a request must be answered


@dataclass(frozen=True, kw_only=True)
class Timers:
    """All in seconds. ``settle_window`` is a setting of each source and not among them.

    - ``lease``: after this silence, another request may take a claim over.
    - ``sending``: after this silence, a native write is in doubt.
    - ``send_guard``: an owner that was frozen for longer between recording the write and making it does not make it.
    - ``reads``: the delays between probes of a row in doubt; the last one repeats.
    - ``operator_after``: older doubt is escalated to an operator.
    - ``charge_margin``: so is doubt this near to the ETA, while a cancel is still free of charge.
    - ``hold``: how long a due row stays with the process that took it.
    - ``hint``: how long hints for one appointment are collected into one probe.
    - ``poll``: how often a repeated request checks whether the first has ended.
    - ``tick``: how often the reconciler checks for work.
    - ``steady``: how long the wall clock must run without being set before it may escalate doubt.
    - ``sweep``: how often the reconciler goes through every scheduled probe, whatever time another host wrote.
    - ``daily``: the delay between probes once the appointment has begun.
    """

    lease: float
    sending: float
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
    def for_response_within(cls, seconds: float) -> "Timers":
        """Return the default timers, with room for a write that may take this long."""
        return cls(lease=seconds + LEASE_MARGIN, sending=seconds)

    def read_after(self, step: int, retry_after: float | None = None) -> float:
        """Return the delay before the probe of this step, counted from 0, with a jitter of one tenth.

        ``retry_after`` is how many seconds the source asked the facade to wait. The probe comes no earlier, up to the
        longest step of the schedule.
        """
        least = min(retry_after or 0.0, self.reads[-1])
        return max(self.reads[min(step, len(self.reads) - 1)] * _jitter(0.9), least * _jitter(1.0))


def _jitter(least: float) -> float:
    """Return a factor of up to 1.1, and no less than ``least``."""
    return random.uniform(least, 1.1)  # noqa: S311 - spreads load, guards nothing
