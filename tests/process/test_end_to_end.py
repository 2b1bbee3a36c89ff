"""A facade process in front of a sandbox process: the scheduler's own example, hostile paths, the commands, a stop."""

import contextlib
import json
import os
import sqlite3
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from facade_heim.simulator import HeimSimulator

from facade.testing.simulator.faults import Timings
from facade.testing.simulator.host import serve
from tests.conftest import KEY, SEED, remember
from tests.support.process import COMMAND, call, configuration, exchange, facade, sandbox
from tests.support.waiting import LIMIT, eventually

BASE = "/fhir/r4"
HEAD = f"Host: facade\r\nAuthorization: Bearer {KEY}\r\nConnection: close\r\n"
CANCEL = '{"resourceType": "Appointment", "status": "cancelled"}'
REASONS = "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason"
FHIR_JSON = b"Content-Type: application/fhir+json; fhirVersion=4.0; charset=utf-8"


class Heim:
    """The sandbox's Heim, through its control API."""

    def __init__(self, process):
        self.url = f"{process.url}/heim"
        self._control = f"{process.url}/_control"

    def reset(self):
        assert call("POST", f"{self._control}/reset", json={}).status_code == 200

    def log(self):
        return call("GET", f"{self._control}/heim/log").json()["entries"]

    def appointment(self, appointment_id):
        return call("GET", f"{self._control}/heim/appointments/{appointment_id}").json()


@pytest.fixture(scope="module")
def _sandbox():
    with sandbox() as process:
        yield Heim(process)


@pytest.fixture(scope="module")
def process(_sandbox, tmp_path_factory):
    """A facade whose FHIR routes are under a path, with one source."""
    path = configuration(tmp_path_factory.mktemp("facade"), _sandbox.url, facade=f'base_path = "{BASE}"')
    with facade(path) as found:
        found.ledger = path.parent / "var" / "facade.db"  # type: ignore[attr-defined]  # set or patched by the test
        yield found


@pytest.fixture
def heim(_sandbox, process):
    """As seeded, with an empty log, and forgotten by the facade."""
    _sandbox.reset()
    with contextlib.closing(sqlite3.connect(process.ledger)) as ledger, ledger:
        ledger.execute("DELETE FROM cancellations")
    return _sandbox


def send(process, method, path, body="", head=HEAD):
    """One raw request; the path as it is, and the guide's example byte for byte."""
    if body:
        head += f"Content-Type: application/fhir+json\r\nContent-Length: {len(body.encode())}\r\n"
    status, head, body = exchange(process.address, f"{method} {path} HTTP/1.1\r\n{head}\r\n{body}".encode("latin-1"))
    resource = json.loads(body)
    remember(resource)
    return status, head, resource


# The seed's exchange


@pytest.mark.parametrize("path", ["/Appointment/heim/1839594", "/Appointment/1839594"])
def test_the_guides_request_cancels_in_heim_and_returns_fhir(process, heim, path):
    status, head, answer = send(process, "POST", BASE + path, SEED)

    assert status == 200
    assert FHIR_JSON in head.split(b"\r\n")
    native = heim.appointment("1839594")
    number = native["patientId"].removeprefix("p_")
    assert {name: value for name, value in answer.items() if name not in {"extension", "start", "end"}} == {
        "resourceType": "Appointment",
        "id": "1839594",
        "meta": {"versionId": "1"},
        "identifier": [
            {"system": "urn:fhir-facade:source-system", "value": "heim"},
            {"use": "official", "system": "urn:fhir-facade:heim:Appointment", "value": "1839594"},
            {"system": "urn:fhir-facade:heim:externalReference", "value": f"EXT-{number}"},
        ],
        "status": "cancelled",
        "cancelationReason": {
            "coding": [
                {"system": REASONS, "code": "pat-mv", "display": "Patient: Moved"},
                {
                    "system": "urn:fhir-facade:heim:reasonCode",
                    "code": "patient_cancelled",
                    "display": "Patient cancelled",
                },
            ]
        },
        "serviceType": [{"coding": [{"system": "urn:fhir-facade:heim:task", "code": f"tsk_{number}"}]}],
        "appointmentType": {"coding": [{"system": "urn:fhir-facade:heim:appointmentType", "code": "standard"}]},
        "slot": [reference("Slot", f"win_{number}", f"x-.win.5f{number}")],
        "participant": [
            {"actor": reference("Patient", f"p_{number}", f"x-.p.5f{number}"), "status": "needs-action"},
            {"actor": reference("Practitioner", f"pr_{number}", f"x-.pr.5f{number}"), "status": "needs-action"},
        ],
    }
    assert [answer["start"], answer["end"]] == [
        native[name].replace("Z", "+00:00") for name in ("windowStart", "windowEnd")
    ]

    read, cancel = heim.log()
    assert (read["method"], read["path"]) == ("GET", "/v1/appointments/1839594")
    assert (cancel["method"], cancel["path"]) == ("POST", "/v1/appointments/1839594/cancel")
    assert cancel["body"] == native["cancellation"]
    assert cancel["body"] == {
        "note": "Patient: Moved",
        "causingEntity": "patient",
        "cancellingEntity": "organisation",
        "reasonCode": "patient_cancelled",
    }


