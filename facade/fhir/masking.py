"""Mask an Appointment for a client that may cancel but not read: show only what concerns its own request."""

from facade.fhir import data_absent
from facade.fhir.appointment import PLACEHOLDERS, order_elements
from facade.plugin.contract import Appointment

_KEPT = ("resourceType", "id", "status")
_KEPT_OF_META = ("versionId", "security")


def mask(appointment: Appointment, *, explained: bool) -> Appointment:
    """Return the facade's identifiers, the status and the OperationOutcome; omit or mask every other element.

    ``appointment`` is the result of a cancel. ``explained``: if it is proposed, its last contained resource is the
    facade's own OperationOutcome. Required elements and the reason get the data-absent-reason ``masked``.
    """
    shown: Appointment = {name: appointment[name] for name in _KEPT}
    shown["meta"] = {name: value for name, value in appointment["meta"].items() if name in _KEPT_OF_META}
    shown["identifier"] = appointment["identifier"][:2]  # the source system and the native id, which the client sent
    shown |= {element: placeholder("masked") for element, placeholder in PLACEHOLDERS.items()}
    if appointment["status"] == "cancelled":
        shown["cancelationReason"] = data_absent.concept("masked")
    elif explained:
        why = appointment["contained"][-1]
        shown |= {"contained": [why], "supportingInformation": [{"reference": f"#{why['id']}"}]}
    return order_elements(shown)
