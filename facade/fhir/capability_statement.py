"""The CapabilityStatement: what this facade does, and nothing it does not."""

from importlib.metadata import version
from typing import Any

_CANCEL = (
    "POST {base}/Appointment/{{sourceSystem}}/{{id}} with a partial Appointment (status cancelled, optionally "
    "cancelationReason) cancels one appointment in its source system. The answer is an Appointment: cancelled "
    "on the source system's own evidence, else proposed with a contained OperationOutcome that says why. "
    "GET of the same URL reads the appointment, where the source system can be read. {single}"
    "GET {base}/ConceptMap/{{sourceSystem}} is the mapping of cancellation reasons in force."
)
_SINGLE = "Both are also served without the source system in the path. "


def capability_statement(
    *,
    base_path: str,
    started: str,
    security: str,
    single_cancels: bool,
    single_reads: bool,
    maps_reasons: bool,
) -> dict[str, Any]:
    """The statement for ``/metadata``; ``started`` is a FHIR dateTime, ``security`` describes authentication.

    ``single_cancels`` and ``single_reads`` say whether the single-source routes are served, ``maps_reasons``
    whether any source has a ConceptMap. No source is named: a client may not reach all of them.
    """
    resources: list[dict[str, Any]] = [
        {
            "type": "Appointment",
            "documentation": _CANCEL.format(base=base_path, single=_SINGLE if single_cancels else ""),
            "interaction": [{"code": "read"}] if single_reads else [],
        }
    ]
    if maps_reasons:
        resources.append({"type": "ConceptMap", "interaction": [{"code": "read"}]})
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": started,
        "kind": "instance",
        "software": {"name": "fhir-facade", "version": version("fhir-facade")},
        "implementation": {"description": "A FHIR R4 facade that cancels appointments in their source systems"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "rest": [
            {
                "mode": "server",
                "security": {"description": security},
                "resource": [{key: value for key, value in entry.items() if value} for entry in resources],
            }
        ],
    }
