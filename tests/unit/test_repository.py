"""Every transition is a compare-and-set: a row that is not as it was seen is left as it is, by each of them."""

from dataclasses import replace

import pytest

from facade.cancellation.results import CancelResult
from facade.cancellation.states import Event
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.errors import Unavailable
from tests.support.in_memory import KEY, SEEN, InMemoryFacade

GIVEN = CancelResult({"resourceType": "Appointment"}, "cancelled", version=2)
SCHEDULER = Requester("scheduler", "r")


@pytest.fixture
def repository():
    return InMemoryFacade().repository


def put(repository, **values):
    """This row is in the ledger now, flushed."""
    row = replace(SEEN, **values)
    repository._ledger.store.rows[KEY] = row
    repository._ledger.store.flush()
    return row


def now(repository):
    return repository._ledger.store.rows[KEY]


# The state that each begins in, what it does, and the columns that must be as they were seen.
MOVES = {
    "claim": ("refused", lambda r, seen: r.claim(KEY, seen, {}, Requester("x"), []), "state attempt_number"),
    "sending": ("claimed", lambda r, seen: r.record_sending(seen, {}), "state attempt_number"),
    "version_conflict": ("sending", lambda r, seen: r.record_version_conflict(seen), "state attempt_number"),
    "revise": ("cancelled", lambda r, seen: r.record_revision(seen, GIVEN, {}), "state version read_due"),
    "take_due": ("in-doubt", lambda r, seen: r.take_due(seen), "read_due"),
    "abandoned": ("claimed", lambda r, seen: r.record_abandoned(seen), "state attempt_number changed_at"),
    "probe": (
        "in-doubt",
        lambda r, seen: r.record_probe(seen, {}, None, {}),
        "state attempt_number negative_reads read_due",
    ),
    "unreadable": ("in-doubt", lambda r, seen: r.escalate_unreadable(seen), "state attempt_number read_due"),
    "hint": ("in-doubt", lambda r, seen: r.record_hint(seen), "state attempt_number read_due"),
    "undone": (
        "cancelled",
        lambda r, seen: r.undo_resolution(replace(seen, by_operator=True), SCHEDULER, "x", readable=True),
        "state attempt_number by_operator",
    ),
}
# Those that go on from what is there now, if their transition begins there too.
OUTCOMES = {
    "proof": ("sending", lambda r, seen: r.record_evidence(seen, GIVEN, {}, SCHEDULER, "us")),
    "not_executed": ("sending", lambda r, seen: r.record_not_executed(seen, GIVEN, SCHEDULER, read_before=True)),
    "doubt": ("sending", lambda r, seen: r.record_doubt(seen, "timeout", GIVEN, SCHEDULER, readable=True)),
    "resolution": (
        "in-doubt",
        lambda r, seen: r.record_resolution(seen, Event.RESOLVED_CANCELLED, GIVEN, SCHEDULER, "cancelled", "x"),
    ),
}
OTHERS = {
    "state": "operator",
    "attempt_number": 8,
    "version": 5,
    "read_due": 2000.0,
    "changed_at": 950.0,
    "negative_reads": 1,
    "by_operator": False,
}


@pytest.mark.parametrize(("name", "column"), [(name, c) for name in MOVES for c in MOVES[name][2].split()])
def test_a_row_that_is_not_as_it_was_seen_is_left_as_it_is(repository, name, column):
    state, move, _ = MOVES[name]
    begun = {"state": state, "by_operator": name == "undone", "read_due": 5000.0}
    seen = put(repository, **begun)
    there = put(repository, **{**begun, column: OTHERS[column]})
    assert not move(repository, seen)
    assert now(repository) == there
    assert repository._ledger.store.journal == []


@pytest.mark.parametrize("name", [*MOVES, *OUTCOMES])
def test_what_was_recorded_survives_a_power_cut(repository, name):
    state, move, *_ = {**MOVES, **OUTCOMES}[name]
    seen = put(repository, state=state, by_operator=name == "undone", read_due=5000.0)
    assert move(repository, seen)
    done = now(repository)
    assert done != seen
    repository._ledger.store.cut_the_power()
    # Who takes a read and is lost loses nothing: the read is due again.
    assert now(repository) == (seen if name == "take_due" else done)


# Claims and writes


def test_a_new_claim_keeps_nothing_of_the_attempt_before(repository):
    put(
        repository,
        state="not-applied",
        by_operator=True,
        negative_reads=3,
        read_step=4,
        doubt_since=895.0,
        read_due=1.0,
    )
    claimed = repository.claim(KEY, now(repository), {}, Requester("x"), [])
    assert claimed == now(repository)
    assert (claimed.state, claimed.sending_at, claimed.doubt_since) == ("claimed", None, None)
    assert (claimed.by_operator, claimed.negative_reads, claimed.read_step) == (False, 0, 0)
    assert (claimed.read_due, claimed.read_in) == (None, None)


def test_a_write_that_may_have_left_says_since_when(repository):
    seen = put(repository, state="claimed", sending_at=None)
    assert repository.record_sending(seen, {"read_before": True}).sending_at == 1000.0
    assert (now(repository).sending_at, now(repository).read_before) == (1000.0, True)
    assert repository.record_version_conflict(now(repository)).sending_at is None


