"""Canaries in keys, patient data, notes and native errors, and a search for them in every log and answer."""

import json
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import pytest
from facade_heim.simulator import HeimSimulator

from facade.setting_fields import Secret
from facade.testing.simulator.faults import FAULTS
from facade.testing.simulator.host import serve
from tests.conftest import HEIM_KEY, KEY
from tests.support.process import configuration, exchange, facade
from tests.support.waiting import LIMIT, eventually

# CANARY may be neither in a log nor in an answer; PRIVATE in no log, but in the answer to one who may read it.
TEXT = "PRIVATE-text: she has a fever"
NOTE = "PRIVATE-comment: ring her at home"
# The simulator's own words, in JSON and in HTML: all that a real source might say to us.
NATIVE_WORDS = [
    "Internal Server Error",
    "Bad Gateway",
    "Please log in",
    "no such appointment",
    "<html",
    "already_cancelled",
]

CANCEL = {
    "resourceType": "Appointment",
    "status": "cancelled",
    "cancelationReason": {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason", "code": "pat-mv"},
            {"system": "urn:PRIVATE-system", "code": "PRIVATE-code", "display": "PRIVATE-display"},
        ],
        "text": TEXT,
    },
    "comment": NOTE,
    "description": "PRIVATE-description",
    "patientInstruction": "PRIVATE-instruction",
    "identifier": [{"system": "urn:PRIVATE-system", "value": "PRIVATE-identifier"}],
    "participant": [
        {"actor": {"reference": "Patient/PRIVATE-patient", "display": "PRIVATE-name"}, "status": "accepted"}
    ],
    "contained": [{"resourceType": "Patient", "id": "PRIVATE", "name": [{"family": "PRIVATE-family"}]}],
    "PRIVATE-element": "PRIVATE-value",
}

# What the simulator serves for some appointments, over what it has for all.
ODD = {
    "apt_1": {"status": "CANARY-status"},
    "apt_2": {"windowStart": "CANARY-time", "windowEnd": "CANARY-time", "estimatedTimeOfArrival": "CANARY-time"},
    "apt_3": {"appointmentType": "PRIVATE  not  a  code ", "taskId": {"CANARY": "CANARY"}, "patientId": ["CANARY"]},
    "apt_4": {"id": "CANARY-another"},
    "apt_5": {"status": "cancelled", "cancellation": {"reasonCode": "PRIVATE-reason", "note": "PRIVATE-note"}},
    "apt_6": {"externalReference": "PRIVATE reference"},
}


class LeakyHeim(HeimSimulator):
    """Mentions its patients wherever it can."""

    def seeds(self, now):
        private = {"patientName": "CANARY-name", "notes": ["CANARY-notes"], "address": {"line": "CANARY-address"}}
        return {
            name: {**native, **private, "patientId": f"p_PRIVATE-{name.removeprefix('apt_')}"[:40], **ODD.get(name, {})}
            for name, native in super().seeds(now).items()
        }

    def operation(self, method, path):
        found = super().operation(method, path)
        if found == ("cancel", "apt_8"):
            self.faults.arm("apt_8", FAULTS["reset-before-commit"])
            self.faults.arm("apt_8", FAULTS["read-reset"])  # so the read afterwards fails too
        return found

    def refusal(self, answer):
        status, *_ = super().refusal(answer)
        return status, {"error": {"code": "CANARY-code", "message": "CANARY-message", "patient": "CANARY-patient"}}


@dataclass
class Traffic:
    """Everything that came out of a facade process: its log, its answers, and what its source received."""

    log: str = ""
    answers: list[Any] = field(default_factory=list)  # what was asked, status, head and body as text
    received: list[Any] = field(default_factory=list)
    source: str = ""


