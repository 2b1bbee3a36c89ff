"""The fhir_r4 plugin over HTTP and through the real use case: what is sent, what is believed, what is passed on."""

import json
import re
import tomllib
from pathlib import Path

import pytest
from facade_fhir_r4 import facade_source_plugin, translate
from facade_fhir_r4.adapter import FhirR4Adapter
from facade_fhir_r4.settings import FhirR4Settings
from structlog.testing import capture_logs
from werkzeug.wrappers import Response

from facade import CancelRequest, ConfigurationError, NativeReason, OutcomeUnknown, SourceConfig, config_reference
from facade.app import assemble
from facade.errors import Cause
from facade.fhir import reasons
from facade.testing.simulator.faults import FAULTS, Behaviour
from tests.support.keys import key_pair
from tests.support.passthrough_diff import harm
from tests.support.paths import ROOT
from tests.support.recording_fhir_server import BY_TOKEN, TOKEN

README = (Path(translate.__file__).parent / "README.md").read_text("utf-8")
UPDATE = 'mode = "update"\n'
MODES = pytest.mark.parametrize("mode", ["", UPDATE], ids=["patch", "update"])
MOVED = {
    "resourceType": "Appointment",
    "status": "cancelled",
    "cancelationReason": {"coding": [{"system": reasons.SYSTEM, "code": "pat-mv"}], "text": "Moved to another town"},
}
OUTCOME = json.dumps({"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": "processing"}]})
SLOW = {Behaviour.SILENCE, Behaviour.SLOW_DRIP, Behaviour.ENDLESS}


def cancel(client, appointment_id, body=MOVED):
    response = client.cancel(appointment_id, body, source="fhir")
    assert response.status_code == 200
    return response.json


def why(answer):
    (outcome,) = (c for c in answer["contained"] if c["resourceType"] == "OperationOutcome")
    return outcome["issue"][0]["code"]


def config(**settings):
    table = {"plugin": "fhir_r4", "base_url": "http://127.0.0.1:9", "token_env": "FHIR_TOKEN", **settings}
    return SourceConfig(plugin="fhir_r4", name="fhir", settings=FhirR4Settings().load(table))


def an_answer(body, status=200, **headers):
    return Response(body, status, {name.replace("_", "-"): value for name, value in headers.items()})


# What is sent


def test_a_cancel_patches_the_version_that_was_read(fhir_facade, fhir):
    fhir.patch("apt-1", {"comment": "edited"})
    answer = cancel(fhir_facade(), "apt-1")
    assert answer["status"] == "cancelled"
    (read, _, _), (write, headers, body) = fhir.received
    assert (read, write) == ("GET", "PATCH")
    assert headers["CONTENT_TYPE"] == "application/json-patch+json"
    assert headers["IF_MATCH"] == 'W/"2"'
    assert headers["ACCEPT"] == "application/fhir+json"
    assert headers["PREFER"] == "return=representation"
    assert headers["AUTHORIZATION"] == f"Bearer {TOKEN}"
    coding = {"system": reasons.SYSTEM, "code": "pat-mv", "display": "Patient: Moved"}
    assert json.loads(body) == [
        {"op": "replace", "path": "/status", "value": "cancelled"},
        {"op": "add", "path": "/cancelationReason", "value": {"coding": [coding]}},
    ]


def test_an_update_changes_status_and_reason_and_nothing_else(fhir_facade, fhir):
    before = fhir.get("apt-1")
    assert cancel(fhir_facade(UPDATE), "apt-1")["status"] == "cancelled"
    assert fhir.methods() == ["GET", "GET", "PUT"]
    _, headers, body = fhir.received[-1]
    assert (headers["CONTENT_TYPE"], headers["IF_MATCH"]) == ("application/fhir+json", 'W/"1"')
    sent = json.loads(body)
    assert sent["status"] == "cancelled"
    assert sent["cancelationReason"]["coding"][0]["code"] == "pat-mv"
    assert sent["cancelationReason"]["text"] == "Moved to another town. Patient: Moved"
    changed = {"status": "", "cancelationReason": ""}
    assert {**sent, **changed} == {**before, **changed}


