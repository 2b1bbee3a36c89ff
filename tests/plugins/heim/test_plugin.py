"""The Heim plugin: its mapping, its translation both ways, and what it makes of an unexpected Heim."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from facade_heim import codes, facade_source_plugin, translate
from facade_heim.schemas import CancellationSchema, parse
from facade_heim.settings import HeimSettings

from facade import config_reference
from facade.fhir import chargeability, reasons
from facade.plugin.contract import CancelRequest, NativeReason, SourceConfig
from tests.conftest import SEED

NOW = datetime(2026, 12, 1, 12, 0, tzinfo=UTC)
NATIVE = "urn:fhir-facade:heim:reasonCode"
CAUSING = "urn:fhir-facade:heim:causingEntity"
CANCELLING = "urn:fhir-facade:heim:cancellingEntity"
HEIM_MD = """
pat, pat-crs, pat-cpp, pat-lt, pat-mv, pat-preg, pat-ucp | patient_cancelled | patient
pat-dec, pat-fb, pat-mt | no_longer_required | patient
pat-swl | patient_requested_reschedule | patient
prov, prov-pers, prov-edu, prov-hosp | practitioner_cancelled | practitioner
prov-dch, prov-onc | no_longer_required | organisation
prov-labs, prov-mri | organisation_cancelled | organisation
maint, oth-room, oth-int | organisation_service_issue | organisation
meds-inc, oth-mu | organisation_requested_reschedule | organisation
other, oth-cms, oth-fin, oth-iv, oth-weath | organisation_cancelled | organisation
oth-err, oth-oerr, oth-swie | operator_error | organisation
"""
"""The default mapping, as the product's Heim page has it."""


def config(**settings):
    table = {"plugin": "heim", "api_key_env": "HEIM_API_KEY", "environment": "test", **settings}
    return SourceConfig(plugin="heim", name="heim", settings=HeimSettings().load(table), now=lambda: NOW)


def rows():
    for line in HEIM_MD.strip().splitlines():
        hl7, native, causing = (cell.strip() for cell in line.split("|"))
        for code in hl7.split(", "):
            yield code, native, causing


def with_codings(*codings, **elements):
    reason = {"coding": [{"system": system, "code": code} for system, code in codings]}
    return {"resourceType": "Appointment", "status": "cancelled", "cancelationReason": reason, **elements}


def test_the_table_names_every_hl7_code():
    assert {code for code, _, _ in rows()} == set(reasons.hl7_codes())
    assert len(reasons.hl7_codes()) == 32


@pytest.mark.parametrize(("code", "native", "causing"), list(rows()))
def test_each_hl7_code_reaches_heim_as_mapped(client, simulator, code, native, causing):
    answer = client.cancel("apt_1", with_codings((reasons.SYSTEM, code))).json
    sent = simulator.log.entries("apt_1")[-1].body
    assert (sent["reasonCode"], sent["causingEntity"]) == (native, causing)
    assert sent["cancellingEntity"] == ("patient" if code in {"pat-cpp", "pat-crs"} else "organisation")
    assert sent["note"] == reasons.hl7_codes()[code].display
    assert answer["cancelationReason"]["coding"][0] == reasons.hl7_coding(code)
    assert answer["cancelationReason"]["coding"][1]["code"] == native


@pytest.mark.parametrize("code", list(codes.REASONS))
def test_each_native_code_is_reachable_with_its_default_cause(client, simulator, code):
    expected = {"patient": "patient", "practitioner": "practitioner", "platform": "platform"}.get(code.split("_")[0])
    expected = "patient" if code == "incorrect_patient_information" else expected or "organisation"
    assert client.cancel("apt_1", with_codings((NATIVE, code))).json["status"] == "cancelled"
    sent = simulator.log.entries("apt_1")[-1].body
    assert (sent["reasonCode"], sent["causingEntity"], sent["cancellingEntity"]) == (code, expected, "organisation")


