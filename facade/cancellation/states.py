"""The states of one cancellation and every transition there is; what is not in the table does not happen."""

from enum import StrEnum


class State(StrEnum):
    """What is known of one cancellation. There is no state for "never asked": there is no row."""

    CLAIMED = "claimed"  # one owner, only reads so far; expires
    SENDING = "sending"  # the write may have left; never taken over
    IN_DOUBT = "in-doubt"  # outcome unknown
    CANCELLED = "cancelled"  # native evidence seen, or a person's word; absorbing once it was told
    REFUSED = "refused"  # surely not executed
    NOT_APPLIED = "not-applied"  # judged not executed, after the settle window
    OPERATOR = "operator"  # a person must look


class Event(StrEnum):
    """What can happen to a cancellation."""

    CLAIM = "claim"  # a request takes it
    SEND = "send"  # its owner takes the permit
    PROOF = "proof"  # native evidence that it is cancelled
    NOT_EXECUTED = "not-executed"  # surely not executed
    VERSION_CONFLICT = "version-conflict"  # surely not executed, and worth another look by the same owner
    DOUBT = "doubt"  # the outcome is unknown, or the owner fell silent
    SETTLE = "settle"  # reads say long enough that it was not applied
    ESCALATE = "escalate"  # doubt that a person must settle
    RESOLVED_CANCELLED = "resolved-cancelled"  # a person settles it
    RESOLVED_NOT_APPLIED = "resolved-not-applied"
    UNDO = "undo"  # a person takes that back, before it had consequences


TRANSITIONS: dict[tuple[State | None, Event], State] = {
    (None, Event.CLAIM): State.CLAIMED,
    # Only once the lease is over; the former owner is fenced off by the attempt_number.
    (State.CLAIMED, Event.CLAIM): State.CLAIMED,
    (State.REFUSED, Event.CLAIM): State.CLAIMED,
    (State.NOT_APPLIED, Event.CLAIM): State.CLAIMED,
    (State.CLAIMED, Event.SEND): State.SENDING,
    (State.CLAIMED, Event.NOT_EXECUTED): State.REFUSED,
    (State.SENDING, Event.NOT_EXECUTED): State.REFUSED,
    (State.SENDING, Event.VERSION_CONFLICT): State.CLAIMED,
    # By the owner, whose silence others took for doubt.
    (State.IN_DOUBT, Event.NOT_EXECUTED): State.REFUSED,
    (State.OPERATOR, Event.NOT_EXECUTED): State.REFUSED,
    (State.SENDING, Event.DOUBT): State.IN_DOUBT,
    # A source that cannot be read: nothing but a person can settle it.
    (State.SENDING, Event.ESCALATE): State.OPERATOR,
    (State.IN_DOUBT, Event.SETTLE): State.NOT_APPLIED,
    (State.IN_DOUBT, Event.ESCALATE): State.OPERATOR,
    (State.IN_DOUBT, Event.RESOLVED_CANCELLED): State.CANCELLED,
    (State.OPERATOR, Event.RESOLVED_CANCELLED): State.CANCELLED,
    (State.IN_DOUBT, Event.RESOLVED_NOT_APPLIED): State.NOT_APPLIED,
    (State.OPERATOR, Event.RESOLVED_NOT_APPLIED): State.NOT_APPLIED,
    # Only what a person said, and only until a client is told "cancelled", or a new request claims.
    (State.CANCELLED, Event.UNDO): State.OPERATOR,
    (State.NOT_APPLIED, Event.UNDO): State.OPERATOR,
    # Evidence is believed whenever it comes, and never unsaid.
    (State.CLAIMED, Event.PROOF): State.CANCELLED,
    (State.SENDING, Event.PROOF): State.CANCELLED,
    (State.IN_DOUBT, Event.PROOF): State.CANCELLED,
    (State.REFUSED, Event.PROOF): State.CANCELLED,
    (State.NOT_APPLIED, Event.PROOF): State.CANCELLED,
    (State.OPERATOR, Event.PROOF): State.CANCELLED,
}

IN_FLIGHT = (State.CLAIMED, State.SENDING)
DOUBTFUL = (State.IN_DOUBT, State.OPERATOR)
SETTLED = (State.CANCELLED, State.REFUSED, State.NOT_APPLIED)
CLAIMABLE = tuple(state for state, event in TRANSITIONS if event is Event.CLAIM)