def test_an_update_writes_numbers_back_digit_by_digit(fhir_facade, fhir):
    distance = '{"url": "urn:example:distance", "valueDecimal": 1.10}'
    text = json.dumps({**fhir.get("apt-1"), "extension": "EXTENSION"}).replace('"EXTENSION"', f"[{distance}]")
    fhir.canned["GET"] = an_answer(text.replace('"priority": 5', '"priority": 12345678901234567890'), ETag='W/"1"')
    cancel(fhir_facade(UPDATE), "apt-1")
    method, _, body = fhir.received[2]
    assert method == "PUT"
    assert b'"valueDecimal": 1.10}' in body
    assert b'"priority": 12345678901234567890,' in body


@pytest.mark.parametrize("code", list(reasons.hl7_codes()))
def test_each_hl7_code_goes_out_as_it_is(code):
    request = CancelRequest(appointment_id="a", native_reason=NativeReason(code))
    coding = reasons.hl7_coding(code)
    assert translate.to_patch(request)[1]["value"] == {"coding": [coding]}
    assert translate.to_update({"status": "booked"}, request) == {
        "status": "cancelled",
        "cancelationReason": {"coding": [coding]},
    }


@MODES
def test_a_reason_outside_hl7_is_other_and_keeps_its_text(fhir_facade, fhir, mode):
    body = {**MOVED, "cancelationReason": {"text": "The dog is ill"}}
    answer = cancel(fhir_facade(mode), "apt-1", body)
    assert [coding["code"] for coding in answer["cancelationReason"]["coding"]] == ["other"]
    assert answer["cancelationReason"]["text"] == "The dog is ill"
    held = fhir.get("apt-1")["cancelationReason"]
    assert held["coding"][0]["code"] == "other"
    assert held.get("text") == ("The dog is ill" if mode else None)


@MODES
@pytest.mark.parametrize(
    ("status", "taken"),
    [
        ("proposed", True),
        ("booked", True),
        ("arrived", True),
        ("checked-in", True),
        ("pending", False),
        ("waitlist", False),
        ("fulfilled", False),
        ("noshow", False),
    ],
)
def test_only_a_status_to_cancel_from_is_written_to(fhir_facade, fhir, mode, status, taken):
    answer = cancel(fhir_facade(mode), f"apt-{status}")
    assert answer["status"] == ("cancelled" if taken else "proposed")
    assert fhir.writes() == int(taken)
    if not taken:
        assert why(answer) == "business-rule"


def test_other_servers_statuses_and_extension_can_be_set(fhir_facade, fhir):
    client = fhir_facade('cancellable_statuses = ["waitlist"]\nis_cancelable_extension = "urn:example:is-cancelable"\n')
    fhir.patch("apt-waitlist", {"extension": [{"url": "urn:example:is-cancelable", "valueBoolean": False}]})
    assert cancel(client, "apt-booked")["status"] == "proposed"
    assert cancel(client, "apt-waitlist")["status"] == "proposed"
    assert fhir.writes() == 0
    fhir.patch("apt-waitlist", {"extension": [{"url": "urn:example:is-cancelable", "valueBoolean": True}]})
    assert why(cancel(client, "apt-waitlist")) == "business-rule"  # this server's own rule now
    assert fhir.writes() == 1


@MODES
def test_what_is_not_cancelable_is_refused_without_a_write(fhir_facade, fhir, mode):
    assert why(cancel(fhir_facade(mode), "apt-not-cancelable")) == "business-rule"
    assert fhir.writes() == 0


@MODES
def test_without_a_version_nothing_is_written(fhir_facade, fhir, mode):
    fhir.canned["GET"] = an_answer(json.dumps({**fhir.get("apt-1"), "meta": {}}))
    assert why(cancel(fhir_facade(mode), "apt-1")) == "processing"
    assert fhir.writes() == 0