def reference(kind, raw, encoded):
    return {
        "reference": f"{kind}/{encoded}",
        "type": kind,
        "identifier": {"system": f"urn:fhir-facade:heim:{kind}", "value": raw},
    }


def test_a_repeat_of_the_guides_request_sends_nothing_more(process, heim):
    first = send(process, "POST", f"{BASE}/Appointment/heim/1839594", SEED)
    again = send(process, "POST", f"{BASE}/Appointment/heim/1839594", SEED)
    assert (first[0], again[0]) == (200, 200)
    assert first[2]["status"] == again[2]["status"] == "cancelled"
    assert [entry["operation"] for entry in heim.log()].count("cancel") == 1


@pytest.mark.parametrize("path", ["/Appointment/heim/1839594", "/Appointment/1839594"])
def test_an_appointment_is_read_before_and_after_its_cancel(process, heim, path):
    status, head, before = send(process, "GET", BASE + path)
    assert (status, before["status"]) == (200, "booked")
    assert FHIR_JSON in head.split(b"\r\n")
    send(process, "POST", BASE + path, SEED)
    assert send(process, "GET", BASE + path)[2]["status"] == "cancelled"


def test_metadata_and_health_are_open_and_the_map_is_not(process):
    no_one = "Host: facade\r\nConnection: close\r\n"
    status, _, capabilities = send(process, "GET", f"{BASE}/metadata", head=no_one)
    assert (status, capabilities["fhirVersion"]) == (200, "4.0.1")
    assert send(process, "GET", f"{BASE}/ConceptMap/heim", head=no_one)[0] == 401
    status, _, mapping = send(process, "GET", f"{BASE}/ConceptMap/heim")
    assert (status, mapping["resourceType"]) == (200, "ConceptMap")
    for name in ("live", "ready"):
        assert exchange(process.address, f"GET /health/{name} HTTP/1.1\r\n{no_one}\r\n".encode())[0] == 200


@pytest.mark.parametrize("path", ["/metadata", "/ConceptMap/heim", "/Appointment/heim/1839594", "/Appointment/1839594"])
def test_a_fhir_route_outside_the_base_path_does_not_exist(process, heim, path):
    assert send(process, "GET", path)[0] == 404
    assert heim.log() == []


# Hostile paths

FOREIGN_IDS = [
    ".",
    "..",
    "%2e",
    "%2e%2e",
    "%2E%2E",
    ".%2e",
    "...",
    "%252e%252e",
    "a%2Fb",
    "a%2fb",
    "heim%2Fapt_1",
    "%2Fapt_1",
    "apt_1%2F",
    "apt_1%2F..%2Fapt_2",
    "a%00b",
    "apt_1%00",
    "a%0d%0aX",
    "apt_1%0a",
    "a%5Cb",
    "..\\apt_1",
    "a%20b",
    "apt_1%3Fx",
    "apt_1%23x",
    "apt_1;x=1",
    "%ff",
    "%c3%bc",
    "a" * 65,
    "_" * 25,  # its encoded form has 78 characters
    "x-." + ".5f" * 25,
    "x-.a.2fb",
    "x-.",  # of nothing
    "",
    "apt_1/",
    "/apt_1",
    "../heim/apt_1",
    "%2e%2e/heim/apt_1",
    "apt_1/..",
]


