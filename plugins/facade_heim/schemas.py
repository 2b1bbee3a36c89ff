"""Heim's JSON: where each element is found in it, and of which type it must be to be used."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jmespath.exceptions import JMESPathError
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from facade_heim import codes

_UNUSABLE = "unusable"


@dataclass(frozen=True)
class NativeAppointment:
    """What of a Heim appointment is used; absent elements are None. ``data`` and ``metadata`` never are."""

    id: str | None = None
    status: str | None = None
    start: str | None = None
    end: str | None = None
    eta: str | None = None
    patient: str | None = None
    practitioner: str | None = None
    task: str | None = None
    window: str | None = None
    type: str | None = None
    external_reference: str | None = None
    cancellation_reason: str | None = None
    cancellation_note: str | None = None
    causing_entity: str | None = None
    cancelling_entity: str | None = None


class Word(fields.Field[str]):
    """A string, or an integer as its digits; empty is absent."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise ValidationError("is neither string nor integer")
        return value or None


class Claim(Word):
    """A Word; anything else as its text, because "there is one, unusable" is not "there is none"."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return super()._deserialize(str(value), attr, data, **kwargs)


class NativeAppointmentSchema(Schema):
    """A Heim appointment, after its elements were looked up."""

    class Meta:
        unknown = EXCLUDE

    locals().update({name: Word(allow_none=True) for name in NativeAppointment.__dataclass_fields__})
    eta = Claim(allow_none=True)  # decides money

    @post_load
    def _frozen(self, data: dict[str, Any], **_: Any) -> NativeAppointment:
        return NativeAppointment(**data)


class CancellationSchema(Schema):
    """The cancellation object that Heim is sent."""

    note = fields.String()
    causingEntity = fields.String(required=True, validate=validate.OneOf(list(codes.CAUSING_ENTITIES)))  # noqa: N815
    cancellingEntity = fields.String(  # noqa: N815 - Heim's name
        required=True, validate=validate.OneOf(list(codes.CANCELLING_ENTITIES))
    )
    reasonCode = fields.String(required=True, validate=validate.OneOf(list(codes.REASONS)))  # noqa: N815


def parse(body: Any, places: Mapping[str, Any]) -> NativeAppointment:
    """The appointment in an answer: on the body itself or its ``appointment`` member. Tolerant.

    An element of an unusable type is absent, but for the ETA, which decides money: that one is there, and unusable.
    ``places`` are compiled JMESPath expressions by element.
    """
    wrapped = body.get("appointment") if isinstance(body, dict) else None
    root = wrapped if isinstance(wrapped, dict) else body
    found = {name: _search(place, root, _UNUSABLE if name == "eta" else None) for name, place in places.items()}
    schema = NativeAppointmentSchema()
    wrong = schema.validate(found)
    native: NativeAppointment = schema.load({name: value for name, value in found.items() if name not in wrong})
    return native


def webhooked_appointment(body: Any, settings: Mapping[str, Any]) -> str | None:
    """The id of the appointment that a webhook is about."""
    found = _search(settings["webhook_appointment"], body)
    return found if isinstance(found, str) else None


def _search(place: Any, root: Any, otherwise: Any = None) -> Any:
    try:
        return place.search(root)
    except JMESPathError:
        return otherwise  # a function over a value of the wrong type