@MODES
def test_a_cancelled_appointment_is_reported_and_not_written_to(fhir_facade, fhir, mode):
    answer = cancel(fhir_facade(mode), "apt-cancelled")
    assert answer["cancelationReason"] == fhir.get("apt-cancelled")["cancelationReason"]
    assert fhir.writes() == 0


def test_a_cancel_seen_by_an_updates_read_takes_no_permit(fhir_facade, fhir):
    client = fhir_facade(UPDATE)

    def cancelled_meanwhile():
        if len(fhir.received) == 2:
            fhir.patch("apt-1", {"status": "cancelled", "cancelationReason": {"text": "Rang the ward"}})

    fhir.before["GET"] = cancelled_meanwhile
    answer = cancel(client, "apt-1")
    assert answer["cancelationReason"]["text"] == "Rang the ward"
    assert fhir.writes() == 0
    events = [line["event"] for line in client.facade.ledger.timeline(("fhir", "apt-1"))]
    assert "send" not in events


# What is believed


def test_an_empty_200_is_proven_by_the_read_after_it(fhir_facade, fhir):
    assert cancel(fhir_facade(), "apt-empty-response")["status"] == "cancelled"
    assert fhir.methods() == ["GET", "PATCH", "GET"]


@MODES
def test_a_server_may_answer_every_write_emptily(fhir_facade, fhir, mode):
    fhir.empty_responses = True
    assert cancel(fhir_facade(mode), "apt-1")["status"] == "cancelled"
    assert fhir.writes() == 1


@pytest.mark.parametrize(
    "answer",
    [
        an_answer(OUTCOME),
        an_answer('{"resourceType": "Appointment", "id": "apt-2", "status": "cancelled"}'),
        an_answer('{"resourceType": "Appointment", "id": "apt-1", "status": "booked"}'),
        an_answer('{"resourceType": "Patient", "id": "apt-1", "status": "cancelled"}'),
        an_answer("<html>cancelled</html>"),
        an_answer("{}", 202),
        an_answer(OUTCOME, 423),
        an_answer(OUTCOME, 424),
        an_answer(OUTCOME, 429),
        an_answer(OUTCOME, 404),
        an_answer("<html>conflict</html>", 409),
    ],
    ids=lambda answer: f"{answer.status_code} {answer.get_data(as_text=True)[:40]}",
)
def test_an_unproven_cancel_is_read_and_never_resent(fhir_facade, fhir, answer):
    fhir.canned["PATCH"] = answer
    client = fhir_facade()
    narrative = cancel(client, "apt-1")
    assert narrative["status"] == "proposed"
    assert client.facade.ledger.find(("fhir", "apt-1")).state == "in-doubt"
    assert fhir.methods() == ["GET", "PATCH", "GET"]
    fhir.patch("apt-1", {"status": "cancelled"})
    assert cancel(client, "apt-1")["status"] == "cancelled"
    assert fhir.writes() == 1


@pytest.mark.parametrize("status", [200, 204])
def test_an_empty_response_to_no_change_proves_nothing(fhir_facade, fhir, status):
    fhir.canned["PATCH"] = an_answer("", status)
    client = fhir_facade()
    assert cancel(client, "apt-1")["status"] == "proposed"
    row = client.facade.ledger.find(("fhir", "apt-1"))
    assert (row.state, row.cause) == ("in-doubt", "unproven")


@pytest.mark.parametrize(("status", "issue"), [(400, "business-rule"), (403, "security"), (422, "business-rule")])
def test_a_refusal_in_an_operation_outcome_did_nothing(fhir_facade, fhir, status, issue):
    fhir.canned["PATCH"] = an_answer(OUTCOME, status)
    client = fhir_facade()
    assert why(cancel(client, "apt-1")) == issue
    assert client.facade.ledger.find(("fhir", "apt-1")).state == "refused"
    del fhir.canned["PATCH"]
    assert cancel(client, "apt-1")["status"] == "cancelled"


