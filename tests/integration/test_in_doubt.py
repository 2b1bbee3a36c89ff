"""How doubt is settled: the schedule, the settle window, and when it needs a person. Time is moved, not waited for."""

import itertools
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from facade.app import compose
from facade.cancellation import native
from facade.cancellation.in_doubt import Resolution, resolve_by_operator, undo_resolution
from facade.cancellation.stored_request import Requester as Who
from facade.cancellation.timers import HOUR, MINUTE, Timers
from facade.clock import Clock
from facade.fhir import chargeability
from facade.ledger.store import Ledger
from facade.plugin.contract import CancelRequest
from facade.testing.simulator.faults import FAULTS
from tests.support.hang_detection import PATIENT
from tests.support.waiting import eventually

DAYS = timedelta(days=30)


class Time:
    """The facade's clocks, moved together."""

    def __init__(self, clock, monkeypatch):
        self.passed = 0.0
        now, monotonic = clock.now, clock.monotonic
        monkeypatch.setattr(clock, "now", lambda: now() + self.passed)
        monkeypatch.setattr(clock, "monotonic", lambda: monotonic() + self.passed)


@pytest.fixture
def time(client, monkeypatch):
    return Time(client.facade.ledger.clock, monkeypatch)


@pytest.fixture
def doubt(client, simulator, time):
    """An appointment in doubt, far ahead; gives its row as it is now."""
    move_eta(simulator, DAYS)
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    return lambda: client.facade.ledger.find(("heim", "apt_1"))


def move_eta(simulator, ahead):
    eta = datetime.now(UTC) + ahead
    times = {"estimatedTimeOfArrival": eta.isoformat(), "windowStart": (eta + timedelta(hours=1)).isoformat()}
    simulator.patch("apt_1", {**times, "windowEnd": (eta + timedelta(hours=2)).isoformat()})


def reconcile_for(client, time, seconds, step=1.0):
    """Let the background run through so many seconds, in which it checks every ``step``."""
    source = client.facade.sources["heim"]
    ends_at = time.passed + seconds
    while time.passed < ends_at:
        time.passed += step
        while client.facade.reconciler.tick(source):
            pass


def reads(simulator):
    return simulator.log.count("read", "apt_1")


def test_doubt_is_read_into_after_1_2_5_15_and_60_seconds(client, simulator, time, doubt):
    begun = reads(simulator)
    seen = []
    for _ in range(100):
        reconcile_for(client, time, 1.0)
        seen.append(reads(simulator) - begun)
    # At 1, 3, 8, 23 and 83 s, a tenth more or less each.
    assert [seen[n] for n in (1, 4, 10, 27, 93)] == [1, 2, 3, 4, 5]
    assert doubt().state == "in-doubt"


def test_a_row_whose_read_ends_the_process_backs_off(client, simulator, time, doubt, monkeypatch):
    class Killed(BaseException):
        pass

    def die(name):
        if name == "after-take":
            raise Killed

    monkeypatch.setattr(client.facade.ledger, "crash_point", die)
    killed = 0
    for _ in range(2 * int(HOUR)):
        time.passed += 1.0
        try:
            client.facade.reconciler.tick(client.facade.sources["heim"])
        except Killed:
            killed += 1
    # Each time the next worker would die of it too: after 30 s at the least, and then further and further apart.
    assert 5 <= killed <= 12
    assert doubt().read_step == killed
    assert doubt().state == "in-doubt"


def test_a_clients_own_read_leaves_the_schedule_alone(client, time, doubt):
    before = doubt()
    for _ in range(3):
        assert client.cancel("apt_1").json["status"] == "proposed"
    assert (doubt().read_due, doubt().read_step) == (before.read_due, before.read_step)
    assert doubt().negative_reads == before.negative_reads + 3


def test_not_applied_takes_the_window_and_three_negative_reads(client, simulator, time, doubt):
    reconcile_for(client, time, 14 * MINUTE, step=5.0)
    assert doubt().state == "in-doubt"
    reconcile_for(client, time, 2 * MINUTE, step=5.0)
    assert doubt().state == "not-applied"
    assert doubt().negative_reads >= 3
    assert simulator.log.count("cancel") == 1
    assert client.cancel("apt_1").json["status"] == "cancelled"
    assert simulator.log.count("cancel") == 2


def test_the_settle_window_is_the_sources_own(make, simulator, monkeypatch):
    client = make(settings="settle_window = 60")
    time = Time(client.facade.ledger.clock, monkeypatch)
    move_eta(simulator, DAYS)
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    reconcile_for(client, time, 90.0)
    assert client.facade.ledger.find(("heim", "apt_1")).state == "not-applied"


