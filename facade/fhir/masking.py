"""What a client that may cancel and may not read is shown of an appointment: what concerns its own request."""

from facade.fhir import data_absent
from facade.fhir.appointment import PLACEHOLDERS, in_order
from facade.plugin.contract import Appointment

_KEPT = ("resourceType", "id", "status")
_KEPT_OF_META = ("versionId", "security")


def masked(appointment: Appointment, *, explained: bool) -> Appointment:
    """The identifiers that the facade gives, the status, and why it is proposed; all else is masked or left out.

    ``appointment`` is an answer to a cancel; ``explained`` says that a proposed one contains, as its last contained
    resource, the facade's own OperationOutcome. The required elements carry the data-absent-reason ``masked``.
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
    return in_order(shown)