def test_a_locked_appointment_is_in_doubt_after_one_write(fhir_facade, fhir):
    assert why(cancel(fhir_facade(), "apt-locked")) == "conflict"
    assert fhir.writes() == 1


@pytest.mark.parametrize("appointment_id", ["apt-stale", "apt-stale-409"])
def test_a_version_conflict_is_read_again_and_written_once(fhir_facade, fhir, appointment_id):
    assert cancel(fhir_facade(), appointment_id)["status"] == "cancelled"
    statuses = [entry.status for entry in fhir.log.entries(appointment_id)]
    assert statuses == [200, 409 if "409" in appointment_id else 412, 200, 200]
    assert [headers["IF_MATCH"] for method, headers, _ in fhir.received if method == "PATCH"] == ['W/"1"', 'W/"2"']


@MODES
def test_a_strong_tag_is_sent_back_strong_and_never_shown(fhir_facade, fhir, mode):
    fhir.strong_tags = True
    answer = cancel(fhir_facade(mode), "apt-1")
    assert (answer["status"], answer["meta"]["versionId"]) == ("cancelled", "1")
    assert [headers["IF_MATCH"] for _, headers, _ in fhir.received if "IF_MATCH" in headers] == ['"1"']


@MODES
def test_a_stale_strong_tag_is_read_and_sent_once_more(fhir_facade, fhir, mode):
    fhir.strong_tags = True
    fhir.before["PUT" if mode else "PATCH"] = lambda: fhir.writes() or fhir.patch("apt-1", {"comment": "edited"})
    assert cancel(fhir_facade(mode), "apt-1")["status"] == "cancelled"
    assert [headers["IF_MATCH"] for _, headers, _ in fhir.received if "IF_MATCH" in headers] == ['"1"', '"2"']


def test_a_second_version_conflict_is_not_written_a_third_time(fhir_facade, fhir):
    assert why(cancel(fhir_facade(), "apt-stale-always")) == "conflict"
    assert fhir.writes() == 2


@MODES
@pytest.mark.parametrize("status", [409, 412])
def test_a_cancel_between_read_and_write_is_a_success(fhir_facade, fhir, mode, status):
    fhir.stale_status = status

    def cancelled_meanwhile():
        fhir.patch("apt-1", {"status": "cancelled", "cancelationReason": {"text": "Rang the ward"}})

    fhir.before["PUT" if mode else "PATCH"] = cancelled_meanwhile
    answer = cancel(fhir_facade(mode), "apt-1")
    assert (answer["status"], answer["cancelationReason"]) == ("cancelled", {"text": "Rang the ward"})
    assert fhir.writes() == 1


def test_a_412_in_any_shape_means_that_nothing_was_written(fhir_facade, fhir):
    fhir.canned["PATCH"] = an_answer("", 412)
    assert why(cancel(fhir_facade(), "apt-1")) == "conflict"
    assert fhir.writes() == 2


def test_an_unknown_appointment_is_404_and_so_is_a_deleted_one(fhir_facade, fhir):
    client = fhir_facade()
    assert client.cancel("apt-no one", source="fhir").status_code == 404
    fhir.canned["GET"] = an_answer(OUTCOME, 410)
    assert client.cancel("apt-1", source="fhir").status_code == 404
    fhir.canned["GET"] = an_answer("<html>gone</html>", 410)
    assert client.cancel("apt-2", source="fhir").json["status"] == "proposed"
    assert fhir.writes() == 0


@pytest.mark.parametrize("appointment_id", ["a_b", "a" * 65, "..", "a%2Fb", "a%3Fb"])
def test_an_id_that_fhir_cannot_have_reaches_no_server(fhir_facade, fhir, appointment_id):
    assert fhir_facade().cancel(appointment_id, source="fhir").status_code == 404
    assert fhir.log.entries() == []


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.behaviour not in SLOW])
def test_every_quick_fault_ends_as_listed_with_one_write(fhir_facade, fhir, name):
    with capture_logs() as logs:
        assert cancel(fhir_facade(), f"apt-{name}")["status"] == FAULTS[name].ends_in
    assert fhir.writes() == (FAULTS[name].operation == "cancel")
    assert "CANARY" not in json.dumps(logs, default=str)


