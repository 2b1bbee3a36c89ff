"""The fhir_r4 plugin against a FHIR server that no one here wrote: Medplum's engine, over a real socket."""

import json
import subprocess

import pytest
import requests

from facade.fhir import reasons
from tests.support.node import ENGINE, node
from tests.support.passthrough_diff import harm
from tests.support.process import call
from tests.support.recording_fhir_server import BY_TOKEN, SOURCE

APPOINTMENTS = {resource["id"]: resource for resource in json.loads((ENGINE / "appointments.json").read_text("utf-8"))}
MODES = pytest.mark.parametrize("mode", ["patch", "update"])
RICH = pytest.mark.parametrize("appointment_id", list(APPOINTMENTS))
MOVED = {
    "resourceType": "Appointment",
    "status": "cancelled",
    "cancelationReason": {"coding": [{"system": reasons.SYSTEM, "code": "pat-mv"}]},
}


class Engine:
    """The server, as its other clients see it."""

    def __init__(self, url):
        self.url = url

    def put(self, resource):
        answer = call("PUT", f"{self.url}/Appointment/{resource['id']}", json=resource)
        assert answer.status_code == 200, answer.text
        return self.held(resource["id"])

    def put_unchecked(self, resource):
        """As it may have been written before anything was validated."""
        assert requests.post(f"{self.url}/unchecked", json=resource, timeout=30).status_code == 201

    def held(self, appointment_id):
        return requests.get(f"{self.url}/Appointment/{appointment_id}", timeout=30).json()


@pytest.fixture(scope="module")
def _engine():
    executable = node()
    installed = json.loads((ENGINE / "node_modules/@medplum/fhir-router/package.json").read_text("utf-8"))
    assert installed["version"].split(".")[0] == "5"  # the one before takes PATCH whatever If-Match says
    with subprocess.Popen([executable, "server.mjs"], cwd=ENGINE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Engine(f"http://127.0.0.1:{int(process.stdout.readline())}")
        finally:
            process.terminate()


@pytest.fixture
def engine(_engine):
    """The server, with its appointments as they were first."""
    for resource in APPOINTMENTS.values():
        _engine.put(resource)
    return _engine


@pytest.fixture
def facade(make, engine, monkeypatch):
    """Build a facade in front of it."""
    monkeypatch.setenv("FHIR_TOKEN", "unused")

    def build(mode="patch", **edits):
        return make(more=SOURCE.format(url=engine.url, settings=f'{BY_TOKEN}mode = "{mode}"'), **edits)

    return build


def cancel(client, appointment_id):
    return client.cancel(appointment_id, MOVED, source="fhir")


@RICH
def test_a_read_passes_on_what_the_engine_holds(facade, engine, appointment_id):
    answer = facade().read(appointment_id, source="fhir").json
    held = engine.held(appointment_id)
    assert harm(held, answer) == []
    assert {name: answer.get(name) for name in ("status", "text")} == {n: held.get(n) for n in ("status", "text")}


@MODES
@RICH
def test_a_cancel_changes_status_and_reason_and_nothing_else(facade, engine, mode, appointment_id):
    before = engine.held(appointment_id)
    answer = cancel(facade(mode), appointment_id)
    assert (answer.status_code, answer.json["status"]) == (200, "cancelled")
    assert answer.json["cancelationReason"] == {"coding": [reasons.hl7_coding("pat-mv")]}
    assert "text" not in answer.json  # what it says, it says of a booked appointment
    held = engine.held(appointment_id)
    assert harm(held, answer.json) == []
    assert (held.pop("status"), held.pop("cancelationReason")["coding"]) == (
        "cancelled",
        [reasons.hl7_coding("pat-mv")],
    )
    before.pop("status")
    versions = held.pop("meta"), before.pop("meta")
    assert versions[0]["versionId"] != versions[1]["versionId"]
    assert held == before


def test_what_is_compared_would_be_missed(engine):
    held = engine.held("two-doctors")
    identifiers = [{}, {"use": "official"}]
    answer = {**held, "identifier": identifiers}
    assert harm(held, answer) == []
    nanoseconds = {**answer, "start": "2031-05-10T09:00:00.123457Z"}
    name = {**held["contained"][0], "name": [{**held["contained"][0]["name"][0], "given": ["First", "Third"]}]}
    contained = {**answer, "contained": [name, *held["contained"][1:]]}
    labels = {**answer, "meta": {}}
    assert [len(harm(held, wrong)) for wrong in (nanoseconds, contained, labels)] == [1, 1, 3]


@MODES
def test_a_change_before_the_write_is_written_once_more(facade, engine, mode, monkeypatch):
    client = facade(mode)
    adapter = client.facade.sources["fhir"].adapter
    write, edits = adapter._write, iter([{**APPOINTMENTS["scan-review"], "description": "Edited meanwhile"}])

    def edited_just_before(*args):
        for edit in edits:
            engine.put(edit)
            break
        return write(*args)

    monkeypatch.setattr(adapter, "_write", edited_just_before)
    answer = cancel(client, "scan-review").json
    assert (answer["status"], answer["description"]) == ("cancelled", "Edited meanwhile")
    assert engine.held("scan-review")["description"] == "Edited meanwhile"
    events = [line["event"] for line in client.facade.ledger.timeline(("fhir", "scan-review"))]
    assert events == ["claim", "send", "version-conflict", "send", "proof"]


@MODES
def test_a_second_cancel_gets_the_record_and_writes_nothing(facade, engine, mode):
    client = facade(mode)
    first = cancel(client, "scan-review")
    version = engine.held("scan-review")["meta"]["versionId"]
    assert cancel(client, "scan-review").data == first.data
    assert engine.held("scan-review")["meta"]["versionId"] == version


@MODES
def test_a_foreign_cancel_is_reported_and_writes_nothing(facade, engine, mode):
    reason = {"coding": [reasons.hl7_coding("prov-pers")], "text": "On leave"}
    engine.put({**APPOINTMENTS["scan-review"], "status": "cancelled", "cancelationReason": reason})
    version = engine.held("scan-review")["meta"]["versionId"]
    answer = cancel(facade(mode), "scan-review").json
    assert (answer["status"], answer["cancelationReason"]) == ("cancelled", reason)
    assert engine.held("scan-review")["meta"]["versionId"] == version


def test_an_id_the_engine_does_not_know_is_404(facade, engine):
    assert cancel(facade(), "no one").status_code == 404


@MODES
def test_what_the_engine_finds_invalid_is_refused(facade, engine, mode):
    engine.put_unchecked({**APPOINTMENTS["asked-for"], "id": "old", "participant": []})
    version = engine.held("old")["meta"]["versionId"]
    client = facade(mode)
    answer = cancel(client, "old").json
    assert answer["status"] == "proposed"
    assert answer["contained"][-1]["issue"][0]["code"] == "business-rule"
    assert engine.held("old")["meta"]["versionId"] == version
    assert client.facade.ledger.find(("fhir", "old")).state == "refused"
