"""When doubt is escalated to an operator: the one place that decides it."""

from facade.cancellation.states import Event, State
from facade.cancellation.timers import Timers
from facade.ledger.tables import Row


def doubt_event(*, readable: bool) -> Event:
    """Return the event of a write that came into doubt: only an operator can resolve it if the source is unreadable."""
    return Event.DOUBT if readable else Event.ESCALATE


def unreadable_event(row: Row) -> Event:
    """Return the event of a row whose source cannot be read, found when a probe would have been due."""
    return Event.ESCALATE if row.state == State.IN_DOUBT else Event.UNSCHEDULED


def settled_event(*, repeat: str) -> Event:
    """Return the event of a row whose write was not applied by the end of the settle window.

    Where a second native cancel is harmful, only an operator may permit one.
    """
    return Event.ESCALATE if repeat == "harmful" else Event.SETTLE


def is_due(row: Row, *, now: float, observed: float, settle_window: float, timers: Timers) -> bool:
    """Return whether a row in doubt is escalated now: it is old, near to the ETA, or the appointment has begun.

    ``now`` is in seconds since 1970. ``observed`` is how many seconds this process has observed the doubt. Another host
    may have written ``doubt_since`` with a wrong clock, so a row counts as old only if this process has observed it for
    a settle window.
    """
    is_old = now - (row.doubt_since or now) >= timers.operator_after and observed >= settle_window
    is_near_eta = row.charge_limit is not None and row.charge_limit - now < timers.charge_margin
    return is_old or is_near_eta or has_begun(row, now)


def has_begun(row: Row, now: float) -> bool:
    """Return whether the appointment has begun, as far as its start is known."""
    return row.starts_at is not None and row.starts_at <= now
