"""Validate the body of a cancel request, and parse it into a CancelRequest.

The body is a partial Appointment. It needs no participant, so it is not valid R4, and no FHIR model is built from it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from facade import strict_json
from facade.errors import BadRequest, UnprocessableContent
from facade.fhir import ids, reasons
from facade.fhir.appointment_status import APPOINTMENT_STATUSES
from facade.fhir.strings import strip_controls
from facade.plugin.contract import CancelRequest, Coding

MAX_MEMBERS = 100
"""The limit of members of one array in a request. A typical cancel has fewer than ten."""
MAX_VALUES = 2000
"""The limit of JSON values in a request."""


class TypedField(fields.Field[Any]):
    """A JSON value of exactly one type, without conversion. Null counts as absent."""

    _TYPE_NAMES = {str: "a string", int: "an integer", bool: "true or false", dict: "an object"}  # noqa: RUF012 - read only

    def __init__(self, kind: type, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)
        self.kind = kind

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is not self.kind:
            raise ValidationError(f"must be {self._TYPE_NAMES[self.kind]}")
        return value


def text_field() -> TypedField:
    """Return the field of a JSON string."""
    return TypedField(str)


def object_list() -> fields.List[Any]:
    """Return the field of a JSON array of objects whose members are not checked."""
    return fields.List(TypedField(dict), allow_none=True)


class _IgnoringUnknown(Schema):
    class Meta:
        unknown = EXCLUDE

    # On the class, so that messages name JSON types instead of Python types.
    error_messages = {"type": "must be an object"}  # noqa: RUF012 - marshmallow reads it from the class


class CodingSchema(_IgnoringUnknown):
    """A Coding."""

    system = text_field()
    version = text_field()
    code = text_field()
    display = text_field()
    userSelected = TypedField(bool)  # noqa: N815 - FHIR's name


class CodeableConceptSchema(_IgnoringUnknown):
    """A CodeableConcept."""

    coding = fields.List(fields.Nested(CodingSchema, allow_none=True), allow_none=True)
    text = text_field()


class ParticipantSchema(_IgnoringUnknown):
    """The members of Appointment.participant that a cancel depends on."""

    type = object_list()
    actor = TypedField(dict)
    required = text_field()
    status = text_field()
    period = TypedField(dict)
    modifierExtension = object_list()  # noqa: N815 - FHIR's name


_OBJECTS = ("meta", "text", "appointmentType")
_OBJECT_LISTS = (
    "contained extension modifierExtension identifier serviceCategory serviceType specialty reasonCode "
    "reasonReference supportingInformation slot basedOn requestedPeriod"
).split()
_STRINGS = "implicitRules language description start end created comment patientInstruction".split()


class CancelRequestSchema(_IgnoringUnknown):
    """The elements of an R4 Appointment with their JSON types. Unknown members are ignored."""

    resourceType = text_field()  # noqa: N815 - FHIR's name
    id = text_field()
    status = text_field()
    cancelationReason = fields.Nested(CodeableConceptSchema, allow_none=True)  # noqa: N815
    participant = fields.List(fields.Nested(ParticipantSchema, allow_none=True), allow_none=True)
    priority = TypedField(int)
    minutesDuration = TypedField(int)  # noqa: N815
    locals().update({name: TypedField(dict) for name in _OBJECTS})
    locals().update({name: object_list() for name in _OBJECT_LISTS})
    locals().update({name: text_field() for name in _STRINGS})


def parse(body: Any, appointment_id: str, if_match: frozenset[str] | None = None) -> CancelRequest:
    """Parse a request body into a CancelRequest for the appointment with this raw native id.

    ``body`` is parsed JSON. ``if_match`` are the versions of the ``If-Match`` header, None without one. Raises
    BadRequest if the body is not an Appointment with this id. Raises UnprocessableContent for a missing or unknown
    status, a wrong JSON type of a known element, or too many members. A request that is valid but not supported
    (another status, a modifier) gets the reason in ``unsupported``.
    """
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object: a FHIR Appointment.", issue_code="structure")
    if body.get("resourceType") != "Appointment":
        raise BadRequest('The body must be a FHIR Appointment: "resourceType": "Appointment".', issue_code="structure")
    try:
        # Checked before the schema, which would build a list of errors as large as the body.
        strict_json.check_size(body, members=MAX_MEMBERS, values=MAX_VALUES)
    except strict_json.TooMany as error:
        raise UnprocessableContent(_too_many_text(error.path), issue_code="too-long") from None
    try:
        appointment = CancelRequestSchema().load(body)
    except ValidationError as error:
        raise UnprocessableContent(_first_error(error.messages), issue_code="structure") from None
    body_id = appointment.get("id")
    if body_id is not None and ids.decode(body_id) != appointment_id:
        raise BadRequest("The id in the body differs from the id in the path; send the same appointment's id in both.")
    status = appointment.get("status")
    if status is None:
        raise UnprocessableContent('The element "status" is required; send "cancelled".', issue_code="required")
    if status not in APPOINTMENT_STATUSES:
        raise UnprocessableContent(
            'The element "status" is not an R4 appointment status; send "cancelled".',
            issue_code="code-invalid",
        )
    reason = appointment.get("cancelationReason") or {}
    codings = tuple(_coding(coding) for coding in reason.get("coding") or [] if coding)
    text = strip_controls(reason.get("text") or "")
    return CancelRequest(
        appointment_id=appointment_id,
        codings=codings,
        text=text,
        note=_note(codings, text, strip_controls(appointment.get("comment") or "")),
        unsupported=_unsupported(status, appointment),
        if_match=if_match,
    )


def _too_many_text(path: str) -> str:
    if path:
        return f'The element "{path}" has more than {MAX_MEMBERS} members; send the cancel\'s elements only.'
    return f"The request has more than {MAX_VALUES} values; send the cancel's elements only."


def _coding(coding: Mapping[str, str | None]) -> Coding:
    return Coding(*(strip_controls(coding.get(member) or "") for member in ("system", "code", "display")))


def _note(codings: Iterable[Coding], text: str, comment: str) -> str:
    """Build a note for people from text, comment and displays; from codes only if there is nothing else."""
    codings = tuple(codings)
    known = [reasons.hl7_codes().get(c.code) if c.system == reasons.SYSTEM else None for c in codings]
    displays = [hl7.display if hl7 else coding.display for hl7, coding in zip(known, codings, strict=True)]
    parts = [part.rstrip(".") for part in (text, comment, *displays) if part] or [c.code for c in codings if c.code]
    return ". ".join(dict.fromkeys(parts))


def _unsupported(status: str, appointment: Mapping[str, Any]) -> str:
    # An unknown modifier may negate the meaning of the request, so nothing is cancelled:
    # http://hl7.org/fhir/R4/extensibility.html#modifierExtension, resource.html#implicitRules.
    if status != "cancelled":
        return f'This facade can only cancel: it cannot set "status": "{status}". Send "status": "cancelled".'
    participants = [participant for participant in appointment.get("participant") or [] if participant]
    if appointment.get("modifierExtension") or any(p.get("modifierExtension") for p in participants):
        return "The request contains a modifierExtension, which this facade does not support. Remove it and send again."
    if appointment.get("implicitRules"):
        return "The request contains implicitRules, which this facade does not support. Remove them and send again."
    return ""


def _first_error(messages: Any, path: str = "") -> str:
    """Return an error text for the first invalid element. It never contains the element's value."""
    if isinstance(messages, dict):
        name, inner = next(iter(messages.items()))
        step = f"[{name}]" if isinstance(name, int) else "" if name == "_schema" else f".{name}"
        return _first_error(inner, path + step)
    message = str(messages[0]).rstrip(".")
    wording = {"Not a valid list": "must be an array", "Invalid input type": "must be an object"}
    return f'The element "{path.lstrip(".")}" {wording.get(message, message)}.'
