"""The behaving Heim, every fault as a client sees it, and the control API; all over real sockets."""

import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import requests
from facade_fhir_r4.simulator import FhirR4Simulator
from facade_heim.simulator import HeimSimulator

from facade.errors import ConfigurationError
from facade.testing.simulator import BareSimulator
from facade.testing.simulator.faults import FAULTS, ArmedFaults, Behaviour, Chance, Commit, Timings
from facade.testing.simulator.host import SimulatorHost, serve
from facade.testing.simulator.native_records import renamed
from tests.support.paths import ROOT
from tests.support.waiting import LIMIT, eventually, join

KEY = {"Authorization": "test_simulator"}
CANCELLATION = {
    "note": "Unable to contact Patient on their mobile or by email",
    "causingEntity": "patient",
    "cancellingEntity": "organisation",
    "reasonCode": "patient_not_present",
}
LATE = 0.8
CANCEL_FAULTS = [name for name, fault in FAULTS.items() if fault.operation == "cancel"]
READ_FAULTS = [name for name, fault in FAULTS.items() if fault.operation == "read"]


@pytest.fixture(scope="module")
def running() -> Iterator[SimulatorHost]:
    with serve({"heim": HeimSimulator()}, timings=Timings(late_commit=LATE)) as host:
        yield host


@pytest.fixture
def host(running: SimulatorHost) -> SimulatorHost:
    running.clock.back_to_real_time()
    running.reset()
    return running


def heim(host: SimulatorHost, method: str, path: str, **kwargs: Any) -> requests.Response:
    kwargs = {"headers": KEY, "timeout": LIMIT, "allow_redirects": False} | kwargs
    return requests.request(method, f"{host.source_url('heim')}/v1/appointments/{path}", **kwargs)  # type: ignore[arg-type]  # a double, or known to be there


def cancel(host: SimulatorHost, appointment_id: str, **kwargs: Any) -> requests.Response:
    return heim(host, "POST", f"{appointment_id}/cancel", **{"json": CANCELLATION} | kwargs)


def control(host: SimulatorHost, method: str, path: str, **kwargs: Any) -> Any:
    if method == "POST":
        kwargs.setdefault("json", {})
    response = requests.request(method, f"{host.url}/_control{path}", timeout=LIMIT, **kwargs)
    assert response.status_code == 200, response.text
    return response.json()


def native(host: SimulatorHost, appointment_id: str) -> dict[str, Any]:
    return control(host, "GET", f"/heim/appointments/{appointment_id}")


def error_of(response: requests.Response) -> tuple[int, str]:
    body = response.json()
    assert body.keys() == {"error"}
    assert body["error"].keys() == {"code", "message"}
    return response.status_code, body["error"]["code"]


def address(host: SimulatorHost) -> tuple[str, int]:
    return "127.0.0.1", int(host.url.rsplit(":", 1)[1])


@contextmanager
def raw(host: SimulatorHost, method: str, path: str, body: bytes = b"") -> Iterator[socket.socket]:
    """A connection on which the request has been sent, and no answer read."""
    with closing(socket.create_connection(address(host), timeout=LIMIT)) as connection:
        head = f"{method} /heim/v1/appointments/{path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: test_raw\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        yield connection


def read_all(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


# Heim itself


def test_an_appointment_is_read_in_the_default_shape(host: SimulatorHost) -> None:
    body = heim(host, "GET", "1839594").json()
    assert " ".join(body) == (
        "id status patientId practitionerId taskId windowId windowStart windowEnd estimatedTimeOfArrival "
        "appointmentType externalReference metadata data cancellation"
    )
    assert (body["id"], body["status"], body["cancellation"]) == ("1839594", "scheduled", None)
    eta = datetime.fromisoformat(body["estimatedTimeOfArrival"])
    assert eta > datetime.now(UTC) + timedelta(hours=48)
    assert body["windowStart"] < body["estimatedTimeOfArrival"] < body["windowEnd"]
    assert body["windowStart"].endswith("Z")


def test_a_cancel_happens_once_and_its_cancellation_can_be_read(host: SimulatorHost) -> None:
    assert error_of(heim(host, "GET", "apt_1/cancellation")) == (404, "not_found")
    answer = cancel(host, "apt_1")
    assert answer.status_code == 200
    assert (answer.json()["status"], answer.json()["cancellation"]) == ("cancelled", CANCELLATION)
    assert heim(host, "GET", "apt_1").json() == answer.json()
    assert heim(host, "GET", "apt_1/cancellation").json() == CANCELLATION
    assert error_of(cancel(host, "apt_1", json={**CANCELLATION, "note": "again"})) == (
        409,
        "already_cancelled",
    )
    assert heim(host, "GET", "apt_1/cancellation").json() == CANCELLATION


@pytest.mark.parametrize("key", ["", "Bearer test_simulator", "simulator", "test_", "test_a b"])
def test_only_a_bare_key_is_let_in(host: SimulatorHost, key: str) -> None:
    assert error_of(cancel(host, "apt_1", headers={"Authorization": key})) == (401, "unauthorized")
    assert native(host, "apt_1")["status"] == "scheduled"


def test_a_live_key_is_let_in_too(host: SimulatorHost) -> None:
    assert heim(host, "GET", "apt_1", headers={"Authorization": "live_simulator"}).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        {"note": 5},
        {"causingEntity": "no one"},
        {"cancellingEntity": "platform"},
        {"reasonCode": "pat-mv"},
        {"reasonCode": None},
        {"reasonCode": ["patient_unwell"]},
        {"appointmentId": "apt_1"},
    ],
)
def test_a_cancellation_that_is_not_documented_is_refused(host: SimulatorHost, change: dict[str, Any]) -> None:
    assert error_of(cancel(host, "apt_1", json=CANCELLATION | change)) == (400, "invalid_request")
    assert native(host, "apt_1")["status"] == "scheduled"


