"""The plugin for FHIR R4 servers: its declaration."""

from typing import TYPE_CHECKING

from facade import Capabilities, SourcePlugin, Support, hl7_reasons, hookimpl
from facade_fhir_r4.adapter import FhirR4Adapter
from facade_fhir_r4.settings import FhirR4Settings

if TYPE_CHECKING:
    from facade.testing.simulator import Simulator


def _simulator() -> "Simulator":
    # Imported on demand: serving needs no simulator, and no Flask application for one.
    from facade_fhir_r4.simulator import FhirR4Simulator

    return FhirR4Simulator()


@hookimpl
def facade_source_plugin() -> SourcePlugin:
    """Declare a FHIR R4 server."""
    return SourcePlugin(
        api="1.0",
        name="fhir_r4",
        adapter=FhirR4Adapter,
        settings=FhirR4Settings,
        id_pattern=r"[A-Za-z0-9.-]{1,64}",
        repeat="errors",
        reasons=hl7_reasons(),
        # Only mode "update" sends a note.
        capabilities=Capabilities(versioned_writes=Support.FULL, note=Support.NOT_IMPLEMENTED),
        # What R4's Appointment may refer to (http://hl7.org/fhir/R4/appointment.html).
        identifiers=(
            "Patient",
            "Practitioner",
            "PractitionerRole",
            "RelatedPerson",
            "Device",
            "HealthcareService",
            "Location",
            "Slot",
            "Condition",
            "Procedure",
            "Observation",
            "ImmunizationRecommendation",
            "ServiceRequest",
            "Organization",
        ),
        simulator=_simulator,
    )
