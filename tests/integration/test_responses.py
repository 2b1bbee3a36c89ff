"""What every 200 carries, and what it never does."""

import pytest
from facade_heim import codes

from facade.cancellation.native import checked, merge
from facade.fhir import data_absent, reasons, validation
from facade.fhir.appointment import Identity, complete
from facade.plugin.contract import Coding, NativeReason
from tests.conftest import SEED, remember

REQUIRED = {"resourceType", "id", "identifier", "serviceType", "appointmentType", "slot", "participant", "status"}
IDENTITY = Identity(
    source="north",
    source_system="urn:test:source",
    native_system=lambda kind: f"urn:test:north:{kind}",
    lacks=frozenset(),
)
BOOKED = {"start": "2026-12-01T09:00:00+00:00", "end": "2026-12-01T10:00:00+00:00"}
WHY = {"resourceType": "OperationOutcome", "id": "why", "issue": [{"severity": "error", "code": "timeout"}]}


def completed(native, status="proposed", **facts):
    answer, rejected = complete(native, identity=IDENTITY, appointment_id="p_1", status=status, **facts)
    assert validation.find_problems(answer) == []
    assert answer.keys() >= REQUIRED
    remember(answer)
    return answer, rejected


def absent_reasons(answer):
    concepts = [answer["serviceType"][0], answer["appointmentType"]]
    references = [answer["slot"][0], answer["participant"][0]["actor"]]
    found = {c["code"] for concept in concepts for c in concept["coding"] if c["system"] == data_absent.SYSTEM}
    return found | {e["valueCode"] for reference in references for e in reference.get("extension", [])}


@pytest.mark.parametrize(
    "appointment_id",
    [
        "1839594",
        "apt_1",
        "apt_cancelled",
        "apt_completed",
        "apt_scheduling",
        "apt_no-eta",
        "apt_local-time",
        "apt_unknown-status",
        "apt_500-before-commit",
        "apt_500-after-commit",
        "apt_read-500",
        "apt_read-html-200",
    ],
)
def test_every_200_has_what_the_scheduler_maps_by(client, appointment_id):
    answer = client.cancel(appointment_id).json
    assert answer.keys() >= REQUIRED
    assert all(participant["actor"] and participant["status"] for participant in answer["participant"])
    assert answer["identifier"][0] == {"system": "urn:fhir-facade:source-system", "value": "heim"}
    official = {"use": "official", "system": "urn:fhir-facade:heim:Appointment", "value": appointment_id}
    assert answer["identifier"][1] == official
    assert validation.find_problems(answer) == []


def test_references_are_encoded_typed_and_logically_identified(client):
    answer = client.cancel("1839594", SEED).json
    patient = next(p["actor"] for p in answer["participant"] if p["actor"]["type"] == "Patient")
    raw = patient["identifier"]["value"]
    assert "_" in raw
    assert patient["reference"] == "Patient/x-." + raw.replace("_", ".5f")
    assert patient["identifier"]["system"] == "urn:fhir-facade:heim:Patient"


def test_the_systems_of_identifiers_are_configurable(make):
    client = make(
        facade='source_identifier_system = "https://example.org/sources"',
        settings='identifier_systems = {Appointment = "https://example.org/appointments", Patient = "urn:x:patient"}',
    )
    answer = client.cancel("apt_1").json
    assert answer["identifier"][0]["system"] == "https://example.org/sources"
    assert answer["identifier"][1]["system"] == "https://example.org/appointments"
    assert answer["participant"][0]["actor"]["identifier"]["system"] == "urn:x:patient"


