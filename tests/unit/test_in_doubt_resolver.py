"""What settles doubt and what does not, one read at a time, over a ledger in memory and a clock that is set."""

from dataclasses import replace

import pytest

from facade.cancellation.in_doubt import Resolution, resolve_by_operator
from facade.cancellation.stored_request import Requester
from facade.errors import AppointmentNotFound, Cause, NotExecuted, OutcomeUnknown, Unavailable
from facade.plugin.contract import Support
from tests.support.in_memory import BOOKED, CANCELLED, KEY, SEEN, InMemoryFacade

HOUR = 3600.0
WINDOW = 900.0


@pytest.fixture
def bench():
    found = InMemoryFacade()
    found.repository.observed.steady()
    found.clock.at += 100.0  # for so long the clock has not been set
    return found


def in_doubt(bench, **values):
    """A row whose doubt begins now, and that is watched from now on."""
    row = bench.put(**{"doubt_since": bench.clock.at, "read_due": bench.clock.at, "read_in": 1.0, **values})
    bench.repository.observed.in_state(row)
    return row


def probe(bench, *, scheduled=True):
    """One read; the row afterwards."""
    bench.resolver.probe(bench.source, bench.row, 1.0, Requester("reconciler"), scheduled=scheduled)
    return bench.row


# The settle window


@pytest.mark.parametrize(
    ("reads", "seconds", "state"),
    [
        (2, WINDOW, "not-applied"),
        (2, WINDOW - 0.1, "in-doubt"),
        (1, WINDOW, "in-doubt"),
        (0, WINDOW, "in-doubt"),
    ],
)
def test_not_applied_takes_three_reads_and_the_whole_window(bench, reads, seconds, state):
    in_doubt(bench, negative_reads=reads)
    bench.clock.at += seconds
    row = probe(bench)
    assert (row.state, row.negative_reads) == (state, reads + 1)
    assert (row.read_due is None) == (state == "not-applied")


def test_a_read_begun_before_the_window_ended_settles_nothing(bench):
    def slow():
        bench.clock.at += 5.0
        return BOOKED

    in_doubt(bench, negative_reads=2)
    bench.calls.native = slow
    bench.clock.at += WINDOW - 1.0
    assert probe(bench).state == "in-doubt"
    assert probe(bench).state == "not-applied"


@pytest.mark.parametrize(
    "error", [OutcomeUnknown(Cause.TIMEOUT), NotExecuted(Cause.UNREACHABLE), AppointmentNotFound("404")]
)
@pytest.mark.parametrize("reads", [0, 2, 3, 10])
def test_a_read_that_failed_is_not_negative_and_settles_nothing(bench, error, reads):
    in_doubt(bench, negative_reads=reads)
    bench.calls.native = error
    bench.clock.at += 2 * WINDOW
    row = probe(bench)
    assert (row.state, row.negative_reads) == ("in-doubt", reads)


def test_where_a_repeat_does_harm_the_window_settles_nothing(bench):
    bench.source = replace(bench.source, plugin=replace(bench.source.plugin, repeat="harmful"))
    in_doubt(bench, negative_reads=2)
    bench.clock.at += WINDOW
    assert probe(bench).state == "operator"


def test_one_read_comes_right_after_the_window(bench):
    in_doubt(bench, read_step=8)
    bench.clock.at += WINDOW - 10.0
    assert probe(bench).read_in == 10.0 + bench.timers.tick


# A person


@pytest.mark.parametrize(
    ("values", "seconds", "state"),
    [
        ({}, 24 * HOUR - 1, "in-doubt"),
        ({}, 24 * HOUR, "operator"),
        ({"charge_limit": 1100.0 + 27 * HOUR}, 0.0, "in-doubt"),
        ({"charge_limit": 1100.0 + 26 * HOUR - 1}, 0.0, "operator"),
        ({"starts_at": 1101.0}, 0.0, "in-doubt"),
        ({"starts_at": 1100.0}, 0.0, "operator"),
    ],
)
def test_old_doubt_and_near_doubt_is_a_persons(bench, values, seconds, state):
    in_doubt(bench, **values)
    bench.clock.at += seconds
    assert probe(bench).state == state


def test_a_clock_that_was_just_set_sends_nothing_to_a_person(bench):
    in_doubt(bench)
    bench.clock.at += WINDOW + 1.0
    monotonic = bench.clock.at
    bench.clock.at += 84 * HOUR
    bench.clock.monotonic = lambda: monotonic
    bench.repository.observed.steady()
    monotonic += bench.timers.steady - 1
    bench.clock.at += bench.timers.steady - 1
    assert probe(bench).state == "in-doubt"
    monotonic += 1.0
    bench.clock.at += 1.0
    assert probe(bench).state == "operator"


def test_an_escalated_row_is_read_daily_and_needs_evidence(bench):
    in_doubt(bench, state="operator", negative_reads=5, starts_at=10.0, read_step=8)
    for _ in range(3):
        bench.clock.at += 24 * HOUR
        row = probe(bench)
        assert (row.state, row.read_in) == ("operator", 24 * HOUR)
        assert row.read_due == bench.clock.at + 24 * HOUR
    bench.calls.native = CANCELLED
    assert probe(bench).state == "cancelled"


@pytest.mark.parametrize("state", ["cancelled", "refused", "not-applied", "claimed", "sending"])
def test_only_doubt_is_resolved(bench, state):
    row = bench.put(state=state)
    for resolution in Resolution:
        assert not resolve_by_operator(bench.repository, row, resolution, "because", "ann")
        # Nor by somebody who saw it in doubt before.
        assert not resolve_by_operator(
            bench.repository, replace(row, state="in-doubt", attempt_number=6), resolution, "x", "ann"
        )
    assert bench.row == row