# What is passed on


def test_a_read_passes_on_everything_that_the_server_sends(fhir_facade, fhir):
    answer = fhir_facade().read("apt-1", source="fhir").json
    native = fhir.get("apt-1")
    assert harm(native, answer) == []
    assert (answer["status"], answer["text"]) == (native["status"], native["text"])
    assert [identifier["value"] for identifier in answer["identifier"]] == ["fhir", "apt-1", "B-102", "ward/102"]


@MODES
def test_a_cancel_passes_on_everything_but_an_old_narrative(fhir_facade, fhir, mode):
    answer = cancel(fhir_facade(mode), "apt-1")
    assert harm(fhir.get("apt-1"), answer) == []
    assert "text" not in answer


def test_a_narrative_that_the_server_renewed_is_passed_on(fhir_facade, fhir):
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Cancelled</div>'}
    native = {**fhir.get("apt-1"), "status": "cancelled", "text": narrative}
    fhir.canned["PATCH"] = an_answer(json.dumps(native))
    assert cancel(fhir_facade(), "apt-1")["text"] == narrative


def test_a_proposed_answer_passes_on_the_rest_and_says_why(fhir_facade, fhir):
    answer = cancel(fhir_facade(), "apt-fulfilled")
    assert why(answer) == "business-rule"
    answer["contained"].pop()
    assert answer.pop("supportingInformation") == [{"reference": "#why"}]
    assert harm(fhir.get("apt-fulfilled"), answer) == []
    assert "text" not in answer


def test_a_sparse_response_to_the_write_keeps_what_was_read(fhir_facade, fhir):
    native = fhir.get("apt-1")
    fhir.canned["PATCH"] = an_answer('{"resourceType": "Appointment", "id": "apt-1", "status": "cancelled"}')
    assert harm(native, cancel(fhir_facade(), "apt-1")) == []


def test_a_sparse_appointment_is_completed(fhir_facade, fhir):
    answer = cancel(fhir_facade(), "apt-sparse")
    assert answer["status"] == "cancelled"
    assert answer["slot"][0]["display"] == "Unknown"


@pytest.mark.parametrize(
    ("etag", "meta", "tag"),
    [
        ('W/"3"', "2", 'W/"3"'),
        ('"3"', "2", '"3"'),
        ("", "2", 'W/"2"'),
        ("3", "2", 'W/"2"'),
        ('W/""', "2", 'W/"2"'),
        ("", None, None),
        ("", 'a"b', None),
        ("", '"2"', None),
        ("", 7, None),
    ],
)
def test_the_tag_is_the_etag_or_else_the_version_as_weak(etag, meta, tag):
    native = {"resourceType": "Appointment", "id": "a", "meta": {} if meta is None else {"versionId": meta}}
    assert translate.entity_tag(translate.to_fhir(native, etag, "a")) == tag


@pytest.mark.parametrize(
    "native", [None, [], {}, {"resourceType": "Patient", "id": "a"}, {"resourceType": "Appointment", "id": "b"}]
)
def test_an_answer_that_is_not_this_appointment_is_unreadable(native):
    with pytest.raises(OutcomeUnknown) as raised:
        translate.to_fhir(native, "", "a")
    assert raised.value.cause is Cause.UNREADABLE


@pytest.mark.parametrize("status", ["gone", None, True, 7, [], ["booked"], {"value": "booked"}])
def test_a_status_that_is_no_r4_code_is_absent(status):
    assert "status" not in translate.to_fhir({"resourceType": "Appointment", "id": "a", "status": status}, "", "a")