@pytest.mark.parametrize("route", [f"{BASE}/Appointment/heim/", f"{BASE}/Appointment/"])
@pytest.mark.parametrize("foreign", FOREIGN_IDS)
def test_an_impossible_id_is_404_and_no_byte_is_sent(process, heim, route, foreign):
    for method, body in (("GET", ""), ("POST", CANCEL)):
        status, _, outcome = send(process, method, route + foreign, body)
        assert status == 404
        assert outcome["resourceType"] == "OperationOutcome"
        assert outcome["issue"][0]["code"] == "not-found"
    assert heim.log() == []


FOREIGN_PATHS = [
    "//",
    f"/{BASE}/Appointment/heim/apt_1",
    f"{BASE}//Appointment/heim/apt_1",
    f"{BASE}/Appointment//heim/apt_1",
    f"{BASE}/Appointment/heim//apt_1",
    "/fhir/../fhir/r4/Appointment/heim/apt_1",
    "/fhir%2Fr4/Appointment/heim/apt_1",
]


@pytest.mark.parametrize("path", FOREIGN_PATHS)
def test_a_path_with_a_strange_segment_is_404_and_sends_nothing(process, heim, path):
    for method, body in (("GET", ""), ("POST", CANCEL)):
        status, _, outcome = send(process, method, path, body)
        assert status == 404
        assert outcome["resourceType"] == "OperationOutcome"
    assert heim.log() == []


@pytest.mark.parametrize("foreign", ["x-.zz", "x-..2e.2e", "x-.apt.5F1"])
def test_what_only_resembles_an_encoded_id_is_a_raw_id(process, heim, foreign):
    # No encoded form, but an id as Heim might have one: Heim is asked, under exactly this id, and sent nothing.
    for method, body in (("GET", ""), ("POST", CANCEL)):
        assert send(process, method, f"{BASE}/Appointment/heim/{foreign}", body)[0] == 404
    assert [(entry["method"], entry["path"]) for entry in heim.log()] == [("GET", f"/v1/appointments/{foreign}")] * 2


@pytest.mark.parametrize("path", ["apt_1\x00", "apt_1\x7f", "apt_\x01", "\xfc"])
def test_raw_bytes_outside_any_path_reach_no_source(process, heim, path):
    # The server's own parser refuses them, so there is no FHIR in the answer.
    request = f"POST {BASE}/Appointment/heim/{path} HTTP/1.1\r\n{HEAD}Content-Length: {len(CANCEL)}\r\n\r\n{CANCEL}"
    assert exchange(process.address, request.encode("latin-1"))[0] == 400
    assert heim.log() == []


CHUNKED = "Transfer-Encoding: chunked"


@pytest.mark.parametrize(
    ("header", "body"),
    [
        ("Content-Length: 1000", CANCEL),
        (CHUNKED, ""),
        (CHUNKED, "not a length\r\n"),
        (CHUNKED, "-1\r\n"),
        (CHUNKED, f"1000\r\n{CANCEL}"),
        (CHUNKED, f"{len(CANCEL):x}\r\n{CANCEL}and more"),
    ],
)
def test_a_body_that_breaks_off_is_400_and_sends_nothing(process, heim, header, body):
    head = f"{HEAD}Content-Type: application/fhir+json\r\n{header}\r\n"
    request = f"POST {BASE}/Appointment/heim/apt_1 HTTP/1.1\r\n{head}\r\n{body}"
    status, _, answer = exchange(process.address, request.encode())
    assert status == 400
    assert json.loads(answer)["resourceType"] == "OperationOutcome"
    assert heim.log() == []


# A stop


