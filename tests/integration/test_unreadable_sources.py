"""A source system that cannot be read: who settles its doubt, and what a reader and an agent get."""

from dataclasses import replace

import pytest
from structlog.testing import capture_logs

from facade import Capabilities, NotExecuted, OutcomeUnknown, SourceAdapter, Support
from facade.app import compose
from facade.cancellation.timers import Timers
from facade.errors import Cause, Unavailable
from facade.ledger.store import JournalEntry
from facade.testing.conformance.harness import Shares
from facade.web import create_app
from tests.conftest import FacadeClient
from tests.integration.test_in_doubt import Time

STATE = "urn:fhir-facade:extension:cancellation-state"


class Blind(SourceAdapter):
    """A source in memory without a read; ``ends`` are what its cancels end in: an error, or None for done."""

    def __init__(self, *ends):
        self.ends = list(ends)
        self.writes = 0
        self.reads = 0

    def read(self, appointment_id):
        self.reads += 1
        raise NotExecuted(Cause.UNSUPPORTED, "there is no read")

    def cancel(self, request, current, permit):
        permit()
        self.writes += 1
        end = self.ends.pop(0) if self.ends else None
        if end is not None:
            raise end
        return {"id": request.appointment_id, "status": "cancelled"}


@pytest.fixture
def before(make):
    built = make().facade

    def build(adapter):
        source = built.sources["heim"]
        declared = replace(source.plugin, capabilities=Capabilities(read=Support.NONE))
        source = replace(source, adapter=adapter, plugin=declared)
        timers = Timers.for_response_within(40.0)
        facade = compose(built.config, {"heim": source}, built.ledger, timers, Shares())
        return FacadeClient(create_app(facade), facade)

    return build


def state(answer):
    (extension,) = (e for e in answer["extension"] if e["url"] == STATE)
    return extension["extension"][0]["valueCode"]


def row(client):
    return client.facade.ledger.find(("heim", "apt_1"))


def test_its_doubt_is_escalated_at_once_and_never_read(before):
    client = before(adapter := Blind(OutcomeUnknown(Cause.TIMEOUT)))
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert (row(client).state, row(client).read_due) == ("operator", None)
    assert [found.key for found in client.facade.ledger.in_states(["operator"])] == [("heim", "apt_1")]
    client.facade.cancellations.hint(client.facade.sources["heim"], "apt_1")
    assert not client.facade.reconciler.tick(client.facade.sources["heim"])
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert row(client).read_due is None
    assert (adapter.reads, adapter.writes) == (0, 1)


def test_the_agent_is_sent_to_the_operators_not_to_a_read(before):
    client = before(Blind(OutcomeUnknown(Cause.TIMEOUT)))
    for _ in range(2):
        text = client.cancel("apt_1").json["contained"][0]["issue"][0]["details"]["text"]
        assert "Ask the facade's operators" in text
        assert "Read the appointment again" not in text


def test_a_silent_owners_write_goes_to_an_operator_too(before, monkeypatch):
    client = before(Blind())

    class Killed(BaseException):
        pass

    def die(name):
        if name == "before-record":
            raise Killed

    monkeypatch.setattr(client.facade.ledger, "crash_point", die)
    with pytest.raises(Killed):
        client.cancel("apt_1")
    monkeypatch.undo()
    time = Time(client.facade.ledger.clock, monkeypatch)
    for time.passed in (0.0, 3600.0):
        client.facade.reconciler.tick(client.facade.sources["heim"])
    assert row(client).state == "operator"


def test_a_read_of_what_is_recorded_is_200_with_its_state(before):
    client = before(Blind(OutcomeUnknown(Cause.TIMEOUT), None))
    client.cancel("apt_1")
    response = client.read("apt_1")
    assert (response.status_code, response.json["status"], state(response.json)) == (200, "proposed", "operator")
    done = client.cancel("apt_2")
    response = client.read("apt_2")
    assert (response.json["status"], state(response.json)) == ("cancelled", "cancelled")
    assert response.json["cancelationReason"] == done.json["cancelationReason"]
    assert response.headers["ETag"] == done.headers["ETag"] == 'W/"1"'
    assert client.cancel("apt_2").data == done.data


def test_a_read_without_a_record_is_501_without_retry_after(before):
    response = before(Blind()).read("apt_1")
    assert response.status_code == 501
    assert response.json["issue"][0]["code"] == "not-supported"
    assert "Retry-After" not in response.headers
    assert "operators" in response.json["issue"][0]["details"]["text"]


def test_unavailable_after_the_permit_leaves_doubt(before):
    client = before(adapter := Blind(Unavailable("CANARY")))
    with capture_logs() as lines:
        response = client.cancel("apt_1")
    assert (response.status_code, response.json["status"]) == (200, "proposed")
    assert row(client).state == "operator"
    assert adapter.writes == 1
    assert "CANARY" not in str(lines)


@pytest.mark.parametrize(
    ("state", "by"),
    [
        ("in-doubt", "the reconciler"),
        ("in-doubt", "a repeat"),
        ("operator", "the reconciler"),
        ("operator", "a repeat"),
        ("not-applied", "the reconciler"),
    ],
)
def test_a_row_of_an_unreadable_source_leaves_the_schedule(before, state, by):
    client = before(adapter := Blind(OutcomeUnknown(Cause.TIMEOUT)))
    client.cancel("apt_1")
    seen = row(client)
    # As an older version, or the plugin before it declared this, has left it; migration 0002 does it to operators.
    values = {"state": state, "read_due": 0.0, "read_in": 0.0}
    assert client.facade.ledger.change(seen.key, {"state": "operator"}, values, JournalEntry(event="read", state=state))
    if by == "the reconciler":
        client.facade.reconciler.tick(client.facade.sources["heim"])
    else:
        assert client.cancel("apt_1").json["status"] == "proposed"
    expected = "not-applied" if state == "not-applied" else "operator"
    assert (row(client).state, row(client).read_due, row(client).read_in) == (expected, None, None)
    assert (adapter.reads, adapter.writes) == (0, 1)