@MODES
@pytest.mark.parametrize("extension", [True, 7, "x", {"url": "x"}, [True, ["x"]]])
def test_extensions_in_a_wrong_shape_stand_against_nothing(fhir_facade, fhir, mode, extension):
    fhir.canned["GET"] = an_answer(json.dumps({**fhir.get("apt-1"), "extension": extension}), ETag='W/"1"')
    assert cancel(fhir_facade(mode), "apt-1")["status"] == "cancelled"


@MODES
@pytest.mark.parametrize("status", [["booked"], {"value": "booked"}])
def test_a_status_in_a_wrong_shape_is_not_one_to_cancel_from(fhir_facade, fhir, mode, status):
    fhir.canned["GET"] = an_answer(json.dumps({**fhir.get("apt-1"), "status": status}), ETag='W/"1"')
    assert why(cancel(fhir_facade(mode), "apt-1")) == "business-rule"
    assert fhir.writes() == 0


# Settings


def test_every_setting_has_its_row_in_the_readme():
    section = README.split("## Settings")[1].split("##")[0]
    assert config_reference.table(config_reference.plugin_settings(facade_source_plugin()), with_path=False) in section
    for name in FhirR4Settings().fields:
        assert f"`{name}`" in section, name


def test_the_defaults_are_those_of_the_readme(fhir):
    settings = config().settings
    for name in ("mode", "algorithm", "scope", "max_concurrent", "settle_window", "is_cancelable_extension"):
        value = settings[name]
        shown = f"{value:g}" if isinstance(value, (int, float)) else f"`{value}`"
        (row,) = re.findall(rf"^\| `{name}` \|(.+)\|$", README, re.MULTILINE)
        assert shown in row.replace('"', "")
    (row,) = re.findall(r"^\| `cancellable_statuses` \|[^|]+\|([^|]+)\|", README, re.MULTILINE)
    assert re.findall(r'"([^"]+)"', row) == settings["cancellable_statuses"]


def test_the_readmes_example_settings_load(tmp_path, monkeypatch):
    monkeypatch.setenv("CLINIC_TOKEN", "test_x")
    (tmp_path / "hospital-key.pem").write_text(key_pair("RS384").private)
    examples = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    assert len(examples) == 2
    (tmp_path / "facade.toml").write_text('[auth]\nmode = "none"\n' + "\n".join(examples))
    assert set(assemble(tmp_path / "facade.toml").sources) == {"clinic", "hospital"}


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        (BY_TOKEN + 'mode = "put"', 'sources.fhir.mode: must be "patch" or "update"'),
        (
            "",
            "sources.fhir: give a token, as token_env or token_file, or client credentials: token_url, client_id and ",
        ),
        (BY_TOKEN + 'token_file = "facade.toml"', "sources.fhir.token_file: the file .* must hold the secret alone"),
        (BY_TOKEN + 'client_id = "x"', r"sources.fhir: give token_env or client credentials \(client_id\), not both"),
        ('client_id = "x"', "sources.fhir: client credentials need .*; give token_url and private_key_file"),
        ('private_key_file = "none.pem"', "sources.fhir.private_key_file: the file .* cannot be read: No such file"),
        ('token_url = "http://login.example/"', "sources.fhir.token_url: is plain http to a host that is not loopback"),
        (BY_TOKEN + 'cancellable_statuses = ["cancelled"]', "cancellable_statuses.* is no R4 appointment status to"),
        (BY_TOKEN + 'is_cancelable_extension = "is"', "is_cancelable_extension: must be an absolute URI"),
        (BY_TOKEN + 'code_systems = {cancelationReason = "urn:x"}', "code_systems.cancelationReason: unknown key"),
        (BY_TOKEN + 'scope = ""', "sources.fhir.scope: must be scopes, a space between two"),
        (BY_TOKEN + "max_concurrent = 0", "sources.fhir.max_concurrent: must be 1 to 1000"),
    ],
)
def test_settings_that_cannot_work_are_refused_in_one_sentence(fhir_facade, settings, problem):
    with pytest.raises(ConfigurationError, match=problem):
        fhir_facade(settings, access="")


