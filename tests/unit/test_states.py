"""The table of transitions is complete, and says what docs/concepts/at-most-once.md says."""

from itertools import product

import pytest

from facade.cancellation.states import CLAIMABLE, TRANSITIONS, Event, State

JUDGED = (Event.RESOLVED_CANCELLED, Event.RESOLVED_NOT_APPLIED)

# Every pair of state and event that is not a transition, with the reason. Together with the table: all there are.
NEVER = {
    "an event other than a claim needs a row": [(None, event) for event in Event if event is not Event.CLAIM],
    "cancelled is absorbing, but for a person's word": [
        (State.CANCELLED, event) for event in Event if event is not Event.UNDO
    ],
    "there is no verdict to undo": [
        (state, Event.UNDO) for state in State if state not in {State.CANCELLED, State.NOT_APPLIED}
    ],
    "a write that may have left is never taken over, nor is doubt": [
        (state, Event.CLAIM) for state in (State.SENDING, State.IN_DOUBT, State.OPERATOR)
    ],
    "only a claim may send, and once": [
        (state, Event.SEND) for state in State if state not in {State.CLAIMED, State.CANCELLED}
    ],
    "nothing was sent, so there is nothing to doubt": [
        (state, event)
        for state in (State.CLAIMED, State.REFUSED)
        for event in (Event.VERSION_CONFLICT, Event.DOUBT, Event.SETTLE, Event.ESCALATE, *JUDGED)
    ],
    "it was taken for doubt meanwhile, and is not taken back": [
        (state, Event.VERSION_CONFLICT) for state in (State.IN_DOUBT, State.OPERATOR)
    ],
    "it is settled": [
        *((State.REFUSED, event) for event in (Event.NOT_EXECUTED,)),
        *(
            (State.NOT_APPLIED, event)
            for event in Event
            if event not in {Event.CLAIM, Event.SEND, Event.PROOF, Event.UNDO}
        ),
    ],
    "its owner may still write or hear": [(State.SENDING, event) for event in (Event.SETTLE, *JUDGED)],
    "it is in doubt already": [(State.IN_DOUBT, Event.DOUBT), (State.OPERATOR, Event.DOUBT)],
    "a person's, until evidence comes": [(State.OPERATOR, Event.SETTLE), (State.OPERATOR, Event.ESCALATE)],
}


def test_every_pair_is_a_transition_or_has_a_reason_why_not():
    never = [pair for pairs in NEVER.values() for pair in pairs]
    assert len(never) == len(set(never))
    assert set(never).isdisjoint(TRANSITIONS)
    assert {*never, *TRANSITIONS} == set(product([None, *State], Event))


@pytest.mark.parametrize("state", [state for state in State if state is not State.CANCELLED])
def test_evidence_is_believed_in_every_state(state):
    assert TRANSITIONS[state, Event.PROOF] is State.CANCELLED


def test_a_write_may_be_made_from_a_claim_only():
    assert [state for state, event in TRANSITIONS if event is Event.SEND] == [State.CLAIMED]
    assert set(CLAIMABLE) == {None, State.CLAIMED, State.REFUSED, State.NOT_APPLIED}
