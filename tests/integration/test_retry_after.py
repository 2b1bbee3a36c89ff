"""A source that says how long it wants to be left alone is heard: by readers, and by the reads after doubt."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from facade_heim.simulator import HeimSimulator
from werkzeug.wrappers import Response

from facade import HttpResponse, NotExecuted, OutcomeUnknown, classify
from facade.cancellation.timers import HOUR, Timers
from facade.errors import MAX_RETRY_AFTER, AppointmentNotFound, Cause, Unavailable, VersionConflict
from facade.testing.simulator.faults import FAULTS, RETRY_AFTER, Behaviour
from facade.testing.simulator.host import serve
from tests.integration.test_in_doubt import Time
from tests.support.process import call

OUTCOME = '{"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "throttled"}]}'


def seconds_of(value):
    return HttpResponse(429, {"Retry-After": value}, b"").retry_after()


def test_seconds_and_dates_are_read():
    assert seconds_of("0") == 0.0
    assert seconds_of(" 120 ") == 120.0
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert seconds_of(in_an_hour) == pytest.approx(3600, abs=120)
    assert seconds_of("Sun Nov  6 08:49:37 1994") == 0.0
    assert HttpResponse(429, {}, b"").retry_after() is None


@pytest.mark.parametrize("value", ["", "soon", "-1", "1.5", "1e3", "٣", "Wed, 21 Oct 99999 07:28:00 GMT", "\x00"])
def test_what_is_neither_is_nothing(value):
    assert seconds_of(value) is None


def test_a_number_of_any_length_is_bounded():
    assert seconds_of("9" * 5000) < 1e10
    assert NotExecuted(Cause.THROTTLED, retry_after=1e12).retry_after == MAX_RETRY_AFTER
    assert OutcomeUnknown(Cause.THROTTLED, retry_after=-5).retry_after == 0.0
    assert VersionConflict(retry_after=2.0).retry_after == AppointmentNotFound(retry_after=2.0).retry_after == 2.0


@pytest.mark.parametrize(("status", "own"), [(429, True), (429, False), (503, False), (400, True), (403, True)])
def test_classify_gives_it_to_the_error(status, own):
    answer = HttpResponse(status, {"Retry-After": "7"}, b"{}")
    with pytest.raises((NotExecuted, OutcomeUnknown)) as raised:
        classify(answer, own_error=lambda _: own, throttles_before_execution=True)
    assert raised.value.retry_after == 7.0


def test_a_read_that_fails_has_retry_after(fhir_facade, fhir):
    fhir.canned["GET"] = Response(OUTCOME, 429, {"Retry-After": "1200"})
    response = fhir_facade().read("apt-1", source="fhir")
    assert (response.status_code, response.headers["Retry-After"]) == (503, "1200")
    assert Unavailable("x", retry_after=0.2).headers["Retry-After"] == "1"


def test_a_simulators_retry_after_reaches_the_client(client, fhir_facade):
    for asked in (
        client.read("apt_read-throttled-retry-after"),
        fhir_facade().read("apt-read-throttled-retry-after", source="fhir"),
    ):
        assert (asked.status_code, asked.headers["Retry-After"]) == (503, str(RETRY_AFTER))


def test_a_simulators_own_headers_replace_retry_after():
    class Cliniko(HeimSimulator):
        def refusal(self, answer):
            status, body, *_ = super().refusal(answer)
            return (
                (status, body, {"X-RateLimit-Reset": "1893456000"}) if answer is Behaviour.THROTTLED else (status, body)
            )

    for simulator, headers in ((Cliniko(), ("1893456000", None)), (HeimSimulator(), (None, str(RETRY_AFTER)))):
        with serve({"heim": simulator}) as host:
            for name in ("throttled-retry-after", "read-throttled-retry-after"):
                operation = "POST" if FAULTS[name].operation == "cancel" else "GET"
                path = f"/v1/appointments/apt_{name}" + ("/cancel" if operation == "POST" else "")
                answer = call(operation, host.source_url("heim") + path, headers={"Authorization": "test_key"}, json={})
                assert answer.status_code == 429
                assert (answer.headers.get("X-RateLimit-Reset"), answer.headers.get("Retry-After")) == headers


def test_a_throttled_cancel_delays_the_next_read_as_asked(client, simulator):
    """Heim does not say whether it throttles before it executes, so there is doubt, and the read is put off."""
    assert client.cancel("apt_throttled-retry-after").json["status"] == "proposed"
    row = client.facade.ledger.find(("heim", "apt_throttled-retry-after"))
    reads = [entry for entry in simulator.log.entries("apt_throttled-retry-after") if entry.operation == "read"]
    assert len(reads) == 1, row


def test_after_doubt_the_next_read_waits_as_long_as_asked(fhir_facade, fhir, monkeypatch):
    def reads():
        return fhir.methods().count("GET")

    client = fhir_facade()
    time = Time(client.facade.ledger.clock, monkeypatch)
    fhir.canned["PATCH"] = Response(OUTCOME, 503, {"Retry-After": "600"})
    assert client.cancel("apt-1", source="fhir").json["status"] == "proposed"
    assert reads() == 1  # before the write; the one after it would have been too soon
    source = client.facade.sources["fhir"]

    def pass_time(seconds):
        for _ in range(int(seconds)):
            time.passed += 1.0
            while client.facade.reconciler.tick(source):
                pass

    pass_time(590)
    assert reads() == 1
    fhir.canned["GET"] = Response(OUTCOME, 429, {"Retry-After": "1000"})
    pass_time(150)
    assert reads() == 2
    fhir.canned.clear()
    pass_time(800)
    assert reads() == 2
    pass_time(700)
    assert reads() > 2


def test_retry_after_delays_by_the_longest_step_at_most():
    assert Timers.for_response_within(8.0).read_after(0, MAX_RETRY_AFTER) <= 1.1 * HOUR
    assert Timers.for_response_within(8.0).read_after(0, None) <= 1.1


@pytest.mark.parametrize("jitter", [0.0, 0.5, 1.0])
@pytest.mark.parametrize("step", range(9))
@pytest.mark.parametrize("retry_after", [0.0, 0.5, 1.0, 20.0, 599.0, HOUR - 1, HOUR, HOUR + 1, MAX_RETRY_AFTER])
def test_no_read_comes_before_retry_after_allows(monkeypatch, jitter, step, retry_after):
    monkeypatch.setattr("random.uniform", lambda low, high: low + jitter * (high - low))
    assert min(retry_after, HOUR) <= Timers.for_response_within(8.0).read_after(step, retry_after) <= 1.1 * HOUR