def bad_requests():
    """What was asked → arguments of a request that is refused, each with a canary in it."""
    path = "/Appointment/heim/apt_9"

    def post(body=CANCEL, path=path, method="POST", **headers):
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {"method": method, "path": path, "data": data, "headers": named}

    return {
        "wrong key": post(Authorization="Bearer CANARY-wrong-key"),
        "basic": post(Authorization="Basic CANARY-credentials"),
        "no scheme": post(Authorization="CANARY-key"),
        "not JSON": post('{"CANARY": CANARY'),
        "not UTF-8": post(b'{"CANARY": "\xff"}'),
        "a member twice": post('{"CANARY": 1, "CANARY": 2}'),
        "NaN": post('{"CANARY": NaN}'),
        "a huge number": post('{"CANARY": ' + "9" * 100 + "}"),
        "half a surrogate": post('{"CANARY": "\\ud800"}'),
        "deep": post('{"CANARY":' * 70 + "1" + "}" * 70),
        "not an object": post('"CANARY"'),
        "no appointment": post({"resourceType": "CANARY"}),
        "another id": post({**CANCEL, "id": "CANARY-id"}),
        "no status of R4": post({**CANCEL, "status": "CANARY-status"}),
        "a wrong type": post({**CANCEL, "comment": {"CANARY": "CANARY"}}),
        "a wrong type deep inside": post({**CANCEL, "cancelationReason": {"coding": [{"code": {"CANARY": 1}}]}}),
        "a wrong type of a reason": post({**CANCEL, "cancelationReason": ["CANARY"]}),
        "a modifier": post({**CANCEL, "modifierExtension": [{"url": "urn:CANARY", "valueString": "CANARY"}]}),
        "rules": post({**CANCEL, "implicitRules": "urn:CANARY"}),
        "too large": post('{"comment": "' + "CANARY" * 50_000 + '"}'),
        "another type": post(Content_Type="text/CANARY"),
        "another charset": post(Content_Type="application/fhir+json; charset=CANARY"),
        "another format": post(Accept="application/CANARY"),
        "another _format": post(path=f"{path}?_format=CANARY"),
        "a malformed If-Match": post(If_Match="CANARY"),
        "a stale If-Match": post(If_Match='W/"CANARY"'),
        "a request id that is none": post(X_Request_Id="CANARY CANARY", Authorization="no"),
        "a correlation id that is none": post(X_Correlation_Id="CANARY CANARY", Authorization="no"),
        "a cookie": post(Cookie="CANARY=CANARY", Authorization="no"),
        "an unknown source": post(path="/Appointment/CANARY-source/apt_9"),
        "an unknown route": post(path="/CANARY/apt_9"),
        "an id of no source": post(path="/Appointment/heim/CANARY%20id"),
        "an unknown appointment": post(path="/Appointment/heim/CANARY-id"),
        "an encoded slash": post(path="/Appointment/heim/CANARY%2Fid"),
        "a query": post(path="/Appointment/heim/CANARY%20id?CANARY=CANARY"),
        "another method": post(method="PUT"),
        "a method of its own": post(method="CANARY"),
        "a concept map of nothing": post(path="/ConceptMap/CANARY", method="GET"),
    }


# What the server's own parser refuses, before there is a request.
NO_REQUESTS = {
    "a header without a colon": "POST /Appointment/heim/apt_9 HTTP/1.1\r\nAuthorization Bearer CANARY-key",
    "a header's name with a space": "POST /Appointment/heim/apt_9 HTTP/1.1\r\nCANARY : CANARY",
    "a header with a zero byte": "POST /Appointment/heim/apt_9 HTTP/1.1\r\nAuthorization: Bearer CANARY\0",
    "a folded header": "POST /Appointment/heim/apt_9 HTTP/1.1\r\nAuthorization: Bearer\r\n CANARY",
    "a header that is too long": f"POST /Appointment/heim/apt_9 HTTP/1.1\r\nAuthorization: {'CANARY' * 2000}",
    "a length that is none": "POST /Appointment/heim/apt_9 HTTP/1.1\r\nContent-Length: CANARY",
    "an unknown coding": "POST /Appointment/heim/apt_9 HTTP/1.1\r\nTransfer-Encoding: CANARY",
    "an unknown expectation": "POST /Appointment/heim/apt_9 HTTP/1.1\r\nExpect: CANARY",
    "a path that is not ASCII": "POST /Appointment/heim/CANARY\xfc HTTP/1.1",
    "a path that is too long": f"POST /Appointment/heim/{'CANARY' * 2000} HTTP/1.1",
    "a method that is none": "CANARY() /Appointment/heim/apt_9 HTTP/1.1",
    "a version that is none": "POST /Appointment/heim/apt_9 HTTP/CANARY",
    "no HTTP at all": "CANARY",
}
CHUNKS = f"POST /Appointment/heim/apt_9 HTTP/1.1\r\nAuthorization: Bearer {KEY}\r\nTransfer-Encoding: chunked"