@pytest.mark.parametrize("body", [b"", b"not json", b"[]", b"\xff"])
def test_a_body_that_is_no_json_object_is_refused(host: SimulatorHost, body: bytes) -> None:
    headers = KEY | {"Content-Type": "application/json"}
    assert error_of(cancel(host, "apt_1", json=None, data=body, headers=headers)) == (400, "invalid_request")


def test_a_cancellation_needs_no_note(host: SimulatorHost) -> None:
    without = {name: value for name, value in CANCELLATION.items() if name != "note"}
    assert cancel(host, "apt_1", json=without).json()["cancellation"] == without


def test_bad_requests_are_answered_in_heims_shape(host: SimulatorHost) -> None:
    assert error_of(heim(host, "GET", "apt_no-such")) == (404, "not_found")
    assert error_of(cancel(host, "apt_no-such")) == (404, "not_found")
    assert error_of(cancel(host, "apt_completed")) == (422, "not_cancellable")
    assert error_of(heim(host, "GET", "apt_1/visits")) == (404, "not_found")
    assert error_of(heim(host, "GET", "/apt_1")) == (404, "not_found")
    wrong_method = heim(host, "PUT", "apt_1")
    assert error_of(wrong_method) == (405, "method_not_allowed")
    assert "GET" in wrong_method.headers["Allow"]


def test_the_seeds_cover_every_case(host: SimulatorHost) -> None:
    simulator = host.simulators["heim"]
    seeds = simulator.seeds(datetime(2026, 1, 1, tzinfo=UTC))
    assert {seed["status"] for seed in seeds.values()} == {
        *("scheduling", "scheduled", "completed", "cancelled", "on_hold")
    }
    assert {f"apt_{n}" for n in range(1, 10)} | {"1839594", "apt_scheduled"} < seeds.keys()
    assert all(seed["id"] == appointment_id for appointment_id, seed in seeds.items())
    assert seeds["apt_scheduling"].items() >= {"windowId": None, "windowStart": None, "practitionerId": None}.items()
    assert seeds["apt_cancelled"]["cancellation"]["reasonCode"] == "patient_unwell"
    assert seeds["apt_eta-in-2h"]["estimatedTimeOfArrival"] == "2026-01-01T02:00:00Z"
    assert seeds["apt_eta-in-25h"]["estimatedTimeOfArrival"] == "2026-01-02T01:00:00Z"
    assert seeds["apt_eta-passed"]["estimatedTimeOfArrival"] == "2025-12-31T23:00:00Z"
    assert "estimatedTimeOfArrival" not in seeds["apt_no-eta"]
    assert seeds["apt_local-time"]["windowStart"] == "2026-01-04T00:00:00"
    assert all("CANARY" in str(seed["data"]) and seed["metadata"] for seed in seeds.values())
    for member in ("patientId", "practitionerId", "taskId", "windowId"):
        ids = [seed[member] for seed in seeds.values() if seed[member]]
        assert len(ids) == len(set(ids))
    assert {name: simulator.fault_ids()[f"apt_{name}"].name for name in FAULTS} == {name: name for name in FAULTS}
    assert all(seeds[f"apt_{name}"]["status"] == "scheduled" for name in FAULTS)


def test_the_tutorial_names_every_member_of_a_bare_simulator() -> None:
    page = (ROOT / "docs" / "guides" / "write-a-source-plugin.md").read_text("utf-8")
    members = {name for name in vars(BareSimulator) if not name.startswith("_")} | set(vars(HeimSimulator()))
    for name in members - {"_appointments"}:
        assert re.search(rf"`(\w+\.)*{name}\b", page), name


