"""Build the CapabilityStatement for ``/metadata``."""

from importlib.metadata import version
from typing import Any

_CANCEL = (
    "POST {base}/Appointment/{{sourceSystem}}/{{id}} with a partial Appointment (status cancelled, optionally "
    "cancelationReason) cancels one appointment in its source system. The response is an Appointment: cancelled "
    "if the source system proves it, else proposed with a contained OperationOutcome that states why. "
    "GET of the same URL reads the appointment, if the source system can be read. {single}"
    "GET {base}/ConceptMap/{{sourceSystem}} returns the mapping of cancellation reasons in use."
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
    """Build the CapabilityStatement (http://hl7.org/fhir/R4/capabilitystatement.html).

    ``started`` is a FHIR dateTime. ``security`` describes the authentication. ``single_cancels`` and ``single_reads``:
    the routes without a source name are served. ``maps_reasons``: at least one source has a ConceptMap. The statement
    names no source, since a client may not be allowed to use all of them.
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
