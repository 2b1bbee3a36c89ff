"""Paper's words: its reasons for a cancellation, and its states with their FHIR status."""

REASONS = {
    "patient": "The patient cancels",
    "practice": "The practice cancels",
    "mistake": "Booked by mistake",
}
# A state that is not here is left out, never guessed: above all, it is not cancelled.
STATUSES = {
    "planned": "booked",
    "done": "fulfilled",
    "missed": "noshow",
    "cancelled": "cancelled",
}
