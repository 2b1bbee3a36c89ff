"""How long this process has seen a row as it is: a new attempt, write or due time begins the watch again."""

from dataclasses import replace

import pytest

from facade.cancellation import observed_times
from facade.cancellation.observed_times import ObservedTimes
from tests.support.in_memory import SEEN, Settable


@pytest.fixture
def clock():
    return Settable()


@pytest.fixture
def watching(clock):
    return ObservedTimes(clock)


def watched(clock, since, before, after, seconds=5.0):
    """What is said of ``after``, ``seconds`` after ``before`` was seen first."""
    assert since(before) == 0.0
    clock.at += seconds
    assert since(before) == seconds
    return since(after)


@pytest.mark.parametrize("changes", [{"attempt_number": 8}, {"state": "claimed"}, {"state": "sending"}])
def test_another_attempt_or_state_begins_the_watch_again(clock, watching, changes):
    assert watched(clock, watching.in_state, SEEN, replace(SEEN, **changes)) == 0.0


def test_another_write_or_claim_of_the_attempt_begins_it_again(clock, watching):
    for state in ("claimed", "sending"):
        before = replace(SEEN, state=state)
        assert watched(clock, watching.in_state, before, replace(before, changed_at=950.0)) == 0.0


def test_doubt_is_one_doubt_whatever_its_reads_write(clock, watching):
    after = replace(SEEN, state="operator", changed_at=990.0, negative_reads=3, read_due=1.0)
    assert watched(clock, watching.in_state, SEEN, after) == 5.0


def test_a_due_time_that_is_moved_begins_it_again(clock, watching):
    before = replace(SEEN, read_due=10.0)
    assert watched(clock, watching.due_unchanged, before, replace(before, read_due=11.0)) == 0.0
    assert watching.due_unchanged(replace(before, attempt_number=8)) == 0.0
    assert watching.due_unchanged(before) == 5.0


@pytest.mark.parametrize("seconds", [-3600.0, 3600.0])
def test_a_wall_clock_that_is_set_is_not_steady(clock, seconds):
    clock.now = lambda: clock.at + jumped
    jumped = 0.0
    watching = ObservedTimes(clock)
    assert watching.steady() == 0.0  # what was before this process began, it does not know
    clock.at += 100.0
    assert watching.steady() == 100.0
    jumped = seconds
    assert watching.steady() == 0.0
    clock.at += 59.0
    assert watching.steady() == 59.0


def test_what_was_seen_longest_ago_is_forgotten_first(monkeypatch, clock, watching):
    monkeypatch.setattr(observed_times, "_MAX_OBSERVATIONS", 3)
    rows = [replace(SEEN, appointment_id=str(n)) for n in range(4)]
    for row in rows[:3]:
        watching.in_state(row)
    clock.at += 5.0
    watching.in_state(rows[0])
    watching.in_state(rows[3])
    assert [watching.in_state(row) for row in (rows[0], rows[2], rows[3])] == [5.0, 5.0, 0.0]
    assert watching.in_state(rows[1]) == 0.0  # forgotten
    assert len(watching._since) == 3
