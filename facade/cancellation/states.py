"""The states of a cancellation, the events of its journal, and the one table of transitions.

Everything else about states is derived from ``TRANSITIONS``. A pair that is not in the table cannot happen.
"""

from enum import StrEnum


class State(StrEnum):
    """What is known about one cancellation. An appointment that no one asked to cancel has no row."""

    CLAIMED = "claimed"  # an attempt owns the row and has only read so far; the claim is a lease and expires
    SENDING = "sending"  # the native write may have left; no one takes the row over
    IN_DOUBT = "in-doubt"  # the outcome of the native write is unknown
    CANCELLED = "cancelled"  # the source showed evidence, or an operator resolved it; final once it was reported
    REFUSED = "refused"  # the native write was certainly not executed
    NOT_APPLIED = "not-applied"  # in doubt before; resolved as not executed
    OPERATOR = "operator"  # in doubt, and escalated to an operator


class Event(StrEnum):
    """Every event that the journal knows. The first group changes the state, the second does not."""

    CLAIM = "claim"  # a request starts an attempt
    SEND = "send"  # the attempt takes its write permit
    PROOF = "proof"  # the source shows that the appointment is cancelled
    NOT_EXECUTED = "not-executed"  # the native write was certainly not executed, or never sent
    VERSION_CONFLICT = "version-conflict"  # certainly not executed, and the same attempt retries once
    DOUBT = "doubt"  # the outcome became unknown, or the owner of the attempt is silent
    SETTLE = "settle"  # probes showed for long enough that the write was not applied
    ESCALATE = "escalate"  # only an operator can resolve it
    RESOLVED_CANCELLED = "resolved-cancelled"  # an operator resolved it as cancelled
    RESOLVED_NOT_APPLIED = "resolved-not-applied"  # an operator resolved it as not applied
    UNDO = "undo"  # an operator took a resolution back before it had consequences

    REPEAT = "repeat"  # another request for the same appointment
    PROBE = "read"  # a probe without evidence of a cancellation
    HINT = "hint"  # a webhook announced a change; the next probe moves forward
    REVISED = "revised"  # the source reports the cancellation differently; the recorded response has a new version
    REPORTED = "reported"  # a client received an operator's resolution, which is final from then on
    UNSCHEDULED = "unscheduled"  # no further probe, since the source cannot be read
    RENAMED = "renamed"  # the row moved to a new source name
    REKEYED = "rekeyed"  # the row moved to the canonical form of its id


TRANSITIONS: dict[tuple[State | None, Event], State] = {
    (None, Event.CLAIM): State.CLAIMED,
    # Only after the lease expired. The ledger rejects what the former owner writes, by its attempt number.
    (State.CLAIMED, Event.CLAIM): State.CLAIMED,
    (State.REFUSED, Event.CLAIM): State.CLAIMED,
    (State.NOT_APPLIED, Event.CLAIM): State.CLAIMED,
    (State.CLAIMED, Event.SEND): State.SENDING,
    (State.CLAIMED, Event.NOT_EXECUTED): State.REFUSED,
    (State.SENDING, Event.NOT_EXECUTED): State.REFUSED,
    (State.SENDING, Event.VERSION_CONFLICT): State.CLAIMED,
    # The owner reports late, after its silence was recorded as doubt.
    (State.IN_DOUBT, Event.NOT_EXECUTED): State.REFUSED,
    (State.OPERATOR, Event.NOT_EXECUTED): State.REFUSED,
    (State.SENDING, Event.DOUBT): State.IN_DOUBT,
    # The source cannot be read, so only an operator can resolve the doubt.
    (State.SENDING, Event.ESCALATE): State.OPERATOR,
    (State.IN_DOUBT, Event.SETTLE): State.NOT_APPLIED,
    (State.IN_DOUBT, Event.ESCALATE): State.OPERATOR,
    (State.IN_DOUBT, Event.RESOLVED_CANCELLED): State.CANCELLED,
    (State.OPERATOR, Event.RESOLVED_CANCELLED): State.CANCELLED,
    (State.IN_DOUBT, Event.RESOLVED_NOT_APPLIED): State.NOT_APPLIED,
    (State.OPERATOR, Event.RESOLVED_NOT_APPLIED): State.NOT_APPLIED,
    # Only an operator's resolution, and only until a client received "cancelled" or a new request claimed the row.
    (State.CANCELLED, Event.UNDO): State.OPERATOR,
    (State.NOT_APPLIED, Event.UNDO): State.OPERATOR,
    # Evidence is accepted in every state and never withdrawn.
    (State.CLAIMED, Event.PROOF): State.CANCELLED,
    (State.SENDING, Event.PROOF): State.CANCELLED,
    (State.IN_DOUBT, Event.PROOF): State.CANCELLED,
    (State.REFUSED, Event.PROOF): State.CANCELLED,
    (State.NOT_APPLIED, Event.PROOF): State.CANCELLED,
    (State.OPERATOR, Event.PROOF): State.CANCELLED,
}

IN_FLIGHT = (State.CLAIMED, State.SENDING)
UNRESOLVED = (State.IN_DOUBT, State.OPERATOR)
SETTLED = (State.CANCELLED, State.REFUSED, State.NOT_APPLIED)
CLAIMABLE = tuple(state for state, event in TRANSITIONS if event is Event.CLAIM)


def next_state(state: str | None, event: Event) -> State | None:
    """Return the state that ``event`` leads to, None if it cannot happen. ``state`` is None where there is no row."""
    return TRANSITIONS.get((State(state) if state is not None else None, event))