@pytest.mark.parametrize(
    ("appointment_id", "issue", "absent"),
    [
        ("apt_read-timeout", "timeout", {"temp-unknown"}),
        ("apt_read-reset", "transient", {"temp-unknown"}),
        ("apt_read-500", "transient", {"temp-unknown"}),
        ("apt_read-html-200", "processing", {"error"}),
        ("apt_read-cut-body", "transient", {"temp-unknown"}),
        ("apt_read-unauthorized", "security", {"temp-unknown"}),
        ("apt_read-throttled", "throttled", {"temp-unknown"}),
        ("apt_refused", "business-rule", set()),
        ("apt_unauthorized", "security", set()),
        ("apt_throttled", "throttled", set()),
        ("apt_timeout-before-commit", "timeout", set()),
        ("apt_reset-before-commit", "transient", set()),
        ("apt_completed", "business-rule", set()),
    ],
)
def test_a_proposed_answer_says_why_and_what_is_not_known(client, appointment_id, issue, absent):
    answer = client.cancel(appointment_id).json
    assert answer["status"] == "proposed"
    assert "cancelationReason" not in answer
    why = answer["contained"][0]
    assert why["issue"][0]["code"] == issue
    assert answer["supportingInformation"] == [{"reference": f"#{why['id']}"}]
    assert absent_reasons(answer) == absent


def test_a_refusal_says_not_cancelled_and_doubt_says_not_known(client):
    refused = client.cancel("apt_refused").json["contained"][0]["issue"][0]
    doubt = client.cancel("apt_reset-before-commit").json["contained"][0]["issue"][0]
    assert (refused["severity"], doubt["severity"]) == ("error", "warning")
    assert "was not cancelled" in refused["details"]["text"]
    assert "not known whether" in doubt["details"]["text"]


def test_the_explanation_can_be_configured_off(make):
    answer = make(facade="explain_proposed = false").cancel("apt_refused").json
    assert answer["status"] == "proposed"
    assert "contained" not in answer
    assert "supportingInformation" not in answer


def test_request_ids_are_echoed_if_sane_and_made_otherwise(client):
    response = client.read("apt_1", headers={"X-Request-Id": "abc-1", "X-Correlation-Id": "chain.2"})
    assert (response.headers["X-Request-Id"], response.headers["X-Correlation-Id"]) == ("abc-1", "chain.2")
    response = client.read("apt_1", headers={"X-Request-Id": "a b", "X-Correlation-Id": "x" * 200})
    assert len(response.headers["X-Request-Id"]) == 36
    assert "X-Correlation-Id" not in response.headers


@pytest.mark.parametrize("prefer", ["return=minimal", "respond-async", "handling=strict"])
def test_prefer_changes_nothing(client, prefer):
    response = client.cancel("apt_1", headers={"Prefer": prefer})
    assert response.status_code == 200
    assert response.json.keys() >= REQUIRED


# Reading


@pytest.mark.parametrize(
    ("appointment_id", "status"),
    [
        ("apt_1", "booked"),
        ("apt_scheduling", "proposed"),
        ("apt_completed", "fulfilled"),
        ("apt_cancelled", "cancelled"),
    ],
)
def test_a_read_gives_the_native_state_as_fhir(client, simulator, appointment_id, status):
    response = client.read(appointment_id)
    assert response.status_code == 200
    assert response.json["status"] == status
    # A reader who gets a cancelled appointment gets the recorded version, 1.
    assert response.headers["ETag"] == ('W/"1"' if status == "cancelled" else 'W/"0"')
    assert simulator.log.count("cancel") == 0


def test_a_booked_appointment_without_times_says_unknown(client):
    answer = client.read("apt_local-time").json
    assert answer["status"] == "booked"
    assert "start" not in answer
    for name in ("_start", "_end"):
        assert answer[name] == {"extension": [{"url": data_absent.EXTENSION, "valueCode": "unknown"}]}


def test_a_native_status_without_a_fhir_word_is_not_defaulted(client, make):
    assert client.read("apt_unknown-status").status_code == 503
    configured = make(settings='statuses = {on_hold = "waitlist"}')
    assert configured.read("apt_unknown-status").json["status"] == "waitlist"


def test_head_is_a_read_without_a_body(client):
    response = client.request("HEAD", "/Appointment/heim/apt_1")
    assert (response.status_code, response.data) == (200, b"")


# Completing, whatever a plugin gives