# Faults


def test_the_fault_names_are_the_published_ones() -> None:
    assert " ".join(CANCEL_FAULTS) == (
        "timeout-before-commit timeout-after-commit reset-before-commit reset-after-commit 500-before-commit "
        "500-after-commit html-404 json-404 html-502 unauthorized refused throttled throttled-retry-after "
        "accepted-202 empty-200 html-200 garbage-200 other-json-200 unchanged-200 error-200 success-about-another "
        "cut-headers cut-body slow-drip endless answer-twice redirect late-commit"
    )
    assert " ".join(READ_FAULTS) == (
        "read-timeout read-reset read-500 read-html-404 read-json-404 read-html-502 read-unauthorized read-refused "
        "read-throttled read-throttled-retry-after read-accepted-202 read-empty-200 read-html-200 "
        "read-garbage-200 read-other-json-200 read-error-200 read-cut-headers read-cut-body read-slow-drip "
        "read-endless read-redirect"
    )


def observe(send: Callable[[], requests.Response]) -> str:
    """What the client sees, in a word."""
    try:
        response = send()
        kind = response.headers.get("Content-Type", "none").partition(";")[0]
    except requests.ReadTimeout:
        return "silence"
    except requests.exceptions.ChunkedEncodingError:
        return "cut body"
    except requests.ConnectionError as error:
        return "reset" if "reset by peer" in str(error) else str(error)
    return f"{response.status_code} {kind} {len(response.content)}"


SEEN = {
    Behaviour.SILENCE: "silence",
    Behaviour.RESET: "reset",
    Behaviour.SERVER_ERROR: r"500 text/plain \d+",
    Behaviour.HTML_404: r"404 text/html \d+",
    Behaviour.JSON_404: r"404 application/json \d+",
    Behaviour.HTML_502: r"502 text/html \d+",
    Behaviour.UNAUTHORIZED: r"401 application/json \d+",
    Behaviour.REFUSED: r"422 application/json \d+",
    Behaviour.THROTTLED: r"429 application/json \d+",
    Behaviour.THROTTLED_FOR: r"429 application/json \d+",
    Behaviour.ACCEPTED_202: "202 application/json 2",
    Behaviour.EMPTY_200: "200 application/json 0",
    Behaviour.HTML_200: r"200 text/html \d+",
    Behaviour.GARBAGE_200: r"200 application/json \d+",
    Behaviour.OTHER_JSON_200: r"200 application/json \d+",
    Behaviour.UNCHANGED_200: r"200 application/json \d+",
    Behaviour.ERROR_200: r"200 application/json \d+",
    Behaviour.ABOUT_ANOTHER: r"200 application/json \d+",
    Behaviour.CUT_HEADERS: "200 .* 0",
    Behaviour.CUT_BODY: "cut body",
    Behaviour.SLOW_DRIP: "silence",
    Behaviour.TWICE: r"200 application/json \d+",
    Behaviour.REDIRECT: "302 .*",
}
QUICK = [name for name, fault in FAULTS.items() if fault.behaviour is not Behaviour.ENDLESS]


@pytest.mark.parametrize("name", QUICK)
def test_a_seeded_fault_is_seen_and_commits_as_the_table_says(host: SimulatorHost, name: str) -> None:
    fault, appointment_id = FAULTS[name], f"apt_{name}"
    timeout = 0.1 if fault.behaviour in (Behaviour.SILENCE, Behaviour.SLOW_DRIP) else 5
    if fault.operation == "read":
        seen = observe(lambda: heim(host, "GET", appointment_id, timeout=timeout))
    else:
        seen = observe(lambda: cancel(host, appointment_id, timeout=timeout))
    eventually(lambda: bool(host.simulators["heim"].log.entries()))
    assert re.fullmatch(SEEN[fault.behaviour], seen)
    committed = fault.commit is Commit.YES
    assert native(host, appointment_id)["status"] == ("cancelled" if committed else "scheduled")
    assert fault.ends_in == ("cancelled" if committed else "proposed")
    log = control(host, "GET", f"/heim/log?appointment={appointment_id}")
    entry = log["entries"][0]
    assert (entry["operation"], entry["fault"], entry["changed"]) == (fault.operation, name, committed)
    assert (entry["status"] is None) == (fault.behaviour in (Behaviour.SILENCE, Behaviour.RESET))
    assert (log["cancels"], log["reads"]) == ((1, 0) if fault.operation == "cancel" else (0, 1))


