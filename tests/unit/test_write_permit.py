"""The permit: granted once, after the write is durably recorded, and in time."""

import pytest

from facade.cancellation.budget import Budget
from facade.cancellation.write_permit import LedgerWritePermit
from facade.errors import Cause, NotExecuted, Unavailable
from tests.support.in_memory import Settable


@pytest.fixture
def clock():
    return Settable()


def refused(permit, cause):
    with pytest.raises(NotExecuted) as raised:
        permit()
    assert raised.value.cause is cause


def test_it_is_granted_once_and_after_the_write_is_recorded(clock):
    seen = []
    permit = LedgerWritePermit(lambda: seen.append(permit.granted) or True, 1.0, clock)
    assert (permit.taken, permit.granted) == (False, False)
    permit()
    assert (permit.taken, permit.granted, seen) == (True, True, [False])
    refused(permit, Cause.INTERNAL)
    assert seen == [False]


def test_without_a_record_it_is_not_granted(clock):
    def gone():
        raise Unavailable("gone")

    lost = LedgerWritePermit(lambda: False, 1.0, clock)
    refused(lost, Cause.CONFLICT)
    unrecorded = LedgerWritePermit(gone, 1.0, clock)
    with pytest.raises(Unavailable):
        unrecorded()
    for permit in (lost, unrecorded):
        assert (permit.taken, permit.granted) == (True, False)
        refused(permit, Cause.INTERNAL)


@pytest.mark.parametrize(("seconds", "granted"), [(1.0, True), (1.01, False)])
def test_an_owner_frozen_while_recording_does_not_write(clock, seconds, granted):
    def slow():
        clock.at += seconds
        return True

    permit = LedgerWritePermit(slow, 1.0, clock)
    if granted:
        permit()
    else:
        refused(permit, Cause.TIMEOUT)
    assert permit.granted is granted


@pytest.mark.parametrize("seconds", [6.0, 8.0, 40.0])
def test_the_parts_of_a_cancel_fit_into_the_time_to_answer(seconds):
    budget = Budget(seconds)
    assert budget.read + budget.write + budget.probe <= budget.work < budget.answer_within
    of_eight = [8.0 * part / seconds for part in (budget.work, budget.read, budget.write, budget.probe)]
    assert of_eight == pytest.approx([7.0, 1.5, 4.0, 1.0])
