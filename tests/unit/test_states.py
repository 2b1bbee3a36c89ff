"""The table of transitions is complete, and says what docs/concepts/at-most-once.md says."""

import re
from itertools import product

import pytest

from facade.cancellation.states import CLAIMABLE, IN_FLIGHT, TRANSITIONS, Event, State, next_state
from facade.ledger import statements
from facade.ledger.tables import cancellations
from tests.support.paths import ROOT

EVENTS = [event for event in Event if event in {one for _, one in TRANSITIONS}]
RESOLUTIONS = (Event.RESOLVED_CANCELLED, Event.RESOLVED_NOT_APPLIED)

# Every pair of state and event that is not a transition, with the reason. Together with the table: all there are.
NEVER = {
    "an event other than a claim needs a row": [(None, event) for event in EVENTS if event is not Event.CLAIM],
    "cancelled is final, except for an operator's resolution": [
        (State.CANCELLED, event) for event in EVENTS if event is not Event.UNDO
    ],
    "there is no resolution to undo": [
        (state, Event.UNDO) for state in State if state not in {State.CANCELLED, State.NOT_APPLIED}
    ],
    "a write that may have left is never taken over, and neither is doubt": [
        (state, Event.CLAIM) for state in (State.SENDING, State.IN_DOUBT, State.OPERATOR)
    ],
    "only a claim may send, and once": [
        (state, Event.SEND) for state in State if state not in {State.CLAIMED, State.CANCELLED}
    ],
    "nothing was sent, so nothing can be in doubt": [
        (state, event)
        for state in (State.CLAIMED, State.REFUSED)
        for event in (Event.VERSION_CONFLICT, Event.DOUBT, Event.SETTLE, Event.ESCALATE, *RESOLUTIONS)
    ],
    "its silence was recorded as doubt, which is not taken back": [
        (state, Event.VERSION_CONFLICT) for state in (State.IN_DOUBT, State.OPERATOR)
    ],
    "it is settled": [
        *((State.REFUSED, event) for event in (Event.NOT_EXECUTED,)),
        *(
            (State.NOT_APPLIED, event)
            for event in EVENTS
            if event not in {Event.CLAIM, Event.SEND, Event.PROOF, Event.UNDO}
        ),
    ],
    "its owner may still write or receive a response": [
        (State.SENDING, event) for event in (Event.SETTLE, *RESOLUTIONS)
    ],
    "it is in doubt already": [(State.IN_DOUBT, Event.DOUBT), (State.OPERATOR, Event.DOUBT)],
    "an operator's, until evidence comes": [(State.OPERATOR, Event.SETTLE), (State.OPERATOR, Event.ESCALATE)],
}


def test_every_pair_is_a_transition_or_has_a_reason_why_not():
    never = [pair for pairs in NEVER.values() for pair in pairs]  # type: ignore[attr-defined]  # set or patched by the test
    assert len(never) == len(set(never))
    assert set(never).isdisjoint(TRANSITIONS)
    assert {*never, *TRANSITIONS} == set(product([None, *State], EVENTS))


@pytest.mark.parametrize("state", [state for state in State if state is not State.CANCELLED])
def test_evidence_is_believed_in_every_state(state):
    assert TRANSITIONS[state, Event.PROOF] is State.CANCELLED


def test_a_write_may_be_made_from_a_claim_only():
    assert [state for state, event in TRANSITIONS if event is Event.SEND] == [State.CLAIMED]
    assert set(CLAIMABLE) == {None, State.CLAIMED, State.REFUSED, State.NOT_APPLIED}


def test_events_that_change_no_state_are_no_transitions():
    notes = {Event.REPEAT, Event.PROBE, Event.HINT, Event.REVISED, Event.REPORTED, Event.UNSCHEDULED}
    assert {*Event} - {*EVENTS} == notes | {Event.RENAMED, Event.REKEYED}
    assert all(next_state(state, event) is None for state in State for event in notes)


@pytest.mark.parametrize("word", [*State, *(event for event in Event if "-" in event)])
def test_no_other_module_writes_a_state_or_an_event_literally(word):
    # The partial index and the migrations hold the words of their schema version. `cancelled` and `claimed` are also
    # words of FHIR and of English, so the modules that record states are searched for them, and all for the others.
    allowed = {"facade/cancellation/states.py", "facade/ledger/tables.py"}
    places = ["facade/cancellation", "facade/ledger", "facade/cli"] if word in {"cancelled", "claimed"} else ["facade"]
    for path in (found for place in places for found in (ROOT / place).rglob("*.py")):
        name = str(path.relative_to(ROOT))
        if name in allowed or "migrations" in name:
            continue
        assert not re.search(rf"state[\"']?[:=] *[\"']{word}[\"']|event=[\"']{word}[\"']", path.read_text()), name


def test_the_index_of_rows_in_flight_holds_the_states_in_flight():
    index = next(index for index in cancellations.indexes if index.name == "ix_cancellations_in_flight")
    literals = ", ".join(f"'{state}'" for state in IN_FLIGHT)
    assert str(index.dialect_options["sqlite"]["where"]) == f"state IN ({literals})"
    assert f"state IN ({literals})" in statements.in_flight(IN_FLIGHT)
