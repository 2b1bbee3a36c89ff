"""The acceptance run's own check of R4, its codes and its encoding of ids; none of them is the facade's."""

import json

import pytest

from facade.fhir import ids, reasons
from facade.verify import hl7, r4
from tests.support.paths import ROOT
from tests.unit import test_sanitize

GOOD = {
    "resourceType": "Appointment",
    "id": "a1",
    "status": "cancelled",
    "minutesDuration": 30,
    "created": "2030-01-01",
    "contained": [{"resourceType": "Patient", "id": "p"}],
    "_start": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]},
    "_end": {"extension": [{"url": "urn:x", "valueCode": "unknown"}]},
    "participant": [{"actor": {"reference": "#p"}, "status": "accepted", "required": "required"}],
    "slot": [{"reference": "Slot/1"}, {"reference": "Slot/1/_history/2"}, {"reference": "https://x.example/a b"}],
}
PATIENT = {"resourceType": "Patient", "id": "p"}
BACKWARD = [{"start": start, "end": end} for start, end in test_sanitize.BACKWARD]
FORWARD = [{"start": start, "end": end} for start, end in test_sanitize.FORWARD]
STATEMENT = {
    "resourceType": "CapabilityStatement",
    "status": "active",
    "date": "2030-01-01",
    "kind": "instance",
    "implementation": {"description": "x"},
    "fhirVersion": "4.0.1",
    "format": ["application/fhir+json", "json"],
    "rest": [{"mode": "server", "resource": [{"type": "Appointment", "interaction": [{"code": "read"}]}]}],
}


def test_what_is_r4_is_found_right():
    assert r4.problems(GOOD) == []
    assert list(r4.broken_invariants(GOOD)) == []
    assert r4.problems(STATEMENT) == []
    example = ROOT / "tests" / "fhir_engine" / "appointments.json"
    for appointment in json.loads(example.read_text("utf-8")):
        assert r4.problems(appointment) == []


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"status": "canceled"}, "status"),
        ({"status": None}, "status"),
        ({"minutesDuration": "30"}, "minutesDuration"),
        ({"comment": 4}, "comment"),
        ({"comment": ""}, "comment"),
        ({"identifier": []}, "identifier"),
        ({"identifier": [{}]}, "identifier.0"),
        ({"identifier": [{"use": "best"}]}, "identifier.0.use"),
        ({"identifier": {"value": "1"}}, "identifier"),
        ({"id": "a_1"}, "id"),
        ({"unheard": 1}, "unheard"),
        ({"created": "2030-13-01"}, "created"),
        ({"start": "2030-01-01T10:00:00"}, "start"),
        ({"participant": []}, "participant"),
        ({"participant": [{"actor": {"display": "x"}, "status": "booked"}]}, "participant.0.status"),
        ({"slot": [{"reference": "Slot/a_1"}]}, "slot.0.reference"),
        ({"slot": [{"reference": "#no one"}]}, "slot.0.reference"),
        ({"extension": [{"url": "urn:x"}]}, "extension.0"),
        ({"extension": [{"url": "urn:x", "valueString": "x", "extension": [{"url": "u", "valueString": "x"}]}]}, None),
        ({"extension": [{"url": "urn:x", "valueBoolean": "true"}]}, "extension.0.valueBoolean"),
        ({"contained": [{"resourceType": "OperationOutcome", "id": "p", "issue": [{"severity": "error"}]}]}, None),
        ({"contained": [{"resourceType": "Spaceship", "id": "p"}]}, None),
        ({"contained": [{**PATIENT, "contained": [{**PATIENT, "id": "q"}]}]}, "contained.0.contained"),
        ({"contained": [{**PATIENT, "meta": {"versionId": "1"}}]}, "contained.0.meta.versionId"),
        ({"contained": [{**PATIENT, "meta": {"lastUpdated": "2030-01-01T10:00:00Z"}}]}, "contained.0.meta.lastUpdated"),
        ({"contained": [PATIENT, PATIENT]}, "contained.1.id"),
        ({"contained": [{**PATIENT, "text": {"status": "generated", "div": "<p>x</p>"}}]}, "contained.0.text.div"),
        ({"contained": [{**PATIENT, "name": [{"period": BACKWARD[0]}]}]}, "contained.0.name.0.period"),
        ({"resourceType": "Spaceship"}, "resourceType"),
    ],
)
def test_what_is_not_is_found_where_it_is_wrong(change, place):
    found = r4.problems({name: value for name, value in {**GOOD, **change}.items() if value is not None})
    assert found
    assert place is None or any(one == place or one.startswith(f"{place}.") for one in found), found


@pytest.mark.parametrize("period", BACKWARD)
def test_a_period_that_ends_before_it_begins_is_found(period):
    assert r4.problems({**GOOD, "requestedPeriod": [period]}) == ["requestedPeriod.0"]


@pytest.mark.parametrize("period", FORWARD)
def test_a_period_that_may_end_after_it_begins_is_right(period):
    assert r4.problems({**GOOD, "requestedPeriod": [period]}) == []


# A style that loads something, and a link, are what the facade is stricter about than HTML 4.0.
@pytest.mark.parametrize("div", [div for div in test_sanitize.ACTIVE if "URL(" not in div and "x:div" not in div])
def test_a_narrative_that_is_no_plain_xhtml_div_is_found(div):
    assert r4.problems({**GOOD, "text": {"status": "generated", "div": div}}) == ["text.div"]


@pytest.mark.parametrize("div", test_sanitize.INACTIVE)
def test_a_narrative_of_plain_xhtml_is_right(div):
    assert r4.problems({**GOOD, "text": {"status": "generated", "div": div}}) == []


@pytest.mark.parametrize(
    "change",
    [
        {"fhirVersion": "four"},
        {"status": "live"},
        {"kind": "server"},
        {"implementation": None},
        {"rest": None},
        {"date": None},
        {"format": None},
        {"rest": [{"mode": "both"}]},
        {"rest": [{"mode": "server", "resource": [{"type": "Appointment"}, {"type": "Appointment"}]}]},
        {"rest": [{"mode": "server", "resource": [{"type": "Appointment", "interaction": [{"code": "cancel"}]}]}]},
    ],
)
def test_a_statement_that_is_not_valid_is_found(change):
    assert r4.problems({name: value for name, value in {**STATEMENT, **change}.items() if value is not None})


@pytest.mark.parametrize(
    ("rule", "change"),
    [
        ("app-1", {"participant": [{"status": "accepted"}]}),
        ("app-2", {"_end": None}),
        ("app-3", {"status": "booked", "_start": None, "_end": None}),
        ("app-4", {"status": "proposed", "cancelationReason": {"text": "x"}}),
    ],
)
def test_each_invariant_is_found_broken(rule, change):
    broken = {name: value for name, value in {**GOOD, **change}.items() if value is not None}
    assert [found for found, _ in r4.broken_invariants(broken)] == [rule]


def test_both_copies_of_what_hl7_says_agree():
    assert reasons.SYSTEM == hl7.SYSTEM
    assert reasons.hl7_codes().keys() == hl7.CODES
    code, display = hl7.PATIENT_MOVED
    assert reasons.hl7_codes()[code].display == display
    for raw in ("1", "a.b-c", "p_1", "x-.1", "é ü", "a/b", "x-", "_"):
        assert hl7.encoded(raw) == ids.encode(raw)
