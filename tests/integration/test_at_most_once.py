"""What the ledger does for clients: one native call for all, the recorded answer, no call without a store."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from facade.cancellation.timers import Timers
from facade.errors import Cause, OutcomeUnknown, Unavailable
from facade.fhir import reasons
from facade.ledger.store import JournalEntry
from facade.testing.simulator.faults import FAULTS
from facade.testing.simulator.transport import FaultyTransport
from tests.integration.test_in_doubt import Time
from tests.support.stores import locked
from tests.support.waiting import LIMIT, eventually

CANCEL = {"resourceType": "Appointment", "status": "cancelled"}
STATE = "urn:fhir-facade:extension:cancellation-state"


def with_reason(code, **elements):
    reason = {"coding": [{"system": reasons.SYSTEM, "code": code}]}
    return {"resourceType": "Appointment", "status": "cancelled", "cancelationReason": reason, **elements}


def row(client, appointment_id="apt_1"):
    return client.facade.ledger.find(("heim", appointment_id))


def events(client, appointment_id="apt_1"):
    return [line["event"] for line in client.facade.ledger.timeline(("heim", appointment_id))]


def all_at_once(calls):
    start = threading.Barrier(len(calls), timeout=LIMIT)

    def run(call):
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(run, calls))


# Repeats and duplicates


def test_a_repeat_gets_the_recorded_response_byte_for_byte(client, simulator):
    first = client.cancel("apt_1", with_reason("prov"))
    calls = len(simulator.log.entries())
    repeat = client.cancel("apt_1", with_reason("pat-mv"))
    assert (repeat.status_code, repeat.data) == (200, first.data)
    assert repeat.headers["ETag"] == first.headers["ETag"] == 'W/"1"'
    assert len(simulator.log.entries()) == calls
    timeline = client.facade.ledger.timeline(("heim", "apt_1"))
    assert [line["event"] for line in timeline] == ["claim", "send", "proof", "repeat"]
    assert timeline[-1]["detail"] == {"codes": [[reasons.SYSTEM, "pat-mv"]]}


def test_another_status_once_cancelled_gets_the_record(client):
    first = client.cancel("apt_1")
    other = client.cancel("apt_1", {"resourceType": "Appointment", "status": "booked"})
    assert other.data == first.data


def test_a_stale_if_match_once_cancelled_gets_the_record(client):
    first = client.cancel("apt_1", headers={"If-Match": 'W/"0"'})
    assert client.cancel("apt_1", headers={"If-Match": 'W/"0"'}).data == first.data


@pytest.mark.parametrize("fault", ["", "timeout-after-commit", "reset-before-commit", "late-commit", "refused"])
def test_many_at_once_share_one_native_call_and_its_answer(client, simulator, fault, monkeypatch):
    if fault:
        simulator.faults.arm("apt_1", FAULTS[fault])
    # A late commit comes after all responses, however slow the machine is.
    all_have_responses, commit_late = threading.Event(), FaultyTransport._commit_late

    def commit_after_all(*arguments):
        all_have_responses.wait(LIMIT)
        commit_late(*arguments)

    monkeypatch.setattr(FaultyTransport, "_commit_late", commit_after_all)
    answers = all_at_once([lambda code=code: client.cancel("apt_1", with_reason(code)) for code in ("pat", "prov") * 4])
    all_have_responses.set()
    assert simulator.log.count("cancel") == 1
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json["status"] for answer in answers}) == 1
    if answers[0].json["status"] == "cancelled":
        assert len({answer.data for answer in answers}) == 1
    assert events(client).count("claim") == 1
    assert events(client).count("repeat") == 7


def test_after_a_refusal_a_new_request_is_a_new_attempt(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["refused"], times=1)
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert row(client).state == "refused"
    first = row(client).attempt_number
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert simulator.log.count("cancel") == 2
    assert row(client).attempt_number > first


def test_while_in_doubt_no_one_resends_and_a_read_settles_it(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert row(client).state == "in-doubt"
    assert client.cancel("apt_1").json["contained"][0]["issue"][0]["severity"] == "warning"
    simulator.patch("apt_1", {"status": "cancelled"})
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert simulator.log.count("cancel") == 1
    assert row(client).state == "cancelled"


def test_a_foreign_cancel_is_recorded_without_a_native_call(client, simulator):
    assert client.cancel("apt_cancelled").json["status"] == "cancelled"
    assert simulator.log.count("cancel") == 0
    assert client.facade.ledger.timeline(("heim", "apt_cancelled"))[-1]["detail"] == {"by": "another"}


def test_a_refusal_is_probed_for_a_foreign_cancel(client, simulator):
    original = simulator.operation

    def cancelled_meanwhile(method, path):
        if method == "POST":
            simulator.patch("apt_1", {"status": "cancelled"})
        return original(method, path)

    simulator.operation = cancelled_meanwhile
    simulator.faults.arm("apt_1", FAULTS["refused"])
    try:
        assert client.cancel("apt_1").json["status"] == "cancelled"
    finally:
        del simulator.operation


def test_a_failed_read_states_that_nothing_was_seen(client, simulator):
    simulator.patch("apt_1", {"status": "cancelled"})
    simulator.faults.arm("apt_1", FAULTS["read-500"])
    issue = client.cancel("apt_1").json["contained"][0]["issue"][0]
    assert issue["severity"] == "warning"
    assert "Another party may have cancelled it" in issue["details"]["text"]


def test_not_found_is_proposed_if_it_was_known_before(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["refused"], times=1)
    client.cancel("apt_1")
    simulator.remove("apt_1")
    answer = client.cancel("apt_1")
    assert (answer.status_code, answer.json["status"]) == (200, "proposed")
    assert client.cancel("apt_no-such").status_code == 404
    assert client.cancel("apt_no-such").status_code == 404


@pytest.mark.parametrize(
    "odd",
    [
        {"identifier": None},
        {"start": object()},
        {"cancelationReason": "x"},
        {"cancelationReason": {"coding": ["x"]}},
        {"contained": [{"resourceType": "Bogus"}]},
        {"extension": [{"valueString": "no url"}]},
        {"extension": "x"},
        {1: 2},
        {"slot": [{"reference": "Slot/\ud800"}]},
        {"resource_type": "Appointment"},
        {"start__ext": {}, "fhir_comments": ["x"]},
        {"slot": [{"reference": "Slot/a/b"}]},
    ],
)
def test_odd_evidence_is_evidence_all_the_same(client, monkeypatch, odd):
    adapter = client.facade.sources["heim"].adapter

    def cancel(request, current, permit):
        permit()
        return {"id": request.appointment_id, "status": "cancelled", **odd}

    monkeypatch.setattr(adapter, "cancel", cancel)
    answer = client.cancel("apt_1")
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")


def test_doubt_before_the_permit_was_taken_is_no_doubt(client, simulator, monkeypatch):
    def cancel(request, current, permit):
        raise OutcomeUnknown(Cause.TIMEOUT, "no token")

    monkeypatch.setattr(client.facade.sources["heim"].adapter, "cancel", cancel)
    assert client.cancel("apt_1").json["status"] == "proposed"
    assert row(client).state == "refused"


def test_duplicates_for_an_unknown_appointment_are_all_404(client):
    answers = all_at_once([lambda: client.cancel("apt_no-such")] * 4)
    assert {answer.status_code for answer in answers} == {404}


# The owner


def test_a_frozen_owner_does_not_send(client, simulator, monkeypatch):
    ledger = client.facade.ledger
    jumps = iter([0.0, 500.0])
    monkeypatch.setattr(ledger.clock, "monotonic", lambda: next(jumps))
    answer = client.cancel("apt_1")
    assert answer.json["status"] == "proposed"
    assert simulator.log.count("cancel") == 0
    assert row(client).state == "refused"


def test_an_owner_whose_claim_was_taken_over_does_not_send(client, simulator):
    source = client.facade.sources["heim"]
    read = source.adapter.read

    def slow_read(appointment_id):
        expected = {"state": "claimed"}
        client.facade.ledger.change(
            ("heim", appointment_id), expected, {"attempt_number": 9}, JournalEntry(event="claim")
        )
        return read(appointment_id)

    source.adapter.read = slow_read
    try:
        assert client.cancel("apt_1").json["status"] == "proposed"
    finally:
        del source.adapter.read
    assert simulator.log.count("cancel") == 0


def test_a_lost_owners_claim_is_taken_over_and_its_write_is_not(client, simulator, monkeypatch):
    ledger, base = client.facade.ledger, {"cancel_request": {}, "read_before": True}
    ledger.claim(("heim", "apt_1"), None, {**base, "state": "claimed"}, JournalEntry(event="claim"))
    sending = {**base, "state": "sending", "sending_at": time.time() - 60}
    ledger.claim(("heim", "apt_2"), None, sending, JournalEntry(event="claim"))
    client.facade.reconciler.tick(client.facade.sources["heim"])
    assert [row(client, name).state for name in ("apt_1", "apt_2")] == ["claimed", "sending"]
    Time(ledger.clock, monkeypatch).passed += 600.0
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert client.cancel("apt_2").json["status"] == "proposed"
    assert row(client, "apt_2").state == "in-doubt"
    assert simulator.log.count("cancel") == 1


# Without a store


def test_without_a_store_it_is_503_without_a_native_call(client, simulator):
    with locked(client.facade.ledger):
        answer = client.cancel("apt_1")
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) > 0
        assert simulator.log.count("cancel") == 0
        assert client.request("GET", "/health/ready", key=None).status_code == 503
        assert client.request("GET", "/health/live", key=None).status_code == 200
    assert client.request("GET", "/health/ready", key=None).status_code == 200
    assert client.cancel("apt_1").json["status"] == "cancelled"


def test_a_store_that_fails_before_the_write_stops_the_write(client, simulator, monkeypatch):
    def gone(*_, **__):
        raise Unavailable("gone")

    monkeypatch.setattr(client.facade.repository, "record_sending", gone)
    assert client.cancel("apt_1").status_code == 503
    assert simulator.log.count("cancel") == 0


def test_a_store_that_fails_after_the_write_means_proposed(client, simulator, monkeypatch):
    def gone(*_, **__):
        raise Unavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(client.facade.repository, "record_evidence", gone)
        assert client.cancel("apt_1").json["status"] == "proposed"
    assert simulator.get("apt_1")["status"] == "cancelled"
    assert row(client).state == "sending"


# Reading


def test_a_read_shows_the_recorded_state(client, simulator):
    assert STATE not in json.dumps(client.read("apt_1").json)
    client.cancel("apt_1")
    answer = client.read("apt_1")
    parts = {p["url"]: p for e in answer.json["extension"] if e["url"] == STATE for p in e["extension"]}
    assert parts["state"]["valueCode"] == "cancelled"
    assert answer.headers["ETag"] == 'W/"1"'


def test_a_read_of_a_down_source_gives_a_recorded_cancel(client, simulator):
    first = client.cancel("apt_1")
    simulator.faults.arm("apt_1", FAULTS["read-500"])
    assert client.read("apt_1").data == first.data
    simulator.faults.arm("apt_2", FAULTS["read-500"])
    assert client.read("apt_2").status_code == 503


def test_a_cancel_seen_by_a_read_is_recorded_for_a_request(client, simulator):
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    simulator.patch("apt_1", {"status": "cancelled"})
    assert client.read("apt_1").json["status"] == "cancelled"
    assert row(client).state == "cancelled"


def test_a_cancel_shown_to_a_reader_is_shown_to_later_readers(client, simulator):
    assert client.read("apt_cancelled").json["status"] == "cancelled"
    simulator.faults.arm("apt_cancelled", FAULTS["read-500"])
    answer = client.cancel("apt_cancelled")
    assert answer.json["status"] == "cancelled"
    assert [c["code"] for c in answer.json["cancelationReason"]["coding"]] == ["pat", "patient_unwell"]
    assert client.read("apt_cancelled").data == answer.data


# The clock


@pytest.mark.parametrize("seconds", [-7200.0, 7200.0])
def test_a_clock_that_jumps_causes_no_second_write(client, simulator, monkeypatch, seconds):
    simulator.faults.arm("apt_1", FAULTS["late-commit"], times=1)
    client.cancel("apt_1")
    clock = client.facade.ledger.clock
    now = clock.now
    monkeypatch.setattr(clock, "now", lambda: now() + seconds)
    for _ in range(5):
        client.cancel("apt_1")
        client.facade.reconciler.tick(client.facade.sources["heim"])
    assert simulator.log.count("cancel") == 1
    eventually(lambda: simulator.get("apt_1")["status"] == "cancelled")
    assert client.cancel("apt_1").json["status"] == "cancelled"


def test_the_timers_leave_room_for_the_longest_write():
    for answer_within in (6.0, 8.0, 60.0):
        timers = Timers.for_response_within(answer_within)
        assert timers.sending > answer_within * 4 / 8
        assert timers.lease > timers.sending
    assert (
        Timers.for_response_within(8.0).lease,
        Timers.for_response_within(8.0).sending,
        Timers.for_response_within(8.0).send_guard,
    ) == (10.0, 8.0, 1.0)
    assert Timers.for_response_within(8.0).reads == (1, 2, 5, 15, 60, 300, 900, 3600)