def test_an_owner_has_the_whole_lease_and_the_whole_silence(repository):
    timers, clock = Timers.for_response_within(8.0), repository.clock
    for state, over, seconds in (
        ("claimed", repository.lease_expired, timers.lease),
        ("sending", repository.owner_is_silent, timers.sending),
    ):
        row = replace(SEEN, state=state)
        assert not over(row)
        clock.at += seconds - 0.01
        assert not over(row)
        clock.at += 0.02
        assert over(row)


# Outcomes


@pytest.mark.parametrize("name", ["not_executed", "doubt"])
def test_an_outcome_is_of_its_own_attempt(repository, name):
    state, move = OUTCOMES[name]
    seen = put(repository, state=state)
    for other in ("sending", "in-doubt", "claimed"):
        there = put(repository, state=other, attempt_number=8)
        assert not move(repository, seen)
        assert now(repository) == there


@pytest.mark.parametrize(
    ("name", "settled"),
    # Evidence alone is recorded over a refusal.
    [(name, state) for name in OUTCOMES for state in ("cancelled", "refused") if (name, state) != ("proof", "refused")],
)
def test_an_outcome_never_overwrites_what_another_recorded(repository, name, settled):
    state, move = OUTCOMES[name]
    seen = put(repository, state=state)
    there = put(repository, state=settled)
    assert not move(repository, seen)
    assert now(repository) == there


def test_evidence_is_recorded_whoever_claims_now(repository):
    seen = put(repository, state="sending")
    put(repository, state="claimed", attempt_number=8)
    assert OUTCOMES["proof"][1](repository, seen)
    assert (now(repository).state, now(repository).attempt_number) == ("cancelled", 8)
    assert repository._ledger.store.journal[-1][1].attempt_number == 8


@pytest.mark.parametrize("taken", ["in-doubt", "operator"])
def test_an_owner_taken_for_silent_may_still_report_no_write(repository, taken):
    seen = put(repository, state="sending")
    put(repository, state=taken)
    assert OUTCOMES["not_executed"][1](repository, seen)
    assert now(repository).state == "refused"


def test_doubt_that_cannot_be_read_is_a_persons_at_once(repository):
    seen = put(repository, state="sending")
    assert repository.record_doubt(seen, "timeout", readable=False)
    assert (now(repository).state, now(repository).read_due) == ("operator", None)


# Reads


def test_each_read_that_is_taken_delays_the_next_one_further(repository):
    timers = Timers.for_response_within(8.0)
    put(repository, state="in-doubt", read_due=999.0)
    ahead = []
    for step in range(1, 10):
        taken = repository.take_due(now(repository))
        assert (taken, taken.read_step) == (now(repository), step)
        assert taken.read_due == 1000.0 + taken.read_in
        assert taken.read_in >= timers.hold
        ahead.append(taken.read_in)
    assert ahead[-1] > 0.9 * 3600 > ahead[4] > 0.9 * 300


def test_a_hint_schedules_nothing_while_a_read_is_due(repository):
    for values in ({"state": "claimed"}, {"state": "sending"}, {"read_due": 1000.5}, {"read_due": 10.0}):
        seen = put(repository, **values)
        assert not repository.record_hint(seen)
        assert now(repository) == seen
    assert repository.record_hint(put(repository, read_due=1500.0))
    assert repository.record_hint(put(repository, state="cancelled"))


# A person's word


@pytest.mark.parametrize(
    "there",
    [{"attempt_number": 8}, {"sending_at": 950.0}, {"state": "sending", "sending_at": 950.0}, {"state": "sending"}],
)
def test_a_resolution_is_for_the_write_that_was_seen(repository, there):
    seen = put(repository, state="in-doubt")
    there = put(repository, **{"state": "in-doubt", **there})
    assert not repository.record_resolution(seen, Event.RESOLVED_NOT_APPLIED, GIVEN, SCHEDULER, "not-applied", "x")
    assert now(repository) == there
    put(repository, state="operator")  # escalated meanwhile, and the same write
    assert repository.record_resolution(seen, Event.RESOLVED_NOT_APPLIED, GIVEN, SCHEDULER, "not-applied", "x")
    assert (now(repository).state, now(repository).by_operator) == ("not-applied", True)


def test_a_resolution_that_a_client_got_is_not_undone(repository):
    proven = put(repository, state="cancelled", response="{}")
    assert not repository.undo_resolution(proven, SCHEDULER, "x", readable=True)
    by_operator = put(repository, state="cancelled", response="{}", by_operator=True)
    assert repository.recorded_result(by_operator).appointment == {}
    assert not repository.undo_resolution(by_operator, SCHEDULER, "x", readable=True)
    assert not repository.undo_resolution(now(repository), SCHEDULER, "x", readable=True)
    # Whoever read it before it was undone does not get it.
    by_operator = put(repository, state="cancelled", response="{}", by_operator=True)
    assert repository.undo_resolution(by_operator, SCHEDULER, "x", readable=True)
    with pytest.raises(Unavailable):
        repository.recorded_result(by_operator)
    # Reported by another in the same moment, it is reported here too.
    put(repository, state="cancelled", response="{}")
    assert repository.recorded_result(by_operator).appointment == {}