@pytest.fixture(scope="module")
def traffic(tmp_path_factory):
    """Cancels and reads through every fault and every oddity, and bad requests, through one facade process."""
    with serve({"heim": LeakyHeim()}) as host:
        heim = host.simulators["heim"]
        found = Traffic(source=host.source_url("heim"))
        path = configuration(tmp_path_factory.mktemp("secrecy"), found.source, answer_within=20)
        with facade(path) as process, ThreadPoolExecutor(8) as pool:

            def ask(what, method, path, **kwargs):
                response = process.call(method, path, **kwargs)
                head = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
                return what, response.status_code, head, response.text

            def cancel(name):
                return ask(f"cancel {name}", "POST", f"/Appointment/heim/{name}", json=CANCEL)

            faulty = [f"apt_{name}" for name in FAULTS]
            odd = [*ODD, "apt_7", "apt_8", "apt_completed", "apt_cancelled"]
            reads = [f"apt_{name}" for name, fault in FAULTS.items() if fault.operation == "read"] + odd
            faulty.sort(key=lambda name: "timeout" not in name and "drip" not in name)  # these take their time
            cancels = [pool.submit(cancel, name) for name in faulty + odd]
            reading = [pool.submit(ask, f"read {name}", "GET", f"/Appointment/heim/{name}") for name in reads]
            found.answers += [future.result(LIMIT) for future in cancels + reading]
            found.answers += pool.map(cancel, odd)  # what was cancelled already
            found.received = heim.log.entries()
            found.answers += pool.map(lambda item: ask(item[0], **item[1]), bad_requests().items())
            found.answers.append(ask("metadata", "GET", "/metadata"))
            found.answers.append(ask("concept map", "GET", "/ConceptMap/heim"))
            for what, start in {**NO_REQUESTS, "no chunks": f"{CHUNKS}\r\nConnection: close"}.items():
                raw = f"{start}\r\n\r\nCANARY\r\n\r\n".encode("latin-1")
                status, head, body = exchange(process.address, raw)
                found.answers.append((what, status, head.decode("latin-1"), body.decode("latin-1")))
            process.terminate()
            assert process.exit_code() == 0
            found.log = process.log()
        yield found


def lines_with(log, words):
    return [line for line in log.splitlines() if any(word in line for word in words)]


def own_lines(log):
    return [line for line in log.splitlines() if line.startswith("{")]


def requests_in(log):
    return [line for line in map(json.loads, own_lines(log)) if line["event"] == "request"]


def test_the_traffic_is_what_it_should_be(traffic):
    # A test that searches nothing would pass.
    statuses = {what: status for what, status, _, _ in traffic.answers}
    assert {200, 400, 401, 404, 405, 406, 412, 413, 415, 422, 431, 503} <= set(statuses.values())
    assert [statuses[f"cancel apt_{name}"] for name in FAULTS] == [200] * len(FAULTS)
    refused = [name for name in bad_requests() if statuses[name] < 400]
    assert refused == ["a modifier", "rules"]  # 200 proposed
    assert all(400 <= statuses[name] < 600 for name in NO_REQUESTS)
    assert {"probe-failed", "native-elements-left-out", "source-refuses-credentials"} <= {
        json.loads(line)["event"] for line in own_lines(traffic.log)
    }
    assert len(requests_in(traffic.log)) >= len(traffic.answers) - len(NO_REQUESTS)