@pytest.mark.parametrize("cause", list(codes.CAUSING_ENTITIES))
def test_a_second_coding_gives_the_causing_entity(client, simulator, cause):
    client.cancel("apt_1", with_codings((NATIVE, "no_longer_required"), (CAUSING, cause), (CANCELLING, "patient")))
    sent = simulator.log.entries("apt_1")[-1].body
    assert (sent["causingEntity"], sent["cancellingEntity"]) == (cause, "patient")


def test_an_unmapped_code_falls_back_to_its_parent(client, make, tmp_path, simulator):
    resource = dict(client.facade.sources["heim"].mapping.resource)
    element = next(e for e in resource["group"][0]["element"] if e["code"] == "pat")
    import json

    resource["group"] = [{**resource["group"][0], "element": [element]}]
    (tmp_path / "map.json").write_text(json.dumps(resource))
    mapped = make(settings='concept_map_file = "map.json"')
    mapped.cancel("apt_1", with_codings((reasons.SYSTEM, "pat-mv")))
    assert simulator.log.entries("apt_1")[-1].body["reasonCode"] == "patient_cancelled"
    mapped.cancel("apt_2", with_codings((reasons.SYSTEM, "oth-weath")))
    assert simulator.log.entries("apt_2")[-1].body["reasonCode"] == "organisation_cancelled"


@pytest.mark.parametrize("coding", [(NATIVE, "bogus"), (reasons.SYSTEM, "PAT"), ("urn:other", "pat"), ("", "pat")])
def test_a_reason_of_no_use_costs_the_reason_not_the_cancel(client, simulator, coding):
    assert client.cancel("apt_1", with_codings(coding)).json["status"] == "cancelled"
    sent = simulator.log.entries("apt_1")[-1].body
    assert (sent["reasonCode"], sent["causingEntity"]) == ("organisation_cancelled", "organisation")
    assert sent["note"] == coding[1]


def test_a_fallback_of_refuse_refuses_and_sends_nothing(make, simulator):
    client = make(settings='fallback_reason = "refuse"')
    answer = client.cancel("apt_1", with_codings(("urn:other", "x"))).json
    assert answer["status"] == "proposed"
    assert answer["contained"][0]["issue"][0]["code"] == "business-rule"
    assert "reason" in answer["contained"][0]["issue"][0]["details"]["text"]
    assert simulator.log.count("cancel") == 0
    assert client.cancel("apt_1", with_codings((reasons.SYSTEM, "pat"))).json["status"] == "cancelled"
    assert client.cancel("apt_cancelled", with_codings(("urn:other", "x"))).json["status"] == "cancelled"


def test_the_cancelling_entity_can_be_set_for_a_source(make, simulator):
    make(settings='cancelling_entity = "patient"').cancel("apt_1", with_codings((reasons.SYSTEM, "prov")))
    assert simulator.log.entries("apt_1")[-1].body["cancellingEntity"] == "patient"


def test_text_comment_and_display_are_the_note_up_to_its_limit(make, simulator):
    body = with_codings((reasons.SYSTEM, "pat-mv"), comment="Called at nine.\x07")
    body["cancelationReason"]["text"] = "Moved to another town"
    make().cancel("apt_1", body)
    assert simulator.log.entries("apt_1")[-1].body["note"] == "Moved to another town. Called at nine. Patient: Moved"
    make(settings="note_max_length = 10").cancel("apt_2", body)
    assert simulator.log.entries("apt_2")[-1].body["note"] == "Moved to…"


def test_what_is_sent_is_a_cancellation_object_of_the_guide():
    request = CancelRequest(appointment_id="a", native_reason=NativeReason("patient_unwell"), note="n")
    body = translate.to_native(request, config().settings)
    assert CancellationSchema().validate(body) == {}
    assert body == {
        "note": "n",
        "causingEntity": "patient",
        "cancellingEntity": "organisation",
        "reasonCode": "patient_unwell",
    }


# Chargeability


