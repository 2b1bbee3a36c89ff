"""What one attempt makes of everything that a source may do, and what it leaves in the ledger."""

import pytest

from facade.cancellation import native
from facade.cancellation.stored_request import Requester
from facade.deadline import remaining
from facade.errors import (
    AppointmentNotFound,
    Cause,
    NotExecuted,
    NotFound,
    OutcomeUnknown,
    PreconditionFailed,
    SourceError,
)
from facade.plugin.contract import CancelRequest, Support
from tests.support.in_memory import BOOKED, CANCELLED, KEY, InMemoryFacade


@pytest.fixture
def bench():
    return InMemoryFacade()


def test_what_is_cancelled_already_is_not_written(bench):
    bench.calls.native = CANCELLED
    assert bench.cancel().outcome == "cancelled"
    assert (bench.calls.writes, bench.events) == (0, ["claim", "proof"])


@pytest.mark.parametrize("error", [OutcomeUnknown(Cause.TIMEOUT), NotExecuted(Cause.UNREACHABLE), ZeroDivisionError()])
def test_what_cannot_be_read_is_not_written(bench, error):
    bench.calls.native = error
    assert bench.cancel().outcome == "not-executed"
    assert (bench.calls.writes, bench.row.state) == (0, "refused")


def test_another_version_than_the_one_asked_for_is_not_written(bench):
    with pytest.raises(PreconditionFailed):
        bench.cancel(if_match=frozenset({"7"}))
    assert (bench.calls.writes, bench.row.state) == (0, "refused")
    assert bench.cancel(if_match=frozenset({"0"})).outcome == "cancelled"


def test_each_part_has_its_own_time(bench):
    left = []
    bench.calls.native = lambda: left.append(remaining()) or BOOKED
    bench.calls.write = lambda: left.append(remaining()) or CANCELLED
    bench.cancel()
    assert left[0] <= 1.5
    assert 1.5 < left[1] <= 4.0


def test_a_write_for_which_too_little_time_is_left_is_not_made(bench):
    answer = bench.cancellations.cancel(bench.source, CancelRequest(appointment_id="1"), Requester("x"), spent=2.5)
    assert (answer.outcome, answer.cause) == ("not-executed", "timeout")
    assert (bench.calls.writes, bench.row.state) == (0, "refused")


@pytest.mark.parametrize(
    "evidence",
    [BOOKED, {**BOOKED, "status": "arrived"}, {"id": "1"}, {**CANCELLED, "id": "2"}, {"status": "cancelled"}, None],
)
def test_a_response_that_does_not_prove_the_cancel_is_doubt(bench, evidence):
    bench.calls.write = lambda: evidence
    assert bench.cancel().outcome == "in-doubt"
    assert (bench.row.state, bench.calls.reads) == ("in-doubt", 2)
    assert bench.cancel().outcome == "in-doubt"
    assert bench.calls.writes == 1


@pytest.mark.parametrize("error", [OutcomeUnknown(Cause.TIMEOUT), AppointmentNotFound("HTTP 404"), ZeroDivisionError()])
def test_an_unproven_write_is_doubt_unless_a_read_proves_it(bench, error):
    bench.calls.write = error
    assert bench.cancel().outcome == "in-doubt"
    assert (bench.row.state, bench.row.read_before) == ("in-doubt", True)
    assert bench.row.read_due is not None
    # Executed, and not answered: one short read knows.
    other = InMemoryFacade()
    other.calls.write = lambda: other.calls.done() and _raise(error)
    assert other.cancel().outcome == "cancelled"
    assert other.events == ["claim", "send", "proof"]


def _raise(error):
    raise error


@pytest.mark.parametrize("error", [NotExecuted(Cause.REFUSED), OutcomeUnknown(Cause.TIMEOUT), ZeroDivisionError()])
def test_before_the_permit_nothing_was_sent_and_nothing_is_read(bench, error):
    bench.calls.before_permit = error
    assert bench.cancel().outcome == "not-executed"
    assert (bench.row.state, bench.calls.reads, bench.calls.writes) == ("refused", 1, 0)


def test_a_refusal_is_followed_by_a_probe(bench):
    bench.calls.write = NotExecuted(Cause.REFUSED)
    assert bench.cancel().outcome == "not-executed"
    assert (bench.row.state, bench.calls.reads) == ("refused", 2)
    other = InMemoryFacade()
    other.calls.write = lambda: other.calls.done() and _raise(NotExecuted(Cause.REFUSED))
    assert other.cancel().outcome == "cancelled"
    assert other.ledger.store.journal[-1][1].detail == {"by": "another"}


def test_not_found_is_the_word_of_a_source_that_cannot_be_read():
    bench = InMemoryFacade(read=Support.NONE)
    bench.calls.write = AppointmentNotFound("HTTP 404")
    with pytest.raises(NotFound):
        bench.cancel()
    assert bench.row.state == "refused"


def test_not_found_proves_nothing_if_it_was_known_before(bench):
    bench.put(state="refused", read_before=True)
    bench.calls.native = AppointmentNotFound("HTTP 404")
    answer = bench.cancel()
    assert (answer.outcome, answer.cause) == ("not-executed", "conflict")
    assert bench.row.cause == "conflict"  # whoever waited for it gets the same
    no_one = InMemoryFacade()
    no_one.calls.native = AppointmentNotFound("HTTP 404")
    with pytest.raises(NotFound):
        no_one.cancel()
    assert no_one.row.cause == "not-found"


def test_what_another_recorded_meanwhile_is_the_result(bench):
    def outrun():
        row = bench.row
        bench.resolver.record_evidence(bench.source, row, CANCELLED, Requester("reader"))
        raise NotExecuted(Cause.REFUSED)

    bench.calls.write = outrun
    assert bench.cancel().outcome == "cancelled"
    assert bench.row.state == "cancelled"
    assert bench.audits == ["cancelled", "cancelled"]


def test_each_repeat_is_audited_before_it_is_answered(bench):
    bench.cancel()
    bench.cancel()
    assert bench.audits == ["cancelled", "cancelled"]
    assert bench.events == ["claim", "send", "proof", "repeat"]


@pytest.mark.parametrize("state", ["claimed", "sending"])
def test_a_waiting_client_leaves_the_owners_row_alone(bench, monkeypatch, state):
    bench.put(state=state)
    passed = []
    monkeypatch.setattr("facade.cancellation.service.time.sleep", passed.append)
    monkeypatch.setattr("facade.cancellation.service.remaining", lambda: 1.0 - sum(passed))
    with monkeypatch.context() as patch:
        patch.setattr(bench.ledger, "find", _at_most(bench.ledger.find, 100))
        assert bench.cancel().outcome == "in-doubt"
    assert bench.audits == ["in-doubt"]
    assert bench.ledger.find(KEY).state == state


def _at_most(call, times):
    """The same, as often as that; more often is a loop without an end."""
    left = iter(range(times))

    def limited(*arguments):
        assert next(left, None) is not None, "it goes on for ever"
        return call(*arguments)

    return limited


def test_a_status_that_is_not_cancelled_is_not_evidence(bench):
    for status in ("arrived", "noshow", "entered-in-error", "Cancelled", "canceled", None):
        bench.calls.native = {**BOOKED, "status": status}
        answer = bench.cancellations.read(bench.source, "1") if isinstance(status, str) else None
        assert bench.row is None
        assert answer is None or answer.appointment["status"] != "cancelled"


def test_a_source_error_is_the_only_thing_that_a_read_raises(bench):
    bench.calls.native = KeyError("x")
    with pytest.raises(SourceError):
        native.read(bench.source, "1", 1.0)