def test_no_line_of_the_log_holds_a_secret_or_patient_data(traffic):
    words = ["CANARY", "PRIVATE", KEY, HEIM_KEY, "apt_", "/v1/", traffic.source, *NATIVE_WORDS]
    assert lines_with("\n".join(own_lines(traffic.log)), words) == []


def test_what_the_servers_parser_refuses_stands_in_no_log(traffic):
    assert lines_with(traffic.log, ["CANARY", "PRIVATE", KEY, HEIM_KEY, "apt_"]) == []


def test_a_requests_line_has_known_members_only(traffic):
    known = (
        "method route status duration_ms client source outcome cause detail event request_id level timestamp".split()
    )
    for line in requests_in(traffic.log):
        assert line.keys() <= set(known)
        assert isinstance(line["duration_ms"], int)
        assert line["method"] in {"GET", "POST", "other"}


def test_no_response_holds_a_secret_or_a_native_error(traffic):
    keys = [KEY, HEIM_KEY]
    words = [*keys, "CANARY", "/v1/", traffic.source, traffic.source.removeprefix("http://"), *NATIVE_WORDS]
    for what, _, head, body in traffic.answers:
        # The server's parser reports to a client what it could not read; that was the client's own.
        sought = keys if what in NO_REQUESTS else words
        assert [word for word in sought if word in head + body] == [], what


def test_only_text_and_comment_of_a_request_reach_the_source(traffic):
    bodies = {entry.appointment: entry.body for entry in traffic.received if entry.operation == "cancel"}
    assert len(bodies) > 20
    for body in bodies.values():
        assert body["note"] == f"{TEXT}. {NOTE}. Patient: Moved. PRIVATE-display"
        assert {name: value for name, value in body.items() if name != "note"} == {
            "causingEntity": "patient",
            "cancellingEntity": "organisation",
            "reasonCode": "patient_cancelled",
        }


def test_a_cancelled_response_returns_the_clients_own_text(traffic):
    body = next(json.loads(body) for what, _, _, body in traffic.answers if what == "cancel apt_7")
    assert body["status"] == "cancelled"
    assert TEXT in body["cancelationReason"]["text"]


BROKEN = """
from facade import deadline
from facade.cancellation import results
from facade.cli import main
from facade_heim.adapter import HeimAdapter

def broken(*arguments, **options):
    raise RuntimeError("CANARY", arguments, options)

HeimAdapter.read = lambda self, appointment_id: broken(appointment_id) if appointment_id == "CANARY-1" else {
    "id": appointment_id, "status": "booked"}
HeimAdapter.cancel = broken
results.as_read = broken
main()
"""


def test_a_bug_shows_its_place_and_none_of_its_data(tmp_path):
    path = configuration(tmp_path, "http://127.0.0.1:9/v1")
    with facade(path, command=[sys.executable, "-c", BROKEN]) as process:
        in_read = process.call("POST", "/Appointment/heim/CANARY-1", json=CANCEL)
        in_cancel = process.call("POST", "/Appointment/heim/apt_2", json=CANCEL)
        in_facade = process.call("GET", "/Appointment/heim/apt_3")
        eventually(lambda: len(requests_in(process.log())) >= 3)
        log = process.log()
    assert [answer.json().get("status") for answer in (in_read, in_cancel)] == ["proposed", "proposed"]
    assert in_facade.status_code == 500
    for answer in (in_cancel, in_facade):
        assert "CANARY" not in answer.text
    assert lines_with(log, ["CANARY", "PRIVATE", "apt_"]) == []
    lines = [json.loads(line) for line in lines_with(log, ["RuntimeError"])]
    where = [line["where"] for line in lines if line["event"] != "request"]
    assert len(where) == 3
    assert all(places[-1].startswith("broken ") for places in where)


def test_a_secret_put_into_a_text_is_an_error_and_not_its_repr():
    for use in (str, "Bearer {}".format, lambda secret: f"{secret}"):
        with pytest.raises(TypeError, match="call its reveal"):
            use(Secret("CANARY"))
    assert repr(Secret("CANARY")) == "Secret()"