@pytest.mark.parametrize("source", ["heim", "fhir_r4"])
def test_an_unchanged_appointment_is_shown_as_a_read_shows_it(source: str) -> None:
    simulators = {"heim": HeimSimulator(), "fhir_r4": FhirR4Simulator()}
    path = {"heim": "/v1/appointments/apt_unchanged-200", "fhir_r4": "/Appointment/apt-unchanged-200"}[source]
    write = {"heim": ("POST", f"{path}/cancel"), "fhir_r4": ("PATCH", path)}[source]
    headers = {"Authorization": {"heim": "test_key", "fhir_r4": "Bearer test_key"}[source]}
    with serve(simulators) as host:
        unread = requests.request(write[0], host.source_url(source) + write[1], headers=headers, json={}, timeout=LIMIT)
        read = requests.get(host.source_url(source) + path, headers=headers, timeout=LIMIT)
        after = requests.request(write[0], host.source_url(source) + write[1], headers=headers, json={}, timeout=LIMIT)
    assert unread.json() == after.json() == read.json()
    assert [after.headers.get(name) for name in ("Content-Type", "ETag")] == [
        read.headers.get(name) for name in ("Content-Type", "ETag")
    ]
    assert simulators[source].log.count("cancel") == 2
    assert not any(entry.changed for entry in simulators[source].log.entries())


@pytest.mark.parametrize(("name", "code"), [("unauthorized", 401), ("refused", 422), ("throttled", 429)])
def test_refusals_come_in_the_sources_own_shape(host: SimulatorHost, name: str, code: int) -> None:
    assert error_of(cancel(host, f"apt_{name}"))[0] == code
    assert error_of(heim(host, "GET", f"apt_read-{name}"))[0] == code


def test_a_fault_leaves_the_other_operation_alone(host: SimulatorHost) -> None:
    assert heim(host, "GET", "apt_500-after-commit").json()["status"] == "scheduled"
    assert cancel(host, "apt_500-after-commit").status_code == 500
    assert heim(host, "GET", "apt_500-after-commit").json()["status"] == "cancelled"
    assert cancel(host, "apt_read-500").json()["status"] == "cancelled"


def test_a_reset_is_a_tcp_reset_and_not_an_orderly_end(host: SimulatorHost) -> None:
    with raw(host, "GET", "apt_read-reset") as connection, pytest.raises(ConnectionResetError):
        connection.recv(1)


def test_cut_headers_end_inside_the_first_header(host: SimulatorHost) -> None:
    with raw(host, "GET", "apt_read-cut-headers") as connection:
        status_line, _, rest = read_all(connection).partition(b"\r\n")
    assert status_line == b"HTTP/1.1 200 OK"
    assert 0 < len(rest) <= 16
    assert b"\r\n" not in rest


def test_a_cut_body_ends_halfway(host: SimulatorHost) -> None:
    with raw(host, "GET", "apt_read-cut-body") as connection:
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    promised = int(re.search(rb"Content-Length: (\d+)", head)[1])
    assert len(body) == promised // 2


def test_a_slow_drip_begins_at_once_and_gives_a_byte_a_second(host: SimulatorHost) -> None:
    with raw(host, "GET", "apt_read-slow-drip") as connection:
        assert connection.recv(10) == b"H"
        began = time.monotonic()
        assert connection.recv(10) == b"T"
    assert time.monotonic() - began > 0.7


def test_a_drip_that_is_waited_for_is_the_whole_true_answer() -> None:
    quick = Timings(drip=0.0)
    with serve({"heim": HeimSimulator()}, timings=quick) as host:
        assert heim(host, "GET", "apt_read-slow-drip", timeout=LIMIT).json()["id"] == "apt_read-slow-drip"
        assert cancel(host, "apt_slow-drip", timeout=LIMIT).json()["status"] == "cancelled"


@pytest.mark.parametrize("name", ["endless", "read-endless"])
def test_an_endless_body_goes_far_past_any_cap(host: SimulatorHost, name: str) -> None:
    method, path = ("GET", f"apt_{name}") if name.startswith("read") else ("POST", f"apt_{name}/cancel")
    with heim(host, method, path, json=CANCELLATION, stream=True) as answer:
        assert answer.status_code == 200
        received = 0
        for chunk in answer.iter_content(65536):
            received += len(chunk)
            if received > 2 * 1024 * 1024:
                break
    assert received > 2 * 1024 * 1024
    assert native(host, f"apt_{name}")["status"] == ("scheduled" if name == "read-endless" else "cancelled")


def test_a_redirect_leads_to_the_same_simulator_and_is_logged(host: SimulatorHost) -> None:
    answer = cancel(host, "apt_redirect")
    assert answer.headers["Location"] == "/heim/redirected"
    assert cancel(host, "apt_redirect", allow_redirects=True).status_code == 404
    assert [entry.path for entry in host.simulators["heim"].log.entries()][-1] == "/redirected"