@pytest.mark.parametrize(
    ("eta", "may_be"),
    [
        (NOW + timedelta(hours=24), False),
        (NOW + timedelta(hours=24) - timedelta(seconds=1), True),
        (NOW + timedelta(hours=2), True),
        (NOW - timedelta(hours=1), True),
        (NOW + timedelta(days=9), False),
        (None, False),
    ],
)
@pytest.mark.parametrize("zone", ["+00:00", "+14:00", "-11:30"])
def test_may_be_chargeable_is_under_24_hours_before_the_eta(eta, may_be, zone):
    hours = timedelta(hours=float(zone[:3]), minutes=30 if zone == "-11:30" else 0) if eta else timedelta()
    text = None if eta is None else (eta + hours).replace(tzinfo=None).isoformat() + zone
    if zone == "-11:30" and eta:
        text = (eta - timedelta(hours=11, minutes=30)).replace(tzinfo=None).isoformat() + zone
    native = parse({"id": "a", "status": "scheduled", "estimatedTimeOfArrival": text}, config().settings["places"])
    appointment = translate.to_fhir(native, config(), reference_time=NOW)
    parts = {part["url"]: part for part in appointment["extension"][0]["extension"]}
    assert appointment["extension"][0]["url"] == chargeability.EXTENSION
    assert parts["mayBeChargeable"]["valueBoolean"] is may_be
    assert ("estimatedTimeOfArrival" in parts) == (eta is not None)


@pytest.mark.parametrize(
    "eta",
    [
        "soon",
        "2036-12-01",
        "20361201T090000Z",
        "2036-12-01T09:00:00",
        "2036-12-01T25:00:00Z",
        " ",
        False,
        0,
        1733043600,
        {},
        [],
        ["2036-12-01T09:00:00Z"],
    ],
)
def test_an_eta_that_is_there_and_unusable_may_be_near(eta):
    native = parse({"id": "a", "estimatedTimeOfArrival": eta}, config().settings["places"])
    extension = translate.to_fhir(native, config(), reference_time=NOW)["extension"][0]["extension"]
    assert extension == [{"url": "mayBeChargeable", "valueBoolean": True}]


@pytest.mark.parametrize("eta", ["2036-03-30T01:30:00", "2036-10-26T01:30:00"], ids=["never", "twice"])
def test_a_local_eta_that_occurs_twice_or_never_may_be_near(eta):
    settings = config(timezone="Europe/London")
    native = parse({"id": "a", "estimatedTimeOfArrival": eta}, settings.settings["places"])
    extension = translate.to_fhir(native, settings, reference_time=NOW)["extension"][0]["extension"]
    assert extension == [{"url": "mayBeChargeable", "valueBoolean": True}]


def test_an_eta_whose_place_fails_may_be_near():
    settings = config(places={"eta": "to_number(join('', estimatedTimeOfArrival))"})
    native = parse({"id": "a", "estimatedTimeOfArrival": "2036-12-01T09:00:00Z"}, settings.settings["places"])
    extension = translate.to_fhir(native, settings, reference_time=NOW)["extension"][0]["extension"]
    assert extension == [{"url": "mayBeChargeable", "valueBoolean": True}]


@pytest.mark.parametrize("eta", [None, ""])
def test_without_an_eta_there_is_no_charge(eta):
    native = parse({"id": "a", "estimatedTimeOfArrival": eta}, config().settings["places"])
    extension = translate.to_fhir(native, config(), reference_time=NOW)["extension"][0]["extension"]
    assert extension == [{"url": "mayBeChargeable", "valueBoolean": False}]


@pytest.mark.parametrize(("appointment_id", "may_be"), [("apt_eta-in-2h", True), ("apt_eta-in-25h", False)])
def test_a_cancelled_answer_says_whether_it_may_be_chargeable(client, appointment_id, may_be):
    answer = client.cancel(appointment_id).json
    assert answer["status"] == "cancelled"
    parts = {part["url"]: part for part in answer["extension"][0]["extension"]}
    assert parts["mayBeChargeable"]["valueBoolean"] is may_be


