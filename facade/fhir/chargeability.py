"""Build and read the extension that states whether a cancellation may be charged."""

from collections.abc import Mapping
from typing import Any

EXTENSION = "urn:fhir-facade:extension:chargeability"


def chargeability(*, may_be: bool, eta: str | None) -> dict[str, Any]:
    """Build the extension: ``mayBeChargeable`` and, if ``eta`` is given, ``estimatedTimeOfArrival``.

    ``eta`` is a FHIR instant. The extension never states more than *may be*: the agreement with the source system
    decides whether a cancellation is charged.
    """
    parts: list[dict[str, Any]] = [{"url": "mayBeChargeable", "valueBoolean": may_be}]
    if eta is not None:
        parts.append({"url": "estimatedTimeOfArrival", "valueInstant": eta})
    return {"url": EXTENSION, "extension": parts}


def eta(appointment: Mapping[str, Any]) -> Any:
    """Return the ETA in an Appointment's extension, a FHIR instant; None if there is none."""
    for extension in appointment.get("extension", []):
        if extension.get("url") == EXTENSION:
            for part in extension.get("extension", []):
                if part.get("url") == "estimatedTimeOfArrival":
                    return part.get("valueInstant")
    return None
