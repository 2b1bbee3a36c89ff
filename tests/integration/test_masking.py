"""A client that may cancel and may not read gets what concerns its own request, and no more of the appointment."""

import hashlib
import json

import pytest

from facade.fhir import data_absent, validation
from tests.conftest import SEED
from tests.support.recording_fhir_server import BY_TOKEN, SOURCE

KEY = "key-of-a-canceller"
CLIENT = f"""
[clients.canceller]
key_sha256 = "{hashlib.sha256(KEY.encode()).hexdigest()}"
sources = ["heim"]
operations = ["cancel"]
"""
MASKED = {
    "serviceType": [data_absent.concept("masked")],
    "appointmentType": data_absent.concept("masked"),
    "slot": [data_absent.reference("masked")],
    "participant": [data_absent.participant("masked")],
}


@pytest.fixture
def client(make):
    return make(clients=CLIENT)


def cancel(client, appointment_id):
    response = client.cancel(appointment_id, SEED.replace("1839594", appointment_id), key=KEY)
    assert response.status_code == 200
    assert validation.find_problems(response.json) == []
    return response


def shown(answer):
    return {name: value for name, value in answer.items() if name not in {"id", "meta", "identifier"}}


def test_a_cancelled_response_states_that_and_no_more(client):
    response = cancel(client, "apt_1")
    answer = response.json
    reason = {"cancelationReason": data_absent.concept("masked")}
    assert shown(answer) == {"resourceType": "Appointment", "status": "cancelled", **reason, **MASKED}
    assert [identifier["value"] for identifier in answer["identifier"]] == ["heim", "apt_1"]
    assert answer["meta"] == {"versionId": "1"}
    assert response.headers["ETag"] == 'W/"1"'


@pytest.mark.parametrize("appointment_id", ["apt_completed", "apt_refused", "apt_reset-before-commit", "apt_read-500"])
def test_a_proposed_response_states_why_and_no_more(client, appointment_id):
    answer = cancel(client, appointment_id).json
    (why,) = answer.pop("contained")
    assert why["issue"][0]["details"]["text"]
    assert answer.pop("supportingInformation") == [{"reference": f"#{why['id']}"}]
    assert shown(answer) == {"resourceType": "Appointment", "status": "proposed", **MASKED}


@pytest.mark.parametrize("explain", ["true", "false"])
def test_no_element_of_a_source_passes_for_the_facades_own(make, fhir, explain):
    more = SOURCE.format(url=fhir.url, settings=BY_TOKEN)
    clients = CLIENT.replace('"heim"', '"fhir"')
    client = make(clients=clients, facade=f'explain_proposed = {explain}\ndefault_source = "fhir"', more=more)
    theirs = {"resourceType": "OperationOutcome", "id": "why", "issue": [{"severity": "error", "code": "exception"}]}
    theirs["issue"][0]["details"] = {"text": "CANARY"}
    fhir.patch(
        "apt-1",
        {
            "contained": [theirs],
            "supportingInformation": [{"reference": "#why"}],
            "participant": [{"actor": {"display": "CANARY"}, "status": "accepted"}],
        },
    )
    fhir.patch("apt-fulfilled", {"contained": [theirs], "supportingInformation": [{"reference": "#why"}]})
    for appointment_id in ("apt-1", "apt-fulfilled"):
        answer = client.cancel(appointment_id, SEED.replace("1839594", appointment_id), source="fhir", key=KEY).json
        assert "CANARY" not in json.dumps(answer)
        assert answer["meta"]["security"]


def test_who_may_read_gets_all_of_the_same_recorded_answer(client):
    cancel(client, "apt_1")
    whole = client.cancel("apt_1").json
    assert whole["cancelationReason"]["coding"][0]["code"] == "pat-mv"
    assert whole["participant"][0]["actor"]["reference"].startswith("Patient/")
    assert cancel(client, "apt_1").json["participant"] == MASKED["participant"]


def test_explanations_that_are_off_stay_off(make):
    client = make(clients=CLIENT, facade="explain_proposed = false")
    assert shown(cancel(client, "apt_refused").json) == {"resourceType": "Appointment", "status": "proposed", **MASKED}
