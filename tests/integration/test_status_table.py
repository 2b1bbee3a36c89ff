"""The table *Which status* of docs/reference/errors.md: each question, and that the first "no" answers."""

import json

import pytest

from tests.conftest import KEY, SEED

OTHER = """
[clients.other]
key_sha256 = "{sha}"
sources = ["north"]
operations = ["read"]
"""
NORTH = """
[sources.north]
plugin = "heim"
base_url = "http://127.0.0.1:9/north"
api_key_env = "HEIM_API_KEY"
environment = "test"
"""
OTHER_KEY = "key-of-another"


@pytest.fixture
def two(make):
    import hashlib

    sha = hashlib.sha256(OTHER_KEY.encode()).hexdigest()
    return make(clients=OTHER.format(sha=sha), more=NORTH)


def outcome(response):
    body = response.json
    assert body["resourceType"] == "OperationOutcome"
    assert body["issue"][0]["details"]["text"]
    assert response.headers["Content-Type"].startswith("application/fhir+json; fhirVersion=4.0")
    assert response.headers["Cache-Control"] == "no-store"
    return body["issue"][0]["code"]


# Question 1


@pytest.mark.parametrize("header", [None, "Bearer", "Bearer ", "Bearer wrong", f"Basic {KEY}", KEY, "Bearer ü"])
def test_without_a_known_key_it_is_401_whatever_the_path(client, simulator, header):
    for path in ("/Appointment/heim/apt_1", "/Appointment/nowhere/apt_1", "/nothing", "/Appointment/heim/a%2Fb"):
        headers = {} if header is None else {"Authorization": header}
        response = client.request("POST", path, key=None, data="{", headers=headers)
        assert response.status_code == 401
        assert response.headers["WWW-Authenticate"].startswith("Bearer")
        assert outcome(response) == "login"
    assert simulator.log.entries() == []


def test_the_scheme_is_case_insensitive_as_http_has_it(client):
    assert client.read("apt_1", key=None, headers={"Authorization": f"bearer {KEY}"}).status_code == 200


# Question 2


def test_an_unknown_and_a_forbidden_source_are_the_same_404(two):
    unknown = two.cancel("apt_1", source="nowhere", key=OTHER_KEY)
    out_of_reach = two.cancel("apt_1", source="heim", key=OTHER_KEY)
    assert unknown.status_code == out_of_reach.status_code == 404
    assert unknown.data == out_of_reach.data
    assert outcome(unknown) == "not-found"


def test_a_405_reveals_nothing_about_a_forbidden_source(two):
    assert two.request("PUT", "/Appointment/heim/apt_1", key=OTHER_KEY).status_code == 404
    assert two.request("PUT", "/Appointment/north/apt_1", key=OTHER_KEY).status_code == 405


def test_within_reach_but_not_allowed_to_cancel_is_403(two, simulator):
    response = two.cancel("apt_1", source="north", key=OTHER_KEY)
    assert response.status_code == 403
    assert outcome(response) == "forbidden"
    assert simulator.log.entries() == []


def test_permission_is_checked_before_the_body_is_read(two):
    assert two.cancel("apt_1", "{", source="north", key=OTHER_KEY).status_code == 403


# Question 4


def test_another_method_is_405_with_allow(client):
    response = client.request("DELETE", "/Appointment/heim/apt_1")
    assert response.status_code == 405
    assert {"GET", "POST"} <= set(response.headers["Allow"].split(", "))
    assert outcome(response) == "not-supported"


def test_a_body_over_64_kib_is_413_and_one_of_64_kib_is_not(client, simulator):
    def body(size):
        frame = '{"resourceType": "Appointment", "status": "cancelled", "comment": ""}'
        return frame.replace('""', f'"{"x" * (size - len(frame))}"')

    response = client.cancel("apt_1", body(64 * 1024 + 1))
    assert response.status_code == 413
    assert outcome(response) == "too-long"
    assert simulator.log.entries() == []
    assert client.cancel("apt_1", body(64 * 1024)).json["status"] == "cancelled"