def test_a_late_commit_is_applied_after_the_client_has_gone(host: SimulatorHost) -> None:
    assert observe(lambda: cancel(host, "apt_late-commit", timeout=0.1)) == "silence"
    log = host.simulators["heim"].log
    eventually(lambda: log.entries("apt_late-commit"))
    # By the log, because a slow machine may see the commit already.
    assert log.entries("apt_late-commit")[0].changed is False
    eventually(lambda: native(host, "apt_late-commit")["status"] == "cancelled")
    assert native(host, "apt_late-commit")["cancellation"] == CANCELLATION
    asked, applied = log.entries("apt_late-commit")
    assert (asked.operation, asked.changed, asked.method) == ("cancel", False, "POST")
    assert (applied.operation, applied.changed, applied.method) == ("late-commit", True, None)
    assert log.count("cancel", "apt_late-commit") == 1


def test_a_late_commit_does_not_outlive_a_reset(host: SimulatorHost) -> None:
    observe(lambda: cancel(host, "apt_late-commit", timeout=0.05))
    eventually(lambda: host.simulators["heim"].log.count("cancel") == 1)
    host.reset()
    sent_after = time.monotonic()
    observe(lambda: cancel(host, "apt_late-commit", timeout=0.05))
    eventually(lambda: native(host, "apt_late-commit")["status"] == "cancelled")
    assert time.monotonic() - sent_after >= LATE
    assert [entry.operation for entry in host.simulators["heim"].log.entries()] == ["cancel", "late-commit"]


def serving_threads() -> int:
    return sum("process_request_thread" in thread.name for thread in threading.enumerate())


def test_a_silence_ends_when_the_client_hangs_up(host: SimulatorHost) -> None:
    eventually(lambda: serving_threads() == 0)
    with raw(host, "GET", "apt_read-timeout"):
        eventually(lambda: serving_threads() == 1)
    eventually(lambda: serving_threads() == 0)


def test_a_silence_ends_at_its_latest_without_a_byte() -> None:
    with (
        serve({"heim": HeimSimulator()}, timings=Timings(silence=0.2)) as host,
        raw(host, "GET", "apt_read-timeout") as connection,
    ):
        assert read_all(connection) == b""


@pytest.mark.parametrize("name", ["read-timeout", "read-slow-drip", "read-endless"])
def test_a_hanging_request_does_not_keep_the_host_from_stopping(name: str) -> None:
    with ExitStack() as outliving:
        with serve({"heim": HeimSimulator()}, timings=Timings(silence=1000, drip=1000)) as host:
            connection = outliving.enter_context(raw(host, "GET", f"apt_{name}"))
            eventually(lambda: bool(host.simulators["heim"].log.entries()))
            began = time.monotonic()
        assert time.monotonic() - began < LIMIT
        read_all(connection)  # comes to an end


