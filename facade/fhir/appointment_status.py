"""The appointment statuses of FHIR R4: http://hl7.org/fhir/R4/valueset-appointmentstatus.html."""

APPOINTMENT_STATUSES = (
    "proposed",
    "pending",
    "booked",
    "arrived",
    "fulfilled",
    "cancelled",
    "noshow",
    "entered-in-error",
    "checked-in",
    "waitlist",
)
"""The codes of R4's value set AppointmentStatus."""