@pytest.mark.parametrize("applied_late", [False, True])
@pytest.mark.parametrize("window", [1, 60, 900, 3000])
def test_doubt_settles_within_its_documented_bound(make, simulator, monkeypatch, window, applied_late):
    """With a source that can be read, and a reconciler that is not interrupted: docs/concepts/at-most-once.md."""
    client = make(settings=f"settle_window = {window}")
    time = Time(client.facade.ledger.clock, monkeypatch)
    move_eta(simulator, DAYS)
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    intervals = [1.1 * seconds for seconds in Timers.for_response_within(8.0).reads]  # each is a tenth longer at most
    reads_until = list(itertools.accumulate(seconds / 1.1 * 0.9 for seconds in intervals))
    after = next(at for at, seconds in enumerate(reads_until) if seconds >= window)  # surely after the window
    interval = intervals[max(after, 2)]
    if applied_late:
        reconcile_for(client, time, window - 1.0)
        simulator.patch("apt_1", {"status": "cancelled"})
    # The third read is after 8 seconds, however short the window is.
    bound = client.facade.config.answer_within + max(window, sum(intervals[:2])) + interval
    reconcile_for(client, time, bound - time.passed)
    row = client.facade.ledger.find(("heim", "apt_1"))
    assert row.state == ("cancelled" if applied_late else "not-applied")
    assert simulator.log.count("cancel") == 1


@pytest.mark.parametrize("count", [2, 4])
def test_several_processes_settle_doubt_as_soon_as_one(make, simulator, monkeypatch, count):
    client = make(settings="settle_window = 900")
    facade = client.facade
    time = Time(facade.ledger.clock, monkeypatch)
    move_eta(simulator, DAYS)
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    timers = Timers.for_response_within(8.0)
    ledgers = [Ledger(facade.ledger.engine, clock=facade.ledger.clock) for _ in range(count)]
    others = [compose(facade.config, facade.sources, ledger, timers) for ledger in ledgers]
    client.cancel("apt_1")
    bound = facade.config.answer_within + 900 + 1.1 * 900
    while time.passed < bound:
        time.passed += 5.0
        # The worst that can be: each read is taken by the one whose turn is longest ago.
        others.append(others.pop(0))
        for other in others:
            while other.reconciler.tick(other.sources["heim"]):
                pass
    assert facade.ledger.find(("heim", "apt_1")).state == "not-applied"


def test_a_clock_that_is_days_ahead_escalates_nothing(client, simulator, time, doubt):
    class Ahead(Clock):
        def now(self):
            return client.facade.ledger.clock.now() + 3.5 * 24 * HOUR

        def monotonic(self):
            return client.facade.ledger.clock.monotonic()

    facade = client.facade
    ledger = Ledger(facade.ledger.engine, clock=Ahead())
    other = compose(facade.config, facade.sources, ledger, Timers.for_response_within(8.0))
    for _ in range(20):
        time.passed += 5.0
        while other.reconciler.tick(other.sources["heim"]):
            pass
    assert doubt().state == "in-doubt"
    assert simulator.log.count("read", "apt_1") > 3


def test_a_source_is_read_after_a_thread_could_not_start(client, simulator, time, doubt, monkeypatch):
    reconciler = client.facade.reconciler
    start, failed = threading.Thread.start, []

    def once(self):
        if self.name.startswith("reconcile-") and not failed:
            failed.append(self.name)
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", once)
    time.passed += 2.0
    (row,) = client.facade.ledger.due()
    reconciler._start_probes("heim", [row])
    assert failed == ["reconcile-heim"]
    reconciler._start_probes("heim", [row])
    eventually(lambda: doubt().read_step == 1 and "heim" not in reconciler._busy)


def test_cancelled_that_a_reader_got_can_not_be_undone(client, simulator, doubt, monkeypatch):
    facade = client.facade
    simulator.patch("apt_1", {"status": "cancelled"})
    adapter = facade.sources["heim"].adapter
    read = adapter.read

    def resolved_meanwhile(appointment_id):
        found = read(appointment_id)
        if doubt().state == "in-doubt":
            assert resolve_by_operator(facade.repository, doubt(), Resolution("cancelled"), "by phone", "ann")
        return found

    monkeypatch.setattr(adapter, "read", resolved_meanwhile)
    assert client.read("apt_1").json["status"] == "cancelled"
    assert not undo_resolution(facade.repository, doubt(), "wrong", "ann", readable=True)
    assert client.cancel("apt_1").json["status"] == "cancelled"


def test_a_process_that_has_not_observed_the_window_waits(client, time, doubt, monkeypatch):
    at = client.facade.ledger.clock.monotonic()
    # The wall clock alone goes on: it has jumped.
    monkeypatch.setattr(client.facade.ledger.clock, "monotonic", lambda: at)
    reconcile_for(client, time, 3 * HOUR, step=MINUTE)
    assert doubt().negative_reads > 3
    assert doubt().state == "in-doubt"


def test_a_new_attempts_doubt_is_watched_from_its_own_beginning(time, doubt, client):
    watch = client.facade.repository.observed
    first = doubt()
    watch.in_state(first)
    time.passed += HOUR
    assert watch.in_state(first) >= HOUR
    assert watch.in_state(replace(first, attempt_number=first.attempt_number + 1)) < HOUR
    assert watch.in_state(replace(first, negative_reads=2, changed_at=first.changed_at + 1)) >= HOUR