@pytest.mark.parametrize("linger", [0, 5])
def test_a_request_that_breaks_off_is_logged_and_does_nothing(host: SimulatorHost, linger: int) -> None:
    with closing(socket.create_connection(address(host), timeout=LIMIT)) as connection:
        head = b"POST /heim/v1/appointments/apt_1/cancel HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        connection.sendall(head + b"Content-Length: 500\r\n\r\n{")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, linger))
    log = host.simulators["heim"].log
    eventually(lambda: log.count("cancel", "apt_1") == 1)
    assert (log.entries()[0].changed, log.entries()[0].status) == (False, None)


def test_of_many_cancels_at_once_one_changes_the_state(host: SimulatorHost) -> None:
    threads = [threading.Thread(target=cancel, args=(host, "apt_2"), kwargs={"timeout": LIMIT}) for _ in range(12)]
    for thread in threads:
        thread.start()
    join(*threads)
    entries = host.simulators["heim"].log.entries("apt_2")
    assert [entry.status for entry in entries] == [200] + [409] * 11
    assert [entry.changed for entry in entries] == [True] + [False] * 11
    numbers = [entry.number for entry in entries]
    assert numbers == list(range(numbers[0], numbers[0] + 12))


# By chance


def drawn(seed: int, share: float, count: int = 200) -> list[str]:
    faults = ArmedFaults()
    faults.chance = Chance(seed, share)
    taken = [faults.take(f"apt_{n % 5}", "cancel" if n % 2 else "read") for n in range(count)]
    return [fault.name if fault else "" for fault in taken]


def test_random_faults_are_the_same_for_the_same_seed() -> None:
    assert drawn(7, 0.5) == drawn(7, 0.5)
    assert drawn(7, 0.5) != drawn(8, 0.5)
    assert 60 < sum(map(bool, drawn(7, 0.5))) < 140
    assert not any(drawn(7, 0.0))
    assert all(FAULTS[name].operation == ("cancel" if n % 2 else "read") for n, name in enumerate(drawn(7, 1.0)))


def test_chance_draws_only_what_the_transport_can_show() -> None:
    chance = Chance(7, 1.0, frozenset({Behaviour.SILENCE}))
    drawn = {chance.draw("apt_1", "cancel", number) for number in range(50)}
    assert {fault.behaviour for fault in drawn if fault} == {Behaviour.SILENCE}
    assert Chance(7, 1.0, frozenset()).draw("apt_1", "read", 1) is None


def test_a_reset_restarts_the_seed_and_armed_faults_go_first() -> None:
    faults = ArmedFaults()
    faults.chance = Chance(7, 1.0)
    first = [faults.take("apt_1", "cancel") for _ in range(5)]
    faults.disarm()
    assert [faults.take("apt_1", "cancel") for _ in range(5)] == first
    faults.arm("apt_1", FAULTS["refused"], times=1)
    assert faults.take("apt_1", "cancel") is FAULTS["refused"]


# Copies


def test_a_copy_has_its_new_id_wherever_the_old_one_stood_alone() -> None:
    native = {"visit": 500001, "links": [{"self": "/visits/500001?x=500001"}], "note": "500001 steps", "rooms": 5000012}
    copied = {"visit": 7, "links": [{"self": "/visits/7?x=500001"}], "note": "500001 steps", "rooms": 5000012}
    assert renamed(native, "500001", "7") == copied
    assert renamed({"visit": 500001}, "500001", "a7") == {"visit": 500001}


# Control API


def test_moving_an_appointment_moves_its_instants_only(host: SimulatorHost) -> None:
    native = {
        "id": "2026-01-01",
        "day": "2026-01-01",
        "times": ["2026-01-01T10:00:00Z", {"precise": "2026-01-01T10:00:00.123456789+02:00"}],
        "local": "2026-01-01T10:00:00",
        "prose": "at 2026-01-01T10:00:00Z",
    }
    control(host, "PUT", "/heim/appointments/apt_x", json=native)
    moved = control(host, "POST", "/heim/appointments/apt_x/move", json={"seconds": -36001})
    assert moved == native | {
        "times": ["2025-12-31T23:59:59Z", {"precise": "2025-12-31T23:59:59.123456789+02:00"}],
        "local": "2025-12-31T23:59:59",
    }


def test_a_fault_strikes_as_often_as_it_was_armed_for(host: SimulatorHost) -> None:
    arm = {"appointment": "apt_1", "fault": "500-before-commit", "times": 2}
    armed = control(host, "POST", "/heim/faults", json=arm)
    assert armed["operation"] == "cancel"
    assert [cancel(host, "apt_1").status_code for _ in range(4)] == [500, 500, 200, 409]


def test_both_operations_can_be_armed_and_disarmed(host: SimulatorHost) -> None:
    for name in ("html-502", "read-html-404"):
        control(host, "POST", "/heim/faults", json={"appointment": "apt_1", "fault": name})
    assert [cancel(host, "apt_1").status_code for _ in range(2)] == [502, 502]
    assert heim(host, "GET", "apt_1").status_code == 404
    assert len(control(host, "GET", "/heim/faults")) == len(FAULTS) + 2
    assert len(control(host, "DELETE", "/heim/faults?appointment=apt_1")) == len(FAULTS)
    assert cancel(host, "apt_1").status_code == 200
    assert control(host, "DELETE", "/heim/faults") == []
    assert cancel(host, "apt_html-404").status_code == 200
    control(host, "POST", "/reset")
    assert len(control(host, "GET", "/heim/faults")) == len(FAULTS)


def test_the_share_of_requests_that_fail_by_chance_is_shown(host: SimulatorHost) -> None:
    faults = host.simulators["heim"].faults
    assert control(host, "GET", "/heim/chance") == {"share": 0}
    faults.chance = Chance(7, 0.2)
    try:
        assert control(host, "GET", "/heim/chance") == {"share": 0.2}
    finally:
        faults.chance = None


def test_appointments_are_put_edited_and_deleted_from_outside(host: SimulatorHost) -> None:
    control(host, "PUT", "/heim/appointments/apt_new", json={"id": "apt_new", "status": "scheduled"})
    assert heim(host, "GET", "apt_new").json() == {"id": "apt_new", "status": "scheduled"}
    cancel(host, "apt_new")
    edit = {"cancellation": {"causingEntity": "platform", "note": None}}
    edited = control(host, "PATCH", "/heim/appointments/apt_new", json=edit)
    assert edited == native(host, "apt_new") == heim(host, "GET", "apt_new").json()
    assert "note" not in edited["cancellation"]
    assert heim(host, "GET", "apt_new/cancellation").json()["causingEntity"] == "platform"
    control(host, "DELETE", "/heim/appointments/apt_new")
    assert heim(host, "GET", "apt_new").status_code == 404


def test_a_new_appointment_is_like_an_ordinary_seeded_one(host: SimulatorHost, monkeypatch: pytest.MonkeyPatch) -> None:
    now = datetime.now(UTC)
    monkeypatch.setattr(host.clock, "now", lambda: now)  # what is seeded depends on it
    host.reset()
    first = native(host, next(iter(host.simulators["heim"].fault_ids())))
    control(host, "DELETE", f"/heim/appointments/{first['id']}")
    made = [control(host, "POST", "/heim/appointments", json={}) for _ in range(2)]
    for new in made:
        assert re.fullmatch(r"apt_[0-9a-f]{16}", new["id"])
        assert new["appointment"] == native(host, new["id"]) == {**first, "id": new["id"]}
    assert made[0]["id"] != made[1]["id"]
    cancel(host, made[0]["id"])
    assert native(host, made[1]["id"])["status"] == "scheduled"


def test_a_copied_appointment_has_its_new_id_everywhere(host: SimulatorHost) -> None:
    record = {
        "id": "apt_1",
        "links": [{"self": "https://heim.example/v1/appointments/apt_1?full"}, {"other": "/appointments/apt_12"}],
        "note": "apt_1 is not an id here",
    }
    control(host, "PUT", "/heim/appointments/apt_1", json=record)
    copied = control(host, "POST", "/heim/appointments", json={"like": "apt_1", "id": "apt_2"})
    assert copied["appointment"] == native(host, "apt_2")
    assert native(host, "apt_2") == {
        "id": "apt_2",
        "links": [{"self": "https://heim.example/v1/appointments/apt_2?full"}, {"other": "/appointments/apt_12"}],
        "note": "apt_1 is not an id here",
    }
    assert native(host, "apt_1") == record


def test_the_log_keeps_every_request_and_the_native_call(host: SimulatorHost) -> None:
    heim(host, "GET", "apt_1")
    observe(lambda: cancel(host, "apt_reset-after-commit"))
    heim(host, "GET", "a%2Fb?x=1")
    log = control(host, "GET", "/heim/log")
    assert (log["cancels"], log["reads"]) == (1, 1)
    read, lost, other = log["entries"]
    assert (read["method"], read["path"], read["operation"]) == ("GET", "/v1/appointments/apt_1", "read")
    assert (read["appointment"], read["status"], read["fault"], read["body"]) == ("apt_1", 200, None, None)
    assert (lost["path"], lost["body"]) == ("/v1/appointments/apt_reset-after-commit/cancel", CANCELLATION)
    assert (other["path"], other["operation"], other["status"]) == ("/v1/appointments/a%2Fb?x=1", None, 404)
    assert read["number"] < lost["number"] < other["number"]
    assert datetime.fromisoformat(read["time"]) <= datetime.fromisoformat(other["time"])
    assert "test_simulator" not in str(log)
    assert control(host, "DELETE", "/heim/log") == {"cancels": 0, "reads": 0, "entries": []}


def test_the_log_keeps_a_hostile_path_as_it_was_sent(host: SimulatorHost) -> None:
    with raw(host, "GET", "../%2e%2e/x") as connection:
        assert b" 404 " in read_all(connection)
    entry = host.simulators["heim"].log.entries()[0]
    assert (entry.path, entry.operation) == ("/v1/appointments/../%2e%2e/x", None)


def test_a_body_that_is_no_json_is_logged_as_text(host: SimulatorHost) -> None:
    cancel(host, "apt_1", json=None, data=b"note=\xff")
    assert host.simulators["heim"].log.entries()[0].body == "note=\ufffd"


def test_the_clock_is_set_moved_and_put_back(host: SimulatorHost) -> None:
    def now() -> datetime:
        return datetime.fromisoformat(control(host, "GET", "/time")["now"])

    assert abs(now() - datetime.now(UTC)) < timedelta(minutes=5)
    control(host, "PUT", "/time", json={"now": "2030-01-01T00:00:00Z"})
    control(host, "PUT", "/time", json={"advance": 3600})
    moved = datetime(2030, 1, 1, 1, tzinfo=UTC)
    assert timedelta() <= now() - moved < timedelta(minutes=5)
    control(host, "POST", "/reset")
    assert native(host, "apt_eta-in-2h")["estimatedTimeOfArrival"].startswith("2030-01-01T03:00:0")
    control(host, "PUT", "/time", json={})
    assert abs(now() - datetime.now(UTC)) < timedelta(minutes=5)


def test_the_fault_list_states_what_to_expect(host: SimulatorHost) -> None:
    faults = {fault["name"]: fault for fault in control(host, "GET", "/faults")}
    assert faults["reset-after-commit"] == {
        "name": "reset-after-commit",
        "operation": "cancel",
        "commits": "yes",
        "description": "The cancel is applied; the source resets the connection.",
        "endsIn": "cancelled",
    }
    assert faults["late-commit"]["commits"] == "late"
    assert all(fault["endsIn"] == "proposed" for name, fault in faults.items() if name.startswith("read-"))


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "words"),
    [
        ("GET", "/cerner/log", None, 404, ('"cerner"', "heim")),
        ("GET", "/heim/appointments/apt_x", None, 404, ('"apt_x"', "PUT /_control/heim/appointments/apt_x")),
        ("PATCH", "/heim/appointments/apt_x", {}, 404, ('"apt_x"', "PUT")),
        ("DELETE", "/heim/appointments/apt_x", None, 404, ('"apt_x"', "PUT")),
        ("PUT", "/heim/appointments/apt_x", [], 400, ("JSON object",)),
        ("PUT", "/heim/appointments/apt_x", None, 400, ("JSON object",)),
        ("POST", "/heim/appointments", {"like": "apt_x"}, 404, ('"apt_x"', "PUT")),
        ("POST", "/heim/appointments", {"like": 5}, 400, ('"like"', "5")),
        ("POST", "/heim/appointments", {"likes": "apt_1"}, 400, ('"like"', "likes")),
        ("POST", "/heim/faults", {"appointment": "apt_1", "fault": "fire"}, 400, ('"fire"', "html-404")),
        ("POST", "/heim/faults", {"appointment": "apt_x", "fault": "refused"}, 404, ('"apt_x"', "PUT")),
        ("POST", "/heim/faults", {"fault": "refused"}, 400, ("appointment",)),
        ("POST", "/heim/faults", {"appointment": "apt_1", "fault": "refused", "n": 1}, 400, ("times",)),
        (
            "POST",
            "/heim/faults",
            {"appointment": "apt_1", "fault": "refused", "times": 0},
            400,
            ("1 or more",),
        ),
        (
            "POST",
            "/heim/faults",
            {"appointment": "apt_1", "fault": "refused", "times": "2"},
            400,
            ("1 or more",),
        ),
        ("PUT", "/time", {"now": "yesterday"}, 400, ('"yesterday"', "Z")),
        ("PUT", "/time", {"now": "2026-01-01T00:00:00"}, 400, ("zone",)),
        ("PUT", "/time", {"now": "9999-01-01T00:00:00Z"}, 400, ("2999",)),
        ("PUT", "/time", {"advance": 1e30}, 400, ("2999",)),
        ("PUT", "/time", {"later": 5}, 400, ("later", "advance")),
        ("POST", "/time", {}, 405, ("/_control",)),
        ("GET", "/nothing", None, 404, ("/_control",)),
    ],
)
def test_a_control_error_names_the_thing_and_the_next_step(
    host: SimulatorHost, method: str, path: str, body: Any, status: int, words: tuple[str, ...]
) -> None:
    response = requests.request(method, f"{host.url}/_control{path}", json=body, timeout=LIMIT)
    assert response.status_code == status
    assert response.json().keys() == {"error"}
    for word in words:
        assert word in response.json()["error"]
    assert native(host, "apt_1")["status"] == "scheduled"


# Host


def test_one_process_serves_several_sources_apart() -> None:
    with serve({"heim-north": HeimSimulator(), "heim-test": HeimSimulator()}) as host:
        url = host.source_url("heim-north")
        assert requests.get(f"{url}/v1/appointments/apt_1", headers=KEY, timeout=LIMIT).status_code == 200
        assert host.simulators["heim-north"].log.count("read") == 1
        assert host.simulators["heim-test"].log.entries() == []
        assert requests.get(f"{host.url}/elsewhere", timeout=LIMIT).status_code == 404


def test_a_port_in_use_is_a_configuration_error(host: SimulatorHost) -> None:
    _, port = address(host)
    refused = pytest.raises(ConfigurationError, match=f"port {port}.*0 is any free port")
    with refused, serve({"heim": HeimSimulator()}, port=port):
        pass


def test_only_loopback_is_bound_by_default(host: SimulatorHost) -> None:
    assert host.url.startswith("http://127.0.0.1:")