# Reads of what is no doubt


@pytest.mark.parametrize("state", ["cancelled", "refused", "not-applied"])
def test_a_read_of_a_settled_row_ends_its_schedule_only(bench, state):
    in_doubt(bench, state=state, negative_reads=2, reported={}, response="{}")
    bench.clock.at += 2 * WINDOW
    row = probe(bench)
    assert (row.state, row.negative_reads, row.read_due) == (state, 2, None)


def test_a_source_that_cannot_be_read_is_not_asked():
    bench = InMemoryFacade(read=Support.NONE)
    in_doubt(bench)
    assert bench.resolver.probe(bench.source, bench.row, 1.0, Requester("x")) is None
    assert bench.calls.reads == 0


def test_a_clients_read_leaves_the_schedule_alone(bench):
    before = in_doubt(bench)
    row = probe(bench, scheduled=False)
    assert (row.read_due, row.read_in, row.negative_reads) == (before.read_due, before.read_in, 1)


def test_another_story_of_the_cancellation_is_a_new_version(bench):
    bench.cancel()
    assert (bench.row.version, bench.row.reported) == (1, {})
    bench.calls.native = {**CANCELLED, "cancelationReason": {"text": "patient ill"}}
    row = probe(bench)
    assert (row.version, row.reported) == (2, {"cancelationReason": {"text": "patient ill"}})
    assert probe(bench).version == 2


@pytest.mark.parametrize("there", [None, replace(SEEN, state="refused", attempt_number=9)])
def test_evidence_that_could_not_be_recorded_is_not_reported(bench, monkeypatch, there):
    row = bench.put()
    monkeypatch.setattr(bench.repository, "record_evidence", lambda *_: False)
    monkeypatch.setattr(bench.ledger, "find", lambda _: there)
    with pytest.raises(Unavailable):
        bench.resolver.record_evidence(bench.source, row, CANCELLED, Requester("reader"))


# The reconciler


@pytest.mark.parametrize(
    ("state", "seconds", "after"),
    [
        ("claimed", 9.9, "claimed"),
        ("claimed", 10.0, "refused"),
        ("sending", 7.9, "sending"),
        ("sending", 8.0, "in-doubt"),
        ("sending", 10.0, "in-doubt"),
    ],
)
def test_a_silence_ends_once_it_was_observed_long_enough(bench, state, seconds, after):
    bench.put(state=state, changed_at=1.0)
    bench.reconciler.tick(bench.source)
    assert bench.row.state == state  # however long ago it says that it was changed
    bench.clock.at += seconds
    assert not bench.reconciler.tick(bench.source)
    assert bench.row.state == after
    assert bench.calls.reads == 0


def test_a_locked_row_keeps_no_other_waiting(bench, monkeypatch):
    locked = bench.put(state="claimed")
    other = bench.put(state="claimed", appointment_id="2")
    abandoned = bench.repository.record_abandoned

    def unless_locked(row):
        if row.key == KEY:
            raise Unavailable("locked")
        return abandoned(row)

    monkeypatch.setattr(bench.repository, "record_abandoned", unless_locked)
    bench.reconciler.tick(bench.source)
    bench.clock.at += 20.0
    bench.reconciler.tick(bench.source)
    assert bench.ledger.find(locked.key).state == "claimed"
    assert bench.ledger.find(other.key).state == "refused"


def test_a_due_read_is_taken_and_then_made_by_one(bench):
    seen = in_doubt(bench)
    assert bench.reconciler._probe(bench.source, seen)
    assert not bench.reconciler._probe(bench.source, seen)
    assert bench.calls.reads == 1
    # Taken first: whoever dies of it does not die of it again at once.
    bench.calls.native = lambda: taken.append(bench.row.read_due) or BOOKED
    taken, due = [], in_doubt(bench).read_due
    bench.reconciler._probe(bench.source, bench.row)
    assert taken[0] >= due + bench.timers.hold


@pytest.mark.parametrize("error", [ZeroDivisionError(), Unavailable("gone")])
def test_what_fails_over_one_row_ends_nothing(bench, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(bench.resolver, "probe", fail)
    assert not bench.reconciler._probe(bench.source, in_doubt(bench))


@pytest.mark.parametrize("state", ["claimed", "sending"])
def test_what_an_owner_is_at_work_on_is_not_read(bench, state):
    in_doubt(bench, state=state)
    assert not bench.reconciler.tick(bench.source)
    assert bench.calls.reads == 0


def ticks(bench, seconds):
    """How often something was read in so many seconds, with a tick in each."""
    before = bench.calls.reads
    for _ in range(int(seconds)):
        bench.reconciler.tick(bench.source)
        bench.clock.at += 1.0
    return bench.calls.reads - before


def test_a_read_that_a_wrong_clock_delays_is_made_in_the_end(bench):
    in_doubt(bench, read_due=bench.clock.at + 84 * HOUR, read_in=100.0)
    assert ticks(bench, 100.0) == 0
    assert ticks(bench, bench.timers.sweep + 2.0) >= 1


def test_a_sweep_leaves_what_another_has_read_meanwhile(bench, monkeypatch):
    in_doubt(bench, read_due=bench.clock.at + 84 * HOUR, read_in=100.0)
    find, moved = bench.ledger.find, []

    def read_by_another(key):
        moved.append(bench.put(read_due=bench.clock.at + 85 * HOUR, read_in=100.0))
        return find(key)

    monkeypatch.setattr(bench.ledger, "find", read_by_another)
    assert ticks(bench, 200.0) == 0
    assert moved