@pytest.mark.parametrize(
    "content_type",
    [
        "",
        "text/plain",
        "application/xml",
        "application/fhir+xml",
        "application/x-www-form-urlencoded",
        "application/fhir+json; fhirVersion=3.0",
        "application/fhir+json; charset=latin-1",
    ],
)
def test_a_body_that_is_not_said_to_be_r4_json_is_415(client, simulator, content_type):
    response = client.cancel("apt_1", headers={"Content-Type": content_type})
    assert response.status_code == 415
    assert outcome(response) == "not-supported"
    assert simulator.log.entries() == []


@pytest.mark.parametrize(
    "content_type", ["application/json", "application/fhir+json; fhirVersion=4.0; charset=UTF-8", "Application/JSON"]
)
def test_json_types_are_read(client, content_type):
    assert client.cancel("apt_1", headers={"Content-Type": content_type}).json["status"] == "cancelled"


@pytest.mark.parametrize(
    ("query", "accept"),
    [
        ("?_format=xml", None),
        ("?_format=application/fhir%2Bxml", "application/fhir+json"),
        ("?_format=json;fhirVersion=5.0", None),
        ("", "application/fhir+xml"),
        ("", "text/html"),
        ("", "application/fhir+json; fhirVersion=3.0"),
        ("", "application/json;q=0"),
    ],
)
def test_an_unsupported_format_is_406_before_anything_happens(client, simulator, query, accept):
    response = client.cancel(f"apt_1{query}", headers={"Accept": accept} if accept else {})
    assert response.status_code == 406
    outcome(response)
    assert simulator.log.entries() == []