def test_a_stop_lets_the_cancel_in_flight_end_and_be_answered(tmp_path):
    with (
        serve({"heim": HeimSimulator()}, timings=Timings(silence=3.0)) as host,
        facade(configuration(tmp_path, host.source_url("heim"))) as process,
        ThreadPoolExecutor(1) as pool,
    ):
        log = host.simulators["heim"].log
        path = "/Appointment/heim/apt_timeout-after-commit"
        answer = pool.submit(process.call, "POST", path, data=CANCEL)
        eventually(lambda: log.count("cancel"))
        process.terminate()
        assert process.exit_code() == 0
        assert answer.result(LIMIT).status_code == 200
        assert answer.result(LIMIT).json()["status"] == "cancelled"
        assert log.count("cancel") == 1
        with pytest.raises(requests.ConnectionError):
            process.call("GET", "/health/live")


# facade cancel


def run(url, *arguments, key=KEY):
    return subprocess.run(
        [*COMMAND, "cancel", *arguments, "--url", url],
        env={**os.environ, "FACADE_CLIENT_KEY": key},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_facade_cancel_says_in_its_exit_code_what_became_of_it(process, heim):
    url = process.url + BASE
    no_one = "http://127.0.0.1:9"
    calls = {
        "cancelled": (url, "heim", "apt_1", "--reason", "pat-mv", "--note", "Moved to Leeds"),
        "proposed": (url, "heim", "apt_refused"),
        "unknown appointment": (url, "heim", "apt_no-such"),
        "unknown source": (url, "nowhere", "apt_1"),
        "no facade": (no_one, "heim", "apt_1"),
        "no FHIR there": (process.url, "heim", "apt_1"),
        "unknown reason": (url, "heim", "apt_2", "--reason", "nonsense"),
        "bare http": ("http://facade.example", "heim", "apt_2"),
        "no id": (url, "heim"),
    }
    with ThreadPoolExecutor(4) as pool:
        done = dict(zip(calls, pool.map(lambda arguments: run(*arguments), calls.values()), strict=True))

    assert {name: ended.returncode for name, ended in done.items()} == {
        "cancelled": 0,
        "proposed": 3,
        "unknown appointment": 1,
        "unknown source": 1,
        "no facade": 1,
        "no FHIR there": 1,
        "unknown reason": 2,
        "bare http": 2,
        "no id": 2,
    }
    for name, ended in done.items():
        assert ended.stdout or ended.stderr, name
        assert "Traceback" not in ended.stderr
        assert KEY not in ended.stdout + ended.stderr
    assert "cancelled   heim apt_1\n" in done["cancelled"].stdout
    assert "Patient: Moved (pat-mv)" in done["cancelled"].stdout
    assert "proposed    heim apt_refused\n" in done["proposed"].stdout
    assert "does not allow this cancellation" in done["proposed"].stdout
    assert "HTTP 404" in done["unknown appointment"].stdout
    assert "nonsense" in done["unknown reason"].stderr
    notes = {entry["appointment"]: entry["body"].get("note") for entry in heim.log() if entry["operation"] == "cancel"}
    assert notes == {"apt_1": "Moved to Leeds. Patient: Moved", "apt_refused": None}


def test_facade_cancel_json_prints_json_and_nothing_else(process, heim):
    url = process.url + BASE
    with ThreadPoolExecutor(3) as pool:
        cancelled, proposed, refused = pool.map(
            lambda arguments: run(url, "heim", *arguments, "--json"), [["apt_3"], ["apt_throttled"], ["apt_no-such"]]
        )
    for ended, status, code in ((cancelled, "cancelled", 0), (proposed, "proposed", 3)):
        answer = json.loads(ended.stdout)
        remember(answer)
        assert (answer["resourceType"], answer["status"], ended.returncode) == ("Appointment", status, code)
    assert (json.loads(refused.stdout)["resourceType"], refused.returncode) == ("OperationOutcome", 1)


def test_facade_cancel_with_an_unknown_key_shows_no_key(process, heim):
    done = run(process.url + BASE, "heim", "apt_4", key="CANARY-wrong-key")
    assert done.returncode == 1
    assert "HTTP 401" in done.stdout
    assert "CANARY" not in done.stdout + done.stderr
    assert heim.log() == []
