"""The seeded appointments of the simulated FHIR server: every status, every special case, every fault's id."""

from datetime import UTC, datetime, timedelta
from typing import Any

from facade.testing.simulator import Native

_IS_CANCELABLE = "https://fhir-ehr.cerner.com/r4/StructureDefinition/is-cancelable"
_HL7 = "http://terminology.hl7.org/CodeSystem"
_HOUR = timedelta(hours=1)


def seeds(now: datetime, fault_ids: list[str]) -> dict[str, Native]:
    """Return the appointments by id. All ids inside one contain its number, so that they differ from every other's."""
    special_cases = ("stale", "stale-409", "stale-always", "empty-response", "locked")
    ordinary = ["1839594", *(f"apt-{n}" for n in range(1, 10)), *(f"apt-{case}" for case in special_cases), *fault_ids]
    statuses = ("proposed", "pending", "booked", "arrived", "checked-in", "fulfilled", "noshow", "waitlist")
    cancelled = {
        "status": "cancelled",
        "cancelationReason": {
            "coding": [
                {"system": f"{_HL7}/appointment-cancellation-reason", "code": "pat-fb", "display": "Felt better"}
            ],
            "text": "Rang the ward",
        },
    }
    changes: dict[str, Native] = {
        **{appointment_id: {} for appointment_id in ordinary},
        **{f"apt-{status}": {"status": status} for status in statuses},
        "apt-cancelled": cancelled,
        "apt-not-cancelable": {"extension": [{"url": _IS_CANCELABLE, "valueBoolean": False}]},
        "apt-sparse": dict.fromkeys(
            ("text", "contained", "extension", "identifier", "serviceType", "appointmentType", "slot")
        ),
    }
    return {
        appointment_id: _present({**_appointment(appointment_id, number, now), **changed})
        for number, (appointment_id, changed) in enumerate(changes.items(), start=101)
    }


def _present(native: Native) -> Native:
    return {name: value for name, value in native.items() if value is not None}


def _appointment(appointment_id: str, number: int, now: datetime) -> Native:
    """Return an ordinary appointment with many elements. The canaries may appear in a response, and nowhere else."""
    start, end = now + 73 * _HOUR, now + 74 * _HOUR
    return {
        "resourceType": "Appointment",
        "id": appointment_id,
        "meta": {
            "versionId": "1",
            "lastUpdated": f"{now:%Y-%m-%dT%H:%M:%S.000Z}",
            "security": [{"system": f"{_HL7}/v3-Confidentiality", "code": "R", "display": "restricted"}],
            "tag": [{"system": "urn:example:clinic", "code": "outpatient"}],
        },
        "text": {
            "status": "generated",
            "div": f'<div xmlns="http://www.w3.org/1999/xhtml">Appointment {number}, booked</div>',
        },
        "contained": [
            {
                "resourceType": "Patient",
                "id": "patient",
                "name": [
                    {
                        "family": "CANARY-family",
                        "given": ["CANARY-given", None],
                        "_given": [None, {"extension": [_absent("masked")]}],
                    }
                ],
                "birthDate": "1971-02-03",
                "_birthDate": {
                    "extension": [
                        {
                            "url": "http://hl7.org/fhir/StructureDefinition/patient-birthTime",
                            "valueDateTime": "1971-02-03T04:05:06.123456789+01:00",
                        }
                    ]
                },
                "managingOrganization": {"reference": f"Organization/org-{number}/_history/2"},
            }
        ],
        "extension": [
            {"url": _IS_CANCELABLE, "valueBoolean": True},
            {
                "url": "urn:example:transport",
                "extension": [
                    {"url": "by", "valueCodeableConcept": {"text": "wheelchair taxi"}},
                    {"url": "distance", "valueQuantity": {"value": 12.5, "unit": "km"}},
                ],
            },
        ],
        "identifier": [
            {"use": "usual", "system": "urn:example:booking", "value": f"B-{number}"},
            {"use": "secondary", "value": f"ward/{number}", "period": {"start": "2026-01-01"}},
        ],
        "status": "booked",
        "serviceCategory": [{"coding": [{"system": f"{_HL7}/service-category", "code": "17"}]}],
        "serviceType": [{"coding": [{"system": f"{_HL7}/service-type", "code": "57", "display": "Immunization"}]}],
        "specialty": [{"coding": [{"system": "http://snomed.info/sct", "code": "394814009"}]}],
        "appointmentType": {"coding": [{"system": f"{_HL7}/v2-0276", "code": "FOLLOWUP"}]},
        "reasonReference": [{"reference": f"Condition/cond-{number}", "display": "CANARY-condition"}],
        "priority": 5,
        "description": f"Second dose, appointment {number}",
        "start": _nine_digits(start, number),
        "_start": {"extension": [{"url": "urn:example:precision", "valueCode": "planned"}]},
        "end": _nine_digits(end, number),
        "minutesDuration": 60,
        "slot": [{"reference": f"Slot/slot-{number}"}],
        "created": "2026-01-05",
        "comment": "CANARY-comment",
        "_comment": {"extension": [{"url": "urn:example:author", "valueString": "front desk"}]},
        "patientInstruction": "Bring the vaccination card",
        "participant": [
            {
                "type": [{"coding": [{"system": f"{_HL7}/v3-ParticipationType", "code": "SBJ"}]}],
                "actor": {"reference": "#patient"},
                "required": "required",
                "status": "accepted",
            },
            {
                "type": [{"coding": [{"system": f"{_HL7}/v3-ParticipationType", "code": "ATND"}]}],
                "actor": {"reference": f"Practitioner/pr-{number}", "display": "The doctor on duty"},
                "required": "required",
                "status": "tentative",
                "_status": {"extension": [{"url": "urn:example:asked", "valueInstant": _nine_digits(now, number)}]},
                "period": {"start": _nine_digits(start, number), "end": _nine_digits(end, number)},
            },
            {
                "actor": {"reference": f"https://rooms.example/fhir/Location/room-{number}", "type": "Location"},
                "required": "information-only",
                "status": "needs-action",
            },
        ],
        "requestedPeriod": [{"start": _nine_digits(start - 24 * _HOUR, number), "end": _nine_digits(end, number)}],
    }


def _absent(why: str) -> dict[str, Any]:
    return {"url": "http://hl7.org/fhir/StructureDefinition/data-absent-reason", "valueCode": why}


def _nine_digits(instant: datetime, number: int) -> str:
    """Return an instant with nine digits of a second: R4 allows any precision, and Python's datetime does not."""
    return f"{instant.astimezone(UTC):%Y-%m-%dT%H:%M:%S}.{number:06d}789Z"