@pytest.mark.parametrize("status", sorted(validation.APPOINTMENT_STATUSES))  # type: ignore[attr-defined]  # set or patched by the test
@pytest.mark.parametrize("native", [None, {}, BOOKED, {"start": BOOKED["start"]}, {**BOOKED, "end": "tomorrow"}])
def test_every_status_is_valid_r4_whatever_is_known(native, status):
    answer, _ = completed(native, status, reason={"text": "why"} if status == "cancelled" else None)
    assert ("start" in answer) == ("end" in answer) == (native == BOOKED)
    assert ("cancelationReason" in answer) == (status == "cancelled")


def test_malformed_elements_are_left_out_one_by_one_and_named():
    native = {
        **BOOKED,
        "created": "yesterday",
        "comment": 7,
        "description": "kept",
        "foo": "bar",
        "priority": -1,
        "participant": [
            {"actor": {"reference": "Patient/p_9"}, "status": "accepted"},
            {"status": "accepted"},
            {"actor": {"reference": "Patient/p_9"}, "status": "coming"},
        ],
        "slot": [{"reference": 4}],
    }
    answer, rejected = completed(native, "cancelled")
    assert set(rejected) == {"created", "comment", "foo", "priority", "participant", "slot"}
    assert answer["description"] == "kept"
    assert [participant["status"] for participant in answer["participant"]] == ["accepted", "accepted", "needs-action"]
    assert answer["participant"][1]["actor"] == data_absent.reference("unknown")
    assert answer["slot"][0]["extension"][0]["valueCode"] == "unknown"


def test_optional_elements_and_identifiers_are_passed_on():
    native = {
        "identifier": [{"system": "urn:other", "value": "o-1"}, {"system": "urn:test:source", "value": "north"}],
        "created": "2026-11-01",
        "comment": "Bring the letter",
        "_comment": {"extension": [{"url": "urn:x", "valueString": "y"}]},
        "reasonCode": [{"text": "checkup"}],
        "specialty": [{"coding": [{"system": "urn:s", "code": "c"}]}],
        "requestedPeriod": [{"start": "2026-12-01T09:00:00.123456789Z"}],
        "contained": [{"resourceType": "Patient", "id": "why"}],
        "supportingInformation": [{"reference": "#why"}],
    }
    answer, rejected = completed(native, why=WHY)
    assert rejected == []
    assert [i["value"] for i in answer["identifier"]] == ["north", "p_1", "o-1"]
    assert answer["requestedPeriod"][0]["start"] == "2026-12-01T09:00:00.123456789Z"
    assert answer["_comment"] == native["_comment"]
    assert [resource["id"] for resource in answer["contained"]] == ["why", "why-2"]
    assert answer["supportingInformation"][1] == {"reference": "#why-2"}


@pytest.mark.parametrize(
    ("reference", "sent", "raw"),
    [
        ("Patient/p_9", "Patient/x-.p.5f9", "p_9"),
        ("Patient/9/_history/2", "Patient/9/_history/2", "9"),
        ("Patient/p_9/_history/2", "Patient/x-.p.5f9/_history/2", "p_9"),
        ("Patient/a/b", "Patient/x-.a.2fb", "a/b"),
        ("#patient", "#patient", None),
        ("https://other.example/fhir/Patient/9", "https://other.example/fhir/Patient/9", None),
        ("urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0", None),
    ],
)
def test_only_a_relative_reference_is_encoded(reference, sent, raw):
    contained = [{"resourceType": "Patient", "id": "patient"}] if reference == "#patient" else []
    participant = {"actor": {"reference": reference}, "status": "accepted"}
    answer, rejected = completed({"contained": contained, "participant": [participant]})
    actor = answer["participant"][0]["actor"]
    assert (actor["reference"], actor.get("identifier", {}).get("value"), rejected) == (sent, raw, [])