def test_a_cancel_proven_by_a_later_read_says_so_too(client, simulator):
    simulator.patch("apt_reset-after-commit", {"estimatedTimeOfArrival": datetime.now(UTC).isoformat()})
    answer = client.cancel("apt_reset-after-commit").json
    assert answer["status"] == "cancelled"
    assert answer["extension"][0]["extension"][0] == {"url": "mayBeChargeable", "valueBoolean": True}


def test_charges_are_not_stated_if_the_time_is_unknown(client):
    urls = [extension["url"] for extension in client.cancel("apt_cancelled").json["extension"]]
    assert urls == [translate.ENTITIES]


# Heim → FHIR


@pytest.mark.parametrize(
    ("start", "zone", "instant"),
    [
        ("2026-12-01T09:00:00Z", None, "2026-12-01T09:00:00+00:00"),
        ("2026-12-01T09:00Z", None, "2026-12-01T09:00:00+00:00"),
        ("2026-12-01T09:00:00.250+02:00", None, "2026-12-01T09:00:00.250000+02:00"),
        ("2026-12-01T09:00:00", "Europe/London", "2026-12-01T09:00:00+00:00"),
        ("2026-07-01T09:00:00", "Europe/London", "2026-07-01T09:00:00+01:00"),
        ("2026-12-01t09:00:00z", None, "2026-12-01T09:00:00+00:00"),
        ("2026-12-01T09:00:00", None, None),
        ("2026-12-01", "Europe/London", None),
        ("2026-W49-2", "Europe/London", None),
        ("20261201", "Europe/London", None),
        ("2026-03-29T01:30:00", "Europe/London", None),
        ("2026-03-29T00:59:59", "Europe/London", "2026-03-29T00:59:59+00:00"),
        ("2026-03-29T02:00:00", "Europe/London", "2026-03-29T02:00:00+01:00"),
        ("2026-10-25T01:30:00", "Europe/London", None),
        ("2026-10-25T01:30:00+01:00", "Europe/London", "2026-10-25T01:30:00+01:00"),
        ("2026-10-25T02:00:00", "Europe/London", "2026-10-25T02:00:00+00:00"),
        ("09:00", "Europe/London", None),
        ("", "Europe/London", None),
    ],
)
def test_a_time_has_its_zone_or_the_sources_or_is_unusable(start, zone, instant):
    settings = {"timezone": zone} if zone else {}
    native = {"id": "a", "status": "scheduled", "windowStart": start, "windowEnd": "2026-12-31T10:00:00Z"}
    appointment = translate.to_fhir(parse(native, config().settings["places"]), config(**settings))
    assert appointment.get("start") == instant
    assert ("end" in appointment) == (instant is not None)


@pytest.mark.parametrize(
    "wrong", [{"windowId": {}}, {"patientId": [1]}, {"status": 4.5}, {"taskId": None}, {"data": {}}]
)
def test_an_element_of_an_unusable_type_is_left_out_alone(wrong):
    native = {"id": "a", "status": "scheduled", "patientId": "p_1", "windowId": "win_1", "taskId": "tsk_1", **wrong}
    parsed = parse(native, config().settings["places"])
    assert parsed.id == "a"
    assert sum(x is None for x in (parsed.status, parsed.patient, parsed.window, parsed.task)) <= 1


@pytest.mark.parametrize("body", [None, [], "x", 4, {}, {"appointment": []}, {"appointment": {"id": {}}}])
def test_a_body_that_is_no_appointment_parses_to_nothing(body):
    assert parse(body, config().settings["places"]).id is None


def test_the_appointment_may_be_wrapped(make, simulator):
    native = simulator.get("apt_1")
    parsed = parse({"appointment": native}, config().settings["places"])
    assert parsed == parse(native, config().settings["places"])
    assert parsed.id == "apt_1"


