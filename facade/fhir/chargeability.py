"""The extension that says whether a cancellation may be chargeable, and by which ETA that was decided."""

from collections.abc import Mapping
from typing import Any

EXTENSION = "urn:fhir-facade:extension:chargeability"


def chargeability(*, may_be: bool, eta: str | None) -> dict[str, Any]:
    """The extension: ``mayBeChargeable`` and, where the source has one, ``estimatedTimeOfArrival`` (an instant).

    Never more than *may be*: the agreement with the source system decides.
    """
    parts: list[dict[str, Any]] = [{"url": "mayBeChargeable", "valueBoolean": may_be}]
    if eta is not None:
        parts.append({"url": "estimatedTimeOfArrival", "valueInstant": eta})
    return {"url": EXTENSION, "extension": parts}


def eta(appointment: Mapping[str, Any]) -> Any:
    """The ETA in an Appointment's extension, an instant; None where there is none."""
    for extension in appointment.get("extension", []):
        if extension.get("url") == EXTENSION:
            for part in extension.get("extension", []):
                if part.get("url") == "estimatedTimeOfArrival":
                    return part.get("valueInstant")
    return None
