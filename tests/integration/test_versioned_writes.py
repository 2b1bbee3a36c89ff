"""A source that refuses a write for a version conflict: read again, write once more, and never a third time."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from facade import (
    Capabilities,
    NotExecuted,
    OutcomeUnknown,
    SourceAdapter,
    Support,
    VersionConflict,
    hl7_reasons,
    remaining,
)
from facade.app import compose
from facade.cancellation.budget import Budget
from facade.cancellation.timers import Timers
from facade.errors import Cause, Unavailable
from facade.fhir import concept_map, reasons
from facade.plugin.contract import Coding
from facade.web import create_app
from tests.conftest import FacadeClient
from tests.support.hang_detection import PATIENT
from tests.support.waiting import LIMIT, eventually


class Versioned(SourceAdapter):
    """A source in memory; ``changes`` happen to the appointment just before the writes, one each."""

    def __init__(self, *changes):
        self.version, self.status = 1, "booked"
        self.changes = list(changes)
        self.writes = []

    def read(self, appointment_id):
        return {"id": appointment_id, "status": self.status, "meta": {"versionId": str(self.version)}}

    def cancel(self, request, current, permit):
        permit()
        if self.changes:
            self.status = self.changes.pop(0)
            self.version += 1
        self.writes.append(current["meta"]["versionId"])
        if current["meta"]["versionId"] != str(self.version):
            raise VersionConflict("HTTP 412")
        self.status = "cancelled"
        return self.read(request.appointment_id)


@pytest.fixture
def before(make):
    """A facade in front of an adapter; what it can is declared unless said otherwise."""
    built = make().facade

    def build(adapter, capabilities=None, within=PATIENT):
        capabilities = capabilities or Capabilities(versioned_writes=Support.FULL)
        source = built.sources["heim"]
        source = replace(source, adapter=adapter, plugin=replace(source.plugin, capabilities=capabilities))
        timers = replace(Timers.for_response_within(within), send_guard=PATIENT)
        facade = compose(built.config, {"heim": source}, built.ledger, timers, Budget(within))
        return FacadeClient(create_app(facade), facade)

    return build


def events(client):
    return [line["event"] for line in client.facade.ledger.timeline(("heim", "apt_1"))]


def test_a_version_conflict_is_read_and_written_once_more(before):
    adapter = Versioned("arrived")
    client = before(adapter)
    answer = client.cancel("apt_1")
    assert answer.json["status"] == "cancelled"
    assert adapter.writes == ["1", "2"]
    assert events(client) == ["claim", "send", "version-conflict", "send", "proof"]
    assert client.facade.ledger.find(("heim", "apt_1")).attempt_number == 1


def test_a_waiting_client_gets_the_owners_response(before):
    class Gated(Versioned):
        def cancel(self, request, current, permit):
            if not self.writes:
                joined.wait(LIMIT)
            return super().cancel(request, current, permit)

    adapter, joined = Gated("arrived", "booked", "arrived"), threading.Event()
    client = before(adapter)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(client.cancel, "apt_1") for _ in range(4)]
        eventually(lambda: events(client).count("repeat") == 3)
        joined.set()
        given = [answer.result(LIMIT).json["status"] for answer in answers]
    assert given == ["proposed"] * 4
    assert len(adapter.writes) == 2
    assert events(client).count("claim") == 1


def test_a_foreign_cancel_meanwhile_needs_no_second_write(before):
    adapter = Versioned("cancelled")
    answer = before(adapter).cancel("apt_1")
    assert answer.json["status"] == "cancelled"
    assert adapter.writes == ["1"]


def test_there_is_no_third_write(before):
    adapter = Versioned("arrived", "booked", "arrived")
    client = before(adapter)
    answer = client.cancel("apt_1")
    assert answer.json["status"] == "proposed"
    assert answer.json["contained"][0]["issue"][0]["code"] == "conflict"
    assert len(adapter.writes) == 2
    assert client.facade.ledger.find(("heim", "apt_1")).state == "refused"


def test_of_a_source_without_versioned_writes_it_proves_nothing(before):
    adapter = Versioned("arrived")
    client = before(adapter, Capabilities())
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert adapter.writes == ["1"]
    assert client.facade.ledger.find(("heim", "apt_1")).state == "in-doubt"


def test_a_second_try_takes_a_permit_of_its_own(before):
    class Hasty(Versioned):
        def cancel(self, request, current, permit):
            permit()
            permit()

    client = before(Hasty())
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert events(client) == ["claim", "send", "not-executed"]


def test_too_little_time_for_a_second_write_means_none(before):
    class Slow(Versioned):
        def cancel(self, request, current, permit):
            permit()
            self.writes.append(current["meta"]["versionId"])
            threading.Event().wait(remaining() * 0.9)
            raise VersionConflict("HTTP 412")

    adapter = Slow()
    assert before(adapter, within=2.0).cancel("apt_1").json["status"] == "proposed"
    assert adapter.writes == ["1"]


def test_a_ledger_that_fails_in_between_stops_the_second_write(before, monkeypatch):
    adapter = Versioned("arrived")
    client = before(adapter)

    def fail(*_):
        raise Unavailable("gone")

    monkeypatch.setattr(client.facade.repository, "record_version_conflict", fail)
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert adapter.writes == ["1"]


def test_hl7_reasons_pass_through_unchanged_and_once():
    native = hl7_reasons()
    mapping = concept_map.load(native.concept_map, native, plugin="any", code_systems={}, fallback=None)
    assert mapping.to_native.keys() == reasons.hl7_codes().keys()
    for code in reasons.hl7_codes():
        asked = Coding(reasons.SYSTEM, code)
        sent = mapping.choose([asked])
        assert sent.code == code
        given = reasons.cancelation_reason([asked], "", sent, None, mapping)
        assert given == {"coding": [reasons.hl7_coding(code)]}
    assert mapping.choose([]).code == "other"


def test_a_version_conflict_is_not_executed():
    assert isinstance(VersionConflict(), NotExecuted)
    assert not isinstance(VersionConflict(), OutcomeUnknown)
    assert VersionConflict().cause is Cause.CONFLICT