def test_the_real_shape_is_learned_by_editing_paths_not_code():
    places = {"status": "state.name", "patient": "people[?role=='patient'] | [0].ref"}
    native = {"id": 7, "state": {"name": "scheduled"}, "people": [{"role": "patient", "ref": "p_7"}]}
    parsed = parse(native, config(places=places).settings["places"])
    assert (parsed.id, parsed.status, parsed.patient) == ("7", "scheduled", "p_7")


def test_task_type_window_and_reference_are_mapped_to_fhir(client, simulator):
    native = simulator.get("apt_1")
    answer = client.read("apt_1").json
    assert answer["serviceType"][0]["coding"][0]["code"] == native["taskId"]
    assert answer["appointmentType"]["coding"][0]["code"] == native["appointmentType"]
    assert answer["slot"][0]["identifier"]["value"] == native["windowId"]
    assert answer["identifier"][2] == {
        "system": "urn:fhir-facade:heim:externalReference",
        "value": native["externalReference"],
    }
    assert {participant["status"] for participant in answer["participant"]} == {"needs-action"}


# An unexpected Heim


def test_an_answer_that_names_another_appointment_is_not_used(client, simulator):
    simulator.put("apt_1", {**simulator.get("apt_2"), "id": "apt_2"})
    answer = client.cancel("apt_1").json
    assert answer["status"] == "proposed"
    assert answer["contained"][0]["issue"][0]["code"] == "processing"
    assert simulator.log.count("cancel") == 0
    assert client.read("apt_1").status_code == 503


def test_completed_is_over_and_nothing_is_sent(client, simulator):
    answer = client.cancel("apt_completed").json
    assert answer["status"] == "proposed"
    assert answer["contained"][0]["issue"][0]["code"] == "business-rule"
    assert simulator.log.count("cancel") == 0


def test_a_status_word_that_is_not_in_the_map_is_not_cancelled(client, simulator):
    assert client.cancel("apt_unknown-status").json["status"] == "cancelled"
    assert simulator.log.count("cancel") == 1


def test_a_cancel_between_read_and_write_is_a_success(client, simulator):
    original = simulator.operation

    def cancelled_meanwhile(method, path):
        found = original(method, path)
        if method == "POST":
            simulator.patch("apt_1", {"status": "cancelled", "cancellation": {"reasonCode": "operator_error"}})
        return found

    simulator.operation = cancelled_meanwhile
    try:
        answer = client.cancel("apt_1", SEED.replace("1839594", "apt_1")).json
    finally:
        del simulator.operation
    assert answer["status"] == "cancelled"
    assert [c["code"] for c in answer["cancelationReason"]["coding"]] == ["oth-err", "operator_error"]
    assert simulator.log.entries("apt_1")[1].status == 409


def test_a_cancellation_outside_the_appointment_is_read(make, simulator):
    client = make(settings='places = {cancellation_reason = "nowhere"}')
    reason = client.read("apt_cancelled").json["cancelationReason"]
    assert reason["coding"][-1]["code"] == "patient_unwell"
    assert [entry.path for entry in simulator.log.entries()] == [
        "/v1/appointments/apt_cancelled",
        "/v1/appointments/apt_cancelled/cancellation",
    ]


def test_an_operations_edit_is_seen_by_the_next_read(client, simulator):
    client.cancel("apt_1", SEED.replace("1839594", "apt_1"))
    simulator.patch("apt_1", {"cancellation": {"reasonCode": "platform_service_issue"}})
    reason = client.read("apt_1").json["cancelationReason"]
    assert reason["coding"][-1]["code"] == "platform_service_issue"


def test_every_setting_is_in_the_readme():
    readme = (Path(translate.__file__).parent / "README.md").read_text("utf-8")
    declared = facade_source_plugin()
    assert config_reference.table(config_reference.plugin_settings(declared), with_path=False) in readme
    for name in HeimSettings().fields:
        assert f"`{name}`" in readme, name