def test_a_direct_adapter_reads_if_it_is_given_nothing(fhir):
    adapter = FhirR4Adapter(config(base_url=fhir.url))
    request = CancelRequest(appointment_id="apt-1", native_reason=NativeReason("pat"))
    assert adapter.cancel(request, None, lambda: None)["status"] == "cancelled"
    assert adapter.cancel(request, None, lambda: None)["status"] == "cancelled"
    assert fhir.methods() == ["GET", "PATCH", "GET"]


def test_the_sandbox_has_a_fhir_server_behind_a_facade():
    table = tomllib.loads((ROOT / "config" / "sandbox.toml").read_text("utf-8"))
    assert table["sources"]["fhir"]["plugin"] == "fhir_r4"
    assert table["facade"]["default_source"] == "heim"


# Modifiers


MODIFIERS = pytest.mark.parametrize(
    "modifier",
    [
        {"modifierExtension": [{"url": "urn:not", "valueBoolean": True}]},
        {"implicitRules": "urn:rules"},
    ],
)


@MODES
@MODIFIERS
def test_an_appointment_with_a_modifier_is_not_changed_or_shown(fhir_facade, fhir, mode, modifier):
    fhir.patch("apt-1", modifier)
    client = fhir_facade(mode)
    answer = cancel(client, "apt-1")
    assert (answer["status"], why(answer)) == ("proposed", "processing")
    assert fhir.writes() == 0
    assert client.read("apt-1", source="fhir").status_code == 503


@MODIFIERS
def test_a_modifier_between_two_reads_is_not_written_over(fhir_facade, fhir, monkeypatch, modifier):
    client = fhir_facade('mode = "update"')
    adapter = client.facade.sources["fhir"].adapter
    read = adapter.read

    def changed_afterwards(appointment_id):
        found = read(appointment_id)
        fhir.patch(appointment_id, modifier)
        return found

    monkeypatch.setattr(adapter, "read", changed_afterwards)
    assert cancel(client, "apt-1")["status"] == "proposed"
    assert fhir.writes() == 0
    assert client.facade.ledger.find(("fhir", "apt-1")).state == "refused"


@MODIFIERS
def test_a_cancelled_status_under_a_modifier_is_no_evidence(fhir_facade, fhir, modifier):
    fhir.patch("apt-1", {"status": "cancelled", **modifier})
    client = fhir_facade()
    assert cancel(client, "apt-1")["status"] == "proposed"
    assert client.facade.ledger.find(("fhir", "apt-1")).state == "refused"


@MODES
def test_a_modifier_that_comes_with_the_write_leaves_doubt(fhir_facade, fhir, mode):
    resource = {**fhir.get("apt-1"), "status": "cancelled", "implicitRules": "urn:rules"}
    method = "PUT" if mode else "PATCH"
    fhir.canned[method] = an_answer(json.dumps(resource))
    answer = cancel(fhir_facade(mode), "apt-1")
    assert (answer["status"], fhir.writes()) == ("proposed", 1)


def test_a_no_show_keeps_its_reason_on_a_read(fhir_facade, fhir):
    reason = {"coding": [{"system": reasons.SYSTEM, "code": "pat-lt"}]}
    fhir.patch("apt-noshow", {"cancelationReason": reason})
    answer = fhir_facade().read("apt-noshow", source="fhir").json
    assert answer["status"] == "noshow"
    assert answer["cancelationReason"]["coding"][0]["code"] == "pat-lt"


@pytest.mark.parametrize("code", reasons.hl7_codes())
def test_a_read_after_the_cancel_has_the_recorded_reason(fhir_facade, fhir, code):
    client = fhir_facade()
    reason = {"coding": [{"system": reasons.SYSTEM, "code": code}], "text": "the text"}
    cancelled = cancel(client, "apt-1", {**MOVED, "cancelationReason": reason})
    assert client.read("apt-1", source="fhir").json["cancelationReason"] == cancelled["cancelationReason"]
