"""Paper's codes: its cancellation reasons, and its states with their FHIR status."""

REASONS = {
    "patient": "The patient cancels",
    "practice": "The practice cancels",
    "mistake": "Booked by mistake",
}
# Any other state has no FHIR status. Do not guess one: an unknown state is not cancelled.
STATUSES = {
    "planned": "booked",
    "done": "fulfilled",
    "missed": "noshow",
    "cancelled": "cancelled",
}