def test_labels_and_tags_are_passed_on_and_native_meta_is_not():
    label = {"system": "urn:labels", "code": "R"}
    meta = {
        "versionId": "7",
        "lastUpdated": "2026-12-01T09:00:00Z",
        "profile": ["http://example.org/profile"],
        "_profile": [{"id": "p"}],
        "security": [label],
        "tag": [label],
        "source": "urn:source",
    }
    answer, rejected = completed({"meta": meta})
    assert answer["meta"] == {"versionId": "0", "security": [label], "tag": [label], "source": "urn:source"}
    assert rejected == []
    assert completed({"meta": {"security": "R"}})[0]["meta"] == {"versionId": "0"}
    assert completed({"meta": {"security": "R"}})[1] == ["meta"]
    assert completed({"meta": 7})[1] == ["meta"]


def test_a_narrative_goes_with_the_status_it_is_about():
    narrative = {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">Booked</div>'}
    about = {"text": narrative, "_status": {"id": "s"}}
    kept, _ = completed({**BOOKED, "status": "booked", **about}, "booked")
    assert (kept["text"], kept["_status"]) == (narrative, {"id": "s"})
    for status in ("cancelled", "proposed"):
        left, rejected = completed({**BOOKED, "status": "booked", **about}, status)
        assert not {"text", "_status"} & left.keys()
        assert rejected == []


def test_the_nulls_in_a_repeating_primitive_stay():
    masked = {"extension": [{"url": data_absent.EXTENSION, "valueCode": "masked"}]}
    name = {"given": ["First", None, "Third"], "_given": [None, masked, None], "suffix": ["x", None]}
    patient = {"resourceType": "Patient", "id": "p", "name": [name]}
    native = {"contained": [patient], "participant": [{"actor": {"reference": "#p"}, "status": "accepted"}]}
    answer, _ = completed(native)
    assert answer["contained"][0]["name"] == [{**name, "suffix": ["x"]}]


def test_a_sparse_response_keeps_what_was_read_before():
    before = {
        "status": "booked",
        "text": {"div": "booked"},
        "meta": {"security": ["R"], "versionId": "1"},
        "slot": ["s"],
    }
    after = {"status": "cancelled", "meta": {"versionId": "2"}}
    expected = {"status": "cancelled", "meta": {"security": ["R"], "versionId": "2"}, "slot": ["s"]}
    assert merge(before, after) == expected
    assert merge(before, {**after, "text": before["text"]}) == expected
    assert merge(before, {**after, "text": {"div": "new"}}) == {**expected, "text": {"div": "new"}}
    assert merge(before, {"status": "booked"})["text"] == before["text"]
    assert merge(None, {"status": "booked"}) == {"status": "booked"}


def test_an_element_that_the_source_lacks_is_unsupported():
    identity = Identity(
        source="n", source_system="urn:s", native_system=lambda kind: f"urn:n:{kind}", lacks=frozenset({"slot"})
    )
    answer, _ = complete(None, identity=identity, appointment_id="1", status="proposed", absent="temp-unknown")
    assert answer["slot"][0]["extension"][0]["valueCode"] == "unsupported"
    assert answer["appointmentType"]["coding"][0]["code"] == "temp-unknown"


def test_a_reference_without_a_fhir_id_keeps_its_identifier():
    raw = "_" * 40
    answer, _ = completed({"slot": [{"reference": f"Slot/{raw}"}]})
    assert answer["slot"] == [{"type": "Slot", "identifier": {"system": "urn:test:north:Slot", "value": raw}}]


def test_a_malformed_reason_costs_the_reason_not_the_cancel():
    answer, rejected = completed(None, "cancelled", reason={"coding": "pat"})
    assert answer["status"] == "cancelled"
    assert answer["cancelationReason"] == data_absent.concept("unknown")
    assert rejected == ["cancelationReason"]


# The reason in the answer


@pytest.fixture
def mapping(client):
    return client.facade.sources["heim"].mapping


def coded(reason):
    return [(coding["system"].rpartition("/")[2], coding["code"], coding.get("display")) for coding in reason["coding"]]


def test_the_clients_code_stands_beside_the_native_code(client):
    body = {
        "resourceType": "Appointment",
        "status": "cancelled",
        "cancelationReason": {
            "coding": [
                {"system": reasons.SYSTEM, "code": "prov-pers", "display": "Their own words"},
                {"system": "urn:elsewhere", "code": "zz", "display": "Elsewhere's words"},
                {"system": reasons.SYSTEM, "code": "no-such"},
            ],
            "text": "the text",
        },
    }
    reason = client.cancel("apt_1", body).json["cancelationReason"]
    assert coded(reason) == [
        ("appointment-cancellation-reason", "prov-pers", "Provider: Personal"),
        ("urn:fhir-facade:heim:reasonCode", "practitioner_cancelled", "Practitioner cancelled"),
    ]
    assert reason["text"] == "the text; Their own words; Elsewhere's words (zz); no-such"


def test_a_native_code_wins_and_is_mapped_back_to_hl7(client, simulator):
    native = "urn:fhir-facade:heim:reasonCode"
    codings = [{"system": reasons.SYSTEM, "code": "pat"}, {"system": native, "code": "platform_service_issue"}]
    body = {"resourceType": "Appointment", "status": "cancelled", "cancelationReason": {"coding": codings}}
    reason = client.cancel("apt_1", body).json["cancelationReason"]
    assert [code for _, code, _ in coded(reason)] == ["pat", "platform_service_issue"]
    assert simulator.get("apt_1")["cancellation"]["causingEntity"] == "platform"


@pytest.mark.parametrize("empty", [{}, {"text": ""}, {"coding": []}, {"coding": [{}], "text": ""}, None, "absent"])
def test_an_empty_reason_is_an_absent_one(client, simulator, empty):
    body = {"resourceType": "Appointment", "status": "cancelled"}
    if empty != "absent":
        body["cancelationReason"] = empty
    answer = client.cancel("apt_1", body).json
    assert answer["status"] == "cancelled"
    assert [code for _, code, _ in coded(answer["cancelationReason"])] == ["other", "organisation_cancelled"]
    assert "note" not in simulator.get("apt_1")["cancellation"]


def test_a_different_reason_on_a_repeat_changes_nothing(client, simulator):
    def body(code):
        reason = {"coding": [{"system": reasons.SYSTEM, "code": code}]}
        return {"resourceType": "Appointment", "status": "cancelled", "cancelationReason": reason}

    client.cancel("apt_1", body("prov"))
    repeat = client.cancel("apt_1", body("pat-mv")).json
    assert [code for _, code, _ in coded(repeat["cancelationReason"])] == ["prov", "practitioner_cancelled"]
    assert simulator.log.count("cancel") == 1


@pytest.mark.parametrize("code", reasons.hl7_codes())
def test_a_read_after_the_cancel_has_the_recorded_reason(client, simulator, code):
    coding = {"system": reasons.SYSTEM, "code": code, "display": "Their own words"}
    reason = {"coding": [coding], "text": "the text"}
    cancelled = client.cancel(
        "apt_1", {"resourceType": "Appointment", "status": "cancelled", "cancelationReason": reason}
    )
    read = client.read("apt_1")
    assert (read.json["cancelationReason"], read.headers["ETag"]) == (
        cancelled.json["cancelationReason"],
        cancelled.headers["ETag"],
    )
    assert read.json["cancelationReason"]["coding"][0]["code"] == code


def test_a_read_has_the_sources_reason_once_it_differs(client, simulator):
    client.cancel("apt_1", SEED.replace("1839594", "apt_1"))
    simulator.patch("apt_1", {"cancellation": {"reasonCode": "operator_error"}})
    reason = client.read("apt_1").json["cancelationReason"]
    assert [code for _, code, _ in coded(reason)] == ["oth-err", "operator_error"]


def test_a_foreign_cancel_carries_the_sources_reason_and_note(client, simulator):
    reason = client.cancel("apt_cancelled", SEED.replace("1839594", "apt_cancelled")).json["cancelationReason"]
    assert [code for _, code, _ in coded(reason)] == ["pat", "patient_unwell"]
    assert reason["text"] == simulator.get("apt_cancelled")["cancellation"]["note"]
    assert simulator.log.count("cancel") == 0


def test_another_reason_recorded_than_the_one_sent_stands_alone(mapping):
    recorded = {"coding": [{"system": mapping.system, "code": "operator_error"}], "text": "note"}
    reason = reasons.cancelation_reason(
        [Coding(reasons.SYSTEM, "pat")], "mine", NativeReason("patient_cancelled"), recorded, mapping
    )
    assert [code for _, code, _ in coded(reason)] == ["oth-err", "operator_error"]
    assert reason["text"] == "note"


def test_every_native_code_is_mapped_back(mapping):
    for code in codes.REASONS:
        recorded = {"coding": [mapping.native_coding(code)]}
        reason = reasons.cancelation_reason((), "", None, recorded, mapping)
        systems = [coding["system"] for coding in reason["coding"]]
        assert systems == [reasons.SYSTEM, mapping.system]
        assert reason["coding"][1]["code"] == code


def test_a_cancellation_without_a_reason_says_so(client, simulator):
    simulator.patch("apt_cancelled", {"cancellation": None})
    reason = client.cancel("apt_cancelled").json["cancelationReason"]
    assert reason == data_absent.concept("unknown")


# Metadata and ConceptMap


def test_metadata_needs_no_key_and_declares_only_what_is_done(client, make):
    statement = client.request("GET", "/metadata", key=None).json
    assert statement["fhirVersion"] == "4.0.1"
    assert statement["software"]["name"] == "fhir-facade"
    assert "Bearer" in statement["rest"][0]["security"]["description"]
    appointment = statement["rest"][0]["resource"][0]
    assert appointment["interaction"] == [{"code": "read"}]
    assert "heim" not in str(statement)
    north = '[sources.north]\nplugin = "heim"\nbase_url = "http://127.0.0.1:9/n"\napi_key_env = "HEIM_API_KEY"\n'
    several = make(more=north + 'environment = "test"').request("GET", "/metadata", key=None).json
    assert "interaction" not in several["rest"][0]["resource"][0]


def test_the_concept_map_in_force_is_served(client):
    served = client.request("GET", "/ConceptMap/heim").json
    assert served["id"] == "heim"
    assert len(served["group"][0]["element"]) == 32
    assert len(served["group"][1]["element"]) == 15
    assert client.request("GET", "/ConceptMap/nowhere").status_code == 404


def test_the_base_path_moves_every_fhir_route_and_no_other(make):
    client = make(facade='base_path = "/fhir/r4"')
    assert client.request("GET", "/fhir/r4/Appointment/heim/apt_1").status_code == 200
    assert client.request("GET", "/fhir/r4/Appointment/apt_1").status_code == 200
    assert client.request("GET", "/fhir/r4/metadata", key=None).status_code == 200
    assert client.request("GET", "/Appointment/heim/apt_1").status_code == 404
    for probe in ("live", "ready"):
        assert client.request("GET", f"/health/{probe}", key=None).status_code == 200


def test_the_single_source_routes_need_one_source_or_a_default(make):
    north = '[sources.north]\nplugin = "heim"\nbase_url = "http://127.0.0.1:9/n"\napi_key_env = "HEIM_API_KEY"\n'
    north += 'environment = "test"'
    body = SEED.replace("1839594", "apt_1")
    assert make().request("POST", "/Appointment/apt_1", data=body).json["status"] == "cancelled"
    assert make(more=north).request("POST", "/Appointment/apt_2", data="{}").status_code == 404
    default = make(more=north, facade='default_source = "heim"')
    assert default.request("GET", "/Appointment/apt_2").json["identifier"][0]["value"] == "heim"


def test_a_huge_appointment_loses_its_largest_elements(client):
    many = [{"url": f"urn:x:{n}", "valueString": "x" * 20} for n in range(10_000)]
    native = {"id": "a", "status": "cancelled", "extension": many, "comment": "said"}
    kept = checked(native, "a")
    assert kept == {"id": "a", "status": "cancelled", "comment": "said"}
    few = {**native, "extension": many[:100]}
    assert checked(few, "a") == few
