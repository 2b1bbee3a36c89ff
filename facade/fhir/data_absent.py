"""Build placeholders for required elements whose value is not known, with the reason.

Each function takes a data-absent-reason code, one of ``DISPLAYS``.
"""

from typing import Any

SYSTEM = "http://terminology.hl7.org/CodeSystem/data-absent-reason"
EXTENSION = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"

# Codes and displays: http://terminology.hl7.org/CodeSystem/data-absent-reason
DISPLAYS = {
    "unknown": "Unknown",
    "temp-unknown": "Temporarily Unknown",
    "unsupported": "Unsupported",
    "error": "Error",
    "masked": "Masked",
}


def extension(reason: str) -> dict[str, Any]:
    """Build the extension that replaces a value."""
    return {"url": EXTENSION, "valueCode": reason}


def concept(reason: str) -> dict[str, Any]:
    """Build a CodeableConcept without a value."""
    return {"coding": [{"system": SYSTEM, "code": reason, "display": DISPLAYS[reason]}]}


def reference(reason: str) -> dict[str, Any]:
    """Build a Reference without a target."""
    return {"extension": [extension(reason)], "display": DISPLAYS[reason]}


def participant(reason: str) -> dict[str, Any]:
    """Build a participant without an actor. Its status claims no acceptance."""
    return {"actor": reference(reason), "status": "needs-action"}