def test_failed_reads_are_no_negative_reads(client, simulator, time, doubt):
    simulator.faults.arm("apt_1", FAULTS["read-500"])
    reconcile_for(client, time, HOUR, step=MINUTE)
    assert (doubt().state, doubt().negative_reads) == ("in-doubt", 0)


def test_a_late_write_is_found(client, simulator, time, doubt):
    reconcile_for(client, time, 5 * MINUTE, step=5.0)
    simulator.patch("apt_1", {"status": "cancelled"})
    reconcile_for(client, time, 15 * MINUTE, step=5.0)
    assert doubt().state == "cancelled"
    assert client.cancel("apt_1").headers["ETag"] == 'W/"1"'


def test_doubt_close_to_the_eta_goes_to_an_operator(client, simulator, time):
    move_eta(simulator, timedelta(hours=25))
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    client.cancel("apt_1")
    reconcile_for(client, time, 2 * MINUTE)  # a process trusts its wall clock once it has gone on for a minute
    ledger = client.facade.ledger
    assert ledger.find(("heim", "apt_1")).state == "operator"
    assert client.cancel("apt_1").json["status"] == "proposed"
    reconcile_for(client, time, HOUR, step=MINUTE)
    assert ledger.find(("heim", "apt_1")).state == "operator"
    simulator.patch("apt_1", {"status": "cancelled"})
    reconcile_for(client, time, 2 * HOUR, step=MINUTE)
    assert ledger.find(("heim", "apt_1")).state == "cancelled"
    assert simulator.log.count("cancel") == 1


@pytest.mark.parametrize("form", ["an instant", "a date", "no time"])
def test_an_eta_that_cannot_be_used_is_near(client, simulator, time, form):
    eta = datetime.now(UTC) + (timedelta(hours=25) if form == "an instant" else DAYS)
    stated = {"an instant": eta.isoformat(), "a date": f"{eta:%Y-%m-%d}", "no time": "soon"}
    move_eta(simulator, DAYS)
    simulator.patch("apt_1", {"estimatedTimeOfArrival": stated[form]})
    simulator.faults.arm("apt_1", FAULTS["reset-before-commit"], times=1)
    answer = client.cancel("apt_1").json
    (extension,) = (e for e in answer["extension"] if e["url"] == chargeability.EXTENSION)
    assert extension["extension"][0]["valueBoolean"] is (form != "an instant")
    reconcile_for(client, time, 2 * MINUTE)
    assert client.facade.ledger.find(("heim", "apt_1")).state == "operator"


@pytest.mark.parametrize(
    ("extension", "limit"),
    [
        ([chargeability.chargeability(may_be=True, eta="2026-12-01T09:00:00Z")], 1796115600.0),
        ([chargeability.chargeability(may_be=False, eta="2026-12-01T09:00:00Z")], 1796115600.0),
        ([chargeability.chargeability(may_be=True, eta="2026-12-01")], native.ETA_OVER),
        ([chargeability.chargeability(may_be=True, eta=None)], native.ETA_OVER),
        ([chargeability.chargeability(may_be=False, eta=None)], None),
        ([], None),
    ],
)
def test_the_eta_that_is_recorded(extension, limit):
    stated = native.checked({"resourceType": "Appointment", "id": "x", "extension": extension}, "x")
    assert native.times(stated)["charge_limit"] == limit


def test_after_24_hours_a_person_must_resolve(client, simulator, time, doubt):
    simulator.faults.arm("apt_1", FAULTS["read-500"])
    reconcile_for(client, time, 23 * HOUR, step=10 * MINUTE)
    assert doubt().state == "in-doubt"
    reconcile_for(client, time, 3 * HOUR, step=10 * MINUTE)
    assert doubt().state == "operator"


def test_a_harmful_repeat_makes_doubt_go_to_an_operator(client, simulator, time, doubt):
    source = client.facade.sources["heim"]
    harmful = replace(source, plugin=replace(source.plugin, repeat="harmful"))
    for _ in range(20 * 12):
        time.passed += 5.0
        while client.facade.reconciler.tick(harmful):
            pass
    assert doubt().state == "operator"


def test_a_silent_owners_write_is_doubt_and_its_claim_is_freed(client, simulator, time, monkeypatch):
    class Killed(BaseException):
        pass

    def at(point):
        def die(name):
            if name == point:
                raise Killed

        return die

    source = client.facade.sources["heim"]
    for appointment_id, point in (("apt_1", "after-claim"), ("apt_2", "before-record")):
        with monkeypatch.context() as patched:
            patched.setattr(client.facade.ledger, "crash_point", at(point))
            with pytest.raises(Killed):
                client.facade.cancellations.cancel(source, CancelRequest(appointment_id=appointment_id), Who("x"))
    reconcile_for(client, time, 1.2 * PATIENT)
    states = {row.appointment_id: row.state for row in client.facade.ledger.in_states(["refused", "cancelled"])}
    assert states == {"apt_1": "refused", "apt_2": "cancelled"}
    assert simulator.log.count("cancel") == 1
