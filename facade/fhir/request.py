"""The cancel request: what a scheduler may send, checked member by member, and what it means.

It is a partial Appointment, not a valid one (no participant), so no FHIR model is built from it.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from facade import strict_json
from facade.errors import BadRequest, UnprocessableContent
from facade.fhir import ids, reasons
from facade.fhir.appointment_status import APPOINTMENT_STATUSES
from facade.fhir.text import clean
from facade.plugin.contract import CancelRequest, Coding

MAX_MEMBERS = 100
"""Members of one array in a request; a real cancel has a handful."""
MAX_VALUES = 2000
"""Values of a request in all."""


class Exactly(fields.Field[Any]):
    """A JSON value of one type: no string is taken for a number, no number for a boolean; null is absence."""

    _NAMES = {str: "a string", int: "an integer", bool: "true or false", dict: "an object"}  # noqa: RUF012 - read only

    def __init__(self, kind: type, **kwargs: Any) -> None:
        super().__init__(allow_none=True, **kwargs)
        self.kind = kind

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if type(value) is not self.kind:
            raise ValidationError(f"must be {self._NAMES[self.kind]}")
        return value


def text_field() -> Exactly:
    """A JSON string."""
    return Exactly(str)


def object_list() -> fields.List[Any]:
    """A JSON array of objects whose members do not matter here."""
    return fields.List(Exactly(dict), allow_none=True)


class _Lenient(Schema):
    class Meta:
        unknown = EXCLUDE

    # Class-level so that messages are FHIR's words, not Python's.
    error_messages = {"type": "must be an object"}  # noqa: RUF012 - marshmallow reads it from the class


class CodingSchema(_Lenient):
    """A Coding."""

    system = text_field()
    version = text_field()
    code = text_field()
    display = text_field()
    userSelected = Exactly(bool)  # noqa: N815 - FHIR's name


class CodeableConceptSchema(_Lenient):
    """A CodeableConcept."""

    coding = fields.List(fields.Nested(CodingSchema, allow_none=True), allow_none=True)
    text = text_field()


class ParticipantSchema(_Lenient):
    """An Appointment.participant, as far as a cancel depends on it."""

    type = object_list()
    actor = Exactly(dict)
    required = text_field()
    status = text_field()
    period = Exactly(dict)
    modifierExtension = object_list()  # noqa: N815 - FHIR's name


_OBJECTS = ("meta", "text", "appointmentType")
_OBJECT_LISTS = (
    "contained extension modifierExtension identifier serviceCategory serviceType specialty reasonCode "
    "reasonReference supportingInformation slot basedOn requestedPeriod"
).split()
_STRINGS = "implicitRules language description start end created comment patientInstruction".split()


class CancelRequestSchema(_Lenient):
    """Every element of an R4 Appointment with its JSON type; unknown members are ignored."""

    resourceType = text_field()  # noqa: N815 - FHIR's name
    id = text_field()
    status = text_field()
    cancelationReason = fields.Nested(CodeableConceptSchema, allow_none=True)  # noqa: N815
    participant = fields.List(fields.Nested(ParticipantSchema, allow_none=True), allow_none=True)
    priority = Exactly(int)
    minutesDuration = Exactly(int)  # noqa: N815
    locals().update({name: Exactly(dict) for name in _OBJECTS})
    locals().update({name: object_list() for name in _OBJECT_LISTS})
    locals().update({name: text_field() for name in _STRINGS})


def parse(body: Any, appointment_id: str, if_match: frozenset[str] | None = None) -> CancelRequest:
    """Parse the cancel request that ``body`` (parsed JSON) states for the appointment with this raw native id.

    Raises BadRequest for anything that is not an Appointment of this id, UnprocessableContent for a
    missing or unknown status, a wrong JSON type of a known element, or too many members.
    """
    if not isinstance(body, dict):
        raise BadRequest("The body must be a JSON object: a FHIR Appointment.", issue_code="structure")
    if body.get("resourceType") != "Appointment":
        raise BadRequest('The body must be a FHIR Appointment: "resourceType": "Appointment".', issue_code="structure")
    try:
        # Before the schema: its list of errors would cost much more than what is wrong.
        strict_json.check_size(body, members=MAX_MEMBERS, values=MAX_VALUES)
    except strict_json.TooMany as error:
        raise UnprocessableContent(_too_many(error.path), issue_code="too-long") from None
    try:
        appointment = CancelRequestSchema().load(body)
    except ValidationError as error:
        raise UnprocessableContent(_sentence(error.messages), issue_code="structure") from None
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
    text = clean(reason.get("text") or "")
    return CancelRequest(
        appointment_id=appointment_id,
        codings=codings,
        text=text,
        note=_note(codings, text, clean(appointment.get("comment") or "")),
        unsupported=_unsupported(status, appointment),
        if_match=if_match,
    )


def _too_many(path: str) -> str:
    if path:
        return f'The element "{path}" has more than {MAX_MEMBERS} members; send the cancel\'s elements only.'
    return f"The request has more than {MAX_VALUES} values; send the cancel's elements only."


def _coding(coding: Mapping[str, str | None]) -> Coding:
    return Coding(*(clean(coding.get(member) or "") for member in ("system", "code", "display")))


def _note(codings: Iterable[Coding], text: str, comment: str) -> str:
    """Prose for people: text, comment, displays; bare codes only where there is nothing else."""
    codings = tuple(codings)
    known = [reasons.hl7_codes().get(c.code) if c.system == reasons.SYSTEM else None for c in codings]
    displays = [hl7.display if hl7 else coding.display for hl7, coding in zip(known, codings, strict=True)]
    words = [word.rstrip(".") for word in (text, comment, *displays) if word] or [c.code for c in codings if c.code]
    return ". ".join(dict.fromkeys(words))


def _unsupported(status: str, appointment: Mapping[str, Any]) -> str:
    # A modifier that is not understood may turn the meaning round, so it stops the cancel:
    # http://hl7.org/fhir/R4/extensibility.html#modifierExtension, resource.html#implicitRules.
    if status != "cancelled":
        return f'This facade only cancels: "status": "{status}" cannot be set through it.'
    participants = [participant for participant in appointment.get("participant") or [] if participant]
    if appointment.get("modifierExtension") or any(p.get("modifierExtension") for p in participants):
        return "The request holds a modifierExtension, which this facade does not understand; send it without."
    if appointment.get("implicitRules"):
        return "The request holds implicitRules, which this facade does not know; send it without."
    return ""


def _sentence(messages: Any, path: str = "") -> str:
    """One sentence for the first wrong element; never its value."""
    if isinstance(messages, dict):
        name, inner = next(iter(messages.items()))
        step = f"[{name}]" if isinstance(name, int) else "" if name == "_schema" else f".{name}"
        return _sentence(inner, path + step)
    message = str(messages[0]).rstrip(".")
    wording = {"Not a valid list": "must be an array", "Invalid input type": "must be an object"}
    return f'The element "{path.lstrip(".")}" {wording.get(message, message)}.'
