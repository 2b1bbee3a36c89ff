"""Every transition is a compare-and-set: a row that is not as it was seen is left as it is, by each of them."""

from dataclasses import replace

import pytest

from facade.cancellation.results import Answer
from facade.cancellation.states import Event
from facade.cancellation.stored_request import Caller
from facade.cancellation.timers import Timers
from facade.errors import Unavailable
from facade.ledger.store import Audit
from tests.support.in_memory import KEY, SEEN, Bench

GIVEN = Answer({"resourceType": "Appointment"}, "cancelled", version=2)
AUDIT = Audit(who="scheduler", action="cancel", outcome="cancelled")


@pytest.fixture
def records():
    return Bench().records


def put(records, **values):
    """This row is in the ledger now, flushed."""
    row = replace(SEEN, **values)
    records.ledger.store.rows[KEY] = row
    records.ledger.store.flush()
    return row


def now(records):
    return records.ledger.store.rows[KEY]


# The state that each begins in, what it does, and the columns that must be as they were seen.
MOVES = {
    "claim": ("refused", lambda r, seen: r.claim(KEY, seen, {}, Caller("x"), []), "state epoch"),
    "sending": ("claimed", lambda r, seen: r.sending(seen, {}), "state epoch"),
    "again": ("sending", lambda r, seen: r.again(seen), "state epoch"),
    "revise": ("cancelled", lambda r, seen: r.revise(seen, GIVEN, {}), "state version read_due"),
    "take_due": ("in-doubt", lambda r, seen: r.take_due(seen), "read_due"),
    "abandoned": ("claimed", lambda r, seen: r.abandoned(seen), "state epoch changed_at"),
    "looked": ("in-doubt", lambda r, seen: r.looked(seen, {}, None, {}), "state epoch negative_reads read_due"),
    "never_read": ("in-doubt", lambda r, seen: r.never_read(seen), "state epoch read_due"),
    "hint": ("in-doubt", lambda r, seen: r.hint(seen), "state epoch read_due"),
    "undone": (
        "cancelled",
        lambda r, seen: r.undone(replace(seen, judged=True), AUDIT, "x", readable=True),
        "state epoch judged",
    ),
}
# Those that go on from what is there now, if their transition begins there too.
OUTCOMES = {
    "proof": ("sending", lambda r, seen: r.proof(seen, GIVEN, {}, AUDIT, "us")),
    "not_done": ("sending", lambda r, seen: r.not_done(seen, GIVEN, AUDIT, read_before=True)),
    "doubt": ("sending", lambda r, seen: r.doubt(seen, "timeout", GIVEN, AUDIT, readable=True)),
    "judged": ("in-doubt", lambda r, seen: r.judged(seen, Event.JUDGED_CANCELLED, GIVEN, AUDIT, "x")),
}
OTHERS = {
    "state": "operator",
    "epoch": 8,
    "version": 5,
    "read_due": 2000.0,
    "changed_at": 950.0,
    "negative_reads": 1,
    "judged": False,
}


@pytest.mark.parametrize(("name", "column"), [(name, c) for name in MOVES for c in MOVES[name][2].split()])
def test_a_row_that_is_not_as_it_was_seen_is_left_as_it_is(records, name, column):
    state, move, _ = MOVES[name]
    begun = {"state": state, "judged": name == "undone", "read_due": 5000.0}
    seen = put(records, **begun)
    there = put(records, **{**begun, column: OTHERS[column]})
    assert not move(records, seen)
    assert now(records) == there
    assert records.ledger.store.journal == []


@pytest.mark.parametrize("name", [*MOVES, *OUTCOMES])
def test_what_was_recorded_survives_a_power_cut(records, name):
    state, move, *_ = {**MOVES, **OUTCOMES}[name]
    seen = put(records, state=state, judged=name == "undone", read_due=5000.0)
    assert move(records, seen)
    done = now(records)
    assert done != seen
    records.ledger.store.cut_the_power()
    # Who takes a read and is lost loses nothing: the read is due again.
    assert now(records) == (seen if name == "take_due" else done)


# Claims and writes


def test_a_new_claim_keeps_nothing_of_the_attempt_before(records):
    put(records, state="not-applied", judged=True, negative_reads=3, read_step=4, doubt_since=895.0, read_due=1.0)
    claimed = records.claim(KEY, now(records), {}, Caller("x"), [])
    assert claimed == now(records)
    assert (claimed.state, claimed.sending_at, claimed.doubt_since) == ("claimed", None, None)
    assert (claimed.judged, claimed.negative_reads, claimed.read_step) == (False, 0, 0)
    assert (claimed.read_due, claimed.read_in) == (None, None)


def test_a_write_that_may_have_left_says_since_when(records):
    seen = put(records, state="claimed", sending_at=None)
    assert records.sending(seen, {"read_before": True}).sending_at == 1000.0
    assert (now(records).sending_at, now(records).read_before) == (1000.0, True)
    assert records.again(now(records)).sending_at is None


