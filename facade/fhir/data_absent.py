"""How R4 says that a required element is not known, and why."""

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
    """The extension that stands in for a value."""
    return {"url": EXTENSION, "valueCode": reason}


def concept(reason: str) -> dict[str, Any]:
    """A CodeableConcept no one knows."""
    return {"coding": [{"system": SYSTEM, "code": reason, "display": DISPLAYS[reason]}]}


def reference(reason: str) -> dict[str, Any]:
    """A Reference no one knows."""
    return {"extension": [extension(reason)], "display": DISPLAYS[reason]}


def participant(reason: str) -> dict[str, Any]:
    """A participant no one knows; its status invents no acceptance."""
    return {"actor": reference(reason), "status": "needs-action"}