@pytest.mark.parametrize(
    ("query", "accept", "given"),
    [
        ("", None, "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("", "*/*", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("", "text/html, application/*;q=0.1", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("", "application/fhir+json; fhirVersion=4.0", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("", "application/json", "application/json; charset=utf-8"),
        ("?_format=json", "application/fhir+xml", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("?_format=application/fhir+json", "text/html", "application/fhir+json; fhirVersion=4.0; charset=utf-8"),
        ("?_format=application/json", None, "application/json; charset=utf-8"),
    ],
)
def test_the_answer_comes_in_the_format_asked_for(client, query, accept, given):
    response = client.read(f"apt_1{query}", headers={"Accept": accept} if accept else {})
    assert response.status_code == 200
    assert response.headers["Content-Type"] == given


@pytest.mark.parametrize("element", ["status", "cancelationReason", "comment", "participant", "priority", "identifier"])
def test_a_wrong_json_type_of_a_known_element_is_422_naming_it(client, simulator, element):
    response = client.cancel("apt_1", {"resourceType": "Appointment", "status": "cancelled", element: 4.5})
    assert response.status_code == 422
    assert element in response.json["issue"][0]["details"]["text"]
    assert simulator.log.entries() == []


@pytest.mark.parametrize("wrong", [{"code": 5}, {"userSelected": "true"}, "pat-mv"])
def test_a_wrong_type_deep_inside_is_422_naming_its_place(client, wrong):
    body = {"resourceType": "Appointment", "status": "cancelled", "cancelationReason": {"coding": [wrong]}}
    response = client.cancel("apt_1", body)
    assert response.status_code == 422
    assert "cancelationReason.coding[0]" in response.json["issue"][0]["details"]["text"]


TOO_MANY = {
    "cancelationReason.coding": lambda many: {"cancelationReason": {"coding": many}},
    "participant": lambda many: {"participant": many},
    "participant[0].type": lambda many: {"participant": [{"type": many}]},
    "extension": lambda many: {"extension": many},
    "x-unknown": lambda many: {"x-unknown": many},
}


@pytest.mark.parametrize("member", [1, {}, {"url": "urn:x", "valueString": "x"}])
@pytest.mark.parametrize("path", TOO_MANY)
def test_over_a_hundred_members_of_an_array_are_422_naming_it(client, simulator, path, member):
    body = {"resourceType": "Appointment", "status": "cancelled"}
    response = client.cancel("apt_1", {**body, **TOO_MANY[path]([member] * 101)})
    assert response.status_code == 422
    assert response.json["issue"][0]["code"] == "too-long"
    assert f'"{path}" has more than 100 members' in response.json["issue"][0]["details"]["text"]
    assert simulator.log.entries() == []


def test_a_long_name_is_cut_where_a_422_names_it(client):
    body = {"resourceType": "Appointment", "status": "cancelled", "A" * 60_000: [1] * 101}
    text = client.cancel("apt_1", body).json["issue"][0]["details"]["text"]
    assert f'The element "{"A" * 64}…" has more than 100 members' in text
    assert len(text) < 200


def test_a_body_may_have_two_thousand_values_and_no_more(client):
    body = {"resourceType": "Appointment", "status": "cancelled"}
    assert client.cancel("apt_1", {**body, "extension": [{"url": "urn:x"}] * 100}).json["status"] == "cancelled"
    wide = {**body, **{f"x-{n}": [1] * 99 for n in range(19)}}  # 2 and 19 arrays of 99: 1902 values
    assert client.cancel("apt_2", wide).json["status"] == "cancelled"
    response = client.cancel("apt_3", {**wide, "x-more": [1] * 99})
    assert response.status_code == 422
    assert "more than 2000 values" in response.json["issue"][0]["details"]["text"]


@pytest.mark.parametrize("status", [{}, {"status": "canceled"}, {"status": ""}, {"status": None}, {"status": "Booked"}])
def test_a_status_that_is_absent_or_no_r4_code_is_422(client, simulator, status):
    response = client.cancel("apt_1", {"resourceType": "Appointment", **status})
    assert response.status_code == 422
    assert simulator.log.entries() == []


@pytest.mark.parametrize("body", [[], "Appointment", 4, None, {}, {"resourceType": "Patient", "status": "cancelled"}])
def test_json_that_is_no_appointment_is_400(client, simulator, body):
    response = client.cancel("apt_1", json.dumps(body))
    assert response.status_code == 400
    outcome(response)
    assert simulator.log.entries() == []


def test_an_id_in_the_body_that_differs_from_the_path_is_400(client, simulator):
    response = client.cancel("apt_1", {"resourceType": "Appointment", "id": "apt_2", "status": "cancelled"})
    assert response.status_code == 400
    assert simulator.log.entries() == []


@pytest.mark.parametrize("in_path", ["apt_1", "x-.apt.5f1"])
@pytest.mark.parametrize("in_body", ["apt_1", "x-.apt.5f1"])
def test_raw_and_encoded_ids_are_the_same_in_path_and_body(client, in_path, in_body):
    response = client.cancel(in_path, {"resourceType": "Appointment", "id": in_body, "status": "cancelled"})
    assert response.json["status"] == "cancelled"
    assert response.json["id"] == "x-.apt.5f1"
    assert response.json["identifier"][1]["value"] == "apt_1"


@pytest.mark.parametrize("header", ["1", "W/1", '"1', 'W/"1" W/"2"', "", "**"])
def test_a_malformed_if_match_is_400(client, simulator, header):
    assert client.cancel("apt_1", headers={"If-Match": header}).status_code == 400
    assert simulator.log.count("cancel") == 0


def test_a_stale_if_match_is_412_and_sends_nothing(client, simulator):
    response = client.cancel("apt_1", headers={"If-Match": 'W/"7"'})
    assert response.status_code == 412
    assert outcome(response) == "conflict"
    assert simulator.log.count("cancel") == 0


@pytest.mark.parametrize("header", ["*", 'W/"0"', '"0"', 'W/"9", W/"0"'])
def test_an_if_match_with_the_current_version_or_any_cancels(client, header):
    assert client.cancel("apt_1", headers={"If-Match": header}).json["status"] == "cancelled"


def test_already_cancelled_wins_over_a_stale_if_match(client):
    assert client.cancel("apt_cancelled", headers={"If-Match": 'W/"7"'}).json["status"] == "cancelled"


# Rows 5 and 7


def test_an_id_of_another_pattern_is_404_and_row_4_comes_first(client, simulator):
    response = client.cancel("a b")
    assert response.status_code == 404
    assert outcome(response) == "not-found"
    assert client.cancel("a b", "{").status_code == 400
    assert simulator.log.entries() == []


def test_an_appointment_unknown_to_the_source_is_404(client, simulator):
    for response in (client.cancel("apt_no-such"), client.read("apt_no-such")):
        assert response.status_code == 404
        assert outcome(response) == "not-found"
    assert simulator.log.count("cancel") == 0


def test_a_gateways_html_404_is_not_the_sources_own_not_found(client, simulator):
    response = client.cancel("apt_read-html-404")
    assert response.status_code == 200
    assert response.json["status"] == "proposed"
    assert simulator.log.count("cancel") == 0


# Rows 8 and 9


def test_what_the_source_proves_is_200_cancelled(client, simulator):
    response = client.cancel("1839594", SEED)
    assert response.status_code == 200
    assert response.json["status"] == "cancelled"
    assert response.headers["ETag"] == 'W/"1"'
    assert response.json["meta"]["versionId"] == "1"
    assert simulator.get("1839594")["status"] == "cancelled"


def test_what_the_source_does_not_prove_is_200_proposed(client, simulator):
    response = client.cancel("apt_500-before-commit")
    assert response.status_code == 200
    assert response.json["status"] == "proposed"
    assert simulator.log.count("cancel") == 1


@pytest.mark.parametrize("status", ["proposed", "booked", "noshow", "entered-in-error", "waitlist"])
def test_another_r4_status_is_proposed_not_supported(client, simulator, status):
    response = client.cancel("apt_1", {"resourceType": "Appointment", "status": status})
    assert response.status_code == 200
    assert response.json["status"] == "proposed"
    assert response.json["contained"][0]["issue"][0]["code"] == "not-supported"
    assert simulator.log.entries() == []


@pytest.mark.parametrize(
    "extra",
    [
        {"modifierExtension": [{"url": "urn:negated", "valueBoolean": True}]},
        {"participant": [{"status": "accepted", "modifierExtension": [{"url": "urn:negated"}]}]},
        {"implicitRules": "urn:rules"},
    ],
)
def test_an_unknown_modifier_is_proposed_not_supported(client, simulator, extra):
    response = client.cancel("apt_1", {"resourceType": "Appointment", "status": "cancelled", **extra})
    assert response.json["status"] == "proposed"
    assert response.json["contained"][0]["issue"][0]["code"] == "not-supported"
    assert simulator.log.entries() == []


def test_a_sources_401_is_never_our_401(client):
    response = client.cancel("apt_read-unauthorized")
    assert response.status_code == 200
    assert response.json["contained"][0]["issue"][0]["code"] == "security"


def test_a_failed_read_is_503_with_retry_after_not_a_guess(client):
    response = client.read("apt_read-500")
    assert response.status_code == 503
    assert int(response.headers["Retry-After"]) > 0
    assert outcome(response) == "transient"


def test_a_bug_is_500_without_detail(client, monkeypatch):
    def broken(*_):
        raise RuntimeError("CANARY")

    monkeypatch.setattr(type(client.facade.cancellations), "cancel", broken)
    response = client.cancel("apt_1")
    assert response.status_code == 500
    assert outcome(response) == "exception"
    assert b"CANARY" not in response.data
    assert b"RuntimeError" not in response.data