def test_an_owner_has_the_whole_lease_and_the_whole_silence(records):
    timers, clock = Timers(), records.ledger.clock
    for state, over, seconds in (
        ("claimed", records.lease_is_over, timers.lease),
        ("sending", records.silence_is_doubt, timers.sending),
    ):
        row = replace(SEEN, state=state)
        assert not over(row)
        clock.at += seconds - 0.01
        assert not over(row)
        clock.at += 0.02
        assert over(row)


# Outcomes


@pytest.mark.parametrize("name", ["not_done", "doubt"])
def test_an_outcome_is_of_its_own_attempt(records, name):
    state, move = OUTCOMES[name]
    seen = put(records, state=state)
    for other in ("sending", "in-doubt", "claimed"):
        there = put(records, state=other, epoch=8)
        assert not move(records, seen)
        assert now(records) == there


@pytest.mark.parametrize(
    ("name", "settled"),
    # Evidence alone is recorded over a refusal.
    [(name, state) for name in OUTCOMES for state in ("cancelled", "refused") if (name, state) != ("proof", "refused")],
)
def test_an_outcome_never_overwrites_what_another_recorded(records, name, settled):
    state, move = OUTCOMES[name]
    seen = put(records, state=state)
    there = put(records, state=settled)
    assert not move(records, seen)
    assert now(records) == there


def test_evidence_is_recorded_whoever_claims_now(records):
    seen = put(records, state="sending")
    put(records, state="claimed", epoch=8)
    assert OUTCOMES["proof"][1](records, seen)
    assert (now(records).state, now(records).epoch) == ("cancelled", 8)
    assert records.ledger.store.journal[-1][1].epoch == 8


@pytest.mark.parametrize("taken", ["in-doubt", "operator"])
def test_whose_silence_was_taken_for_doubt_may_still_say_what_was_not_done(records, taken):
    seen = put(records, state="sending")
    put(records, state=taken)
    assert OUTCOMES["not_done"][1](records, seen)
    assert now(records).state == "refused"


def test_doubt_that_cannot_be_read_is_a_persons_at_once(records):
    seen = put(records, state="sending")
    assert records.doubt(seen, "timeout", readable=False)
    assert (now(records).state, now(records).read_due) == ("operator", None)


# Reads


def test_a_read_that_is_taken_puts_the_next_one_off_further_each_time(records):
    timers = Timers()
    put(records, state="in-doubt", read_due=999.0)
    ahead = []
    for step in range(1, 10):
        taken = records.take_due(now(records))
        assert (taken, taken.read_step) == (now(records), step)
        assert taken.read_due == 1000.0 + taken.read_in
        assert taken.read_in >= timers.hold
        ahead.append(taken.read_in)
    assert ahead[-1] > 0.9 * 3600 > ahead[4] > 0.9 * 300


def test_a_hint_schedules_nothing_while_an_owner_is_at_work_or_a_read_is_due(records):
    for values in ({"state": "claimed"}, {"state": "sending"}, {"read_due": 1000.5}, {"read_due": 10.0}):
        seen = put(records, **values)
        assert not records.hint(seen)
        assert now(records) == seen
    assert records.hint(put(records, read_due=1500.0))
    assert records.hint(put(records, state="cancelled"))


# A person's word


@pytest.mark.parametrize(
    "there", [{"epoch": 8}, {"sending_at": 950.0}, {"state": "sending", "sending_at": 950.0}, {"state": "sending"}]
)
def test_a_verdict_is_for_the_write_that_was_seen(records, there):
    seen = put(records, state="in-doubt")
    there = put(records, **{"state": "in-doubt", **there})
    assert not records.judged(seen, Event.JUDGED_NOT_APPLIED, GIVEN, AUDIT, "x")
    assert now(records) == there
    put(records, state="operator")  # escalated meanwhile, and the same write
    assert records.judged(seen, Event.JUDGED_NOT_APPLIED, GIVEN, AUDIT, "x")
    assert (now(records).state, now(records).judged) == ("not-applied", True)


def test_a_verdict_that_a_client_was_told_is_not_taken_back(records):
    proven = put(records, state="cancelled", answer="{}")
    assert not records.undone(proven, AUDIT, "x", readable=True)
    judged = put(records, state="cancelled", answer="{}", judged=True)
    assert records.recorded(judged).appointment == {}
    assert not records.undone(judged, AUDIT, "x", readable=True)
    assert not records.undone(now(records), AUDIT, "x", readable=True)
    # Whoever read it before it was taken back is not told it.
    judged = put(records, state="cancelled", answer="{}", judged=True)
    assert records.undone(judged, AUDIT, "x", readable=True)
    with pytest.raises(Unavailable):
        records.recorded(judged)
    # Told by another in the same moment, it is told again.
    put(records, state="cancelled", answer="{}")
    assert records.recorded(judged).appointment == {}
