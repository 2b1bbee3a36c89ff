"""Heim's codes, as its guide *Cancelling appointments* lists them: 15 reasons, 4 causing and 2 cancelling entities."""

REASONS = {
    "patient_cancelled": "Patient cancelled",
    "patient_not_present": "Patient not present",
    "patient_unwell": "Patient unwell",
    "patient_requested_reschedule": "Patient requested reschedule",
    "practitioner_late": "Practitioner is delayed or late",
    "practitioner_cancelled": "Practitioner cancelled",
    "incorrect_patient_information": "Incorrect patient information",
    "no_longer_required": "No longer required",
    "organisation_cancelled": "Organisation cancelled",
    "operator_error": "Created in error",
    "duplicate_appointment": "Duplicate appointment",
    "organisation_requested_reschedule": "Organisation requested reschedule",
    "missing_organisation_provided_equipment": "Missing equipment provided by the organisation",
    "organisation_service_issue": "Organisation service issue",
    "platform_service_issue": "Platform service issue",
}
CAUSING_ENTITIES = {
    "organisation": "Organisation",
    "patient": "Patient",
    "platform": "Platform",
    "practitioner": "Practitioner",
}
CANCELLING_ENTITIES = {"organisation": "Organisation", "patient": "Patient"}


def causing_entity(reason: str) -> str:
    """Return the causing entity of a reason where the request names none.

    The causing entity decides who pays, so it follows from the reason and is never merely the cheapest.
    """
    if reason.startswith("patient_") or reason == "incorrect_patient_information":
        return "patient"
    if reason.startswith("practitioner_"):
        return "practitioner"
    return "platform" if reason == "platform_service_issue" else "organisation"
