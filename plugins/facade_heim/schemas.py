"""Parses Heim's JSON: finds each field by its path, and checks its type."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jmespath.exceptions import JMESPathError
from marshmallow import EXCLUDE, Schema, ValidationError, fields, post_load, validate

from facade_heim import codes

_UNUSABLE = "unusable"


@dataclass(frozen=True)
class NativeAppointment:
    """The used fields of a Heim appointment, never ``data`` and ``metadata``. Absent ones are None."""

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


class StringField(fields.Field[str]):
    """A string, or an integer as its digits. An empty string loads as None."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if not isinstance(value, str):
            raise ValidationError("is neither string nor integer")
        return value or None


class AnyAsString(StringField):
    """A string; a value of any other type loads as its text, because an unusable value differs from an absent one."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        return super()._deserialize(str(value), attr, data, **kwargs)


class NativeAppointmentSchema(Schema):
    """The fields of a Heim appointment, by name."""

    class Meta:
        unknown = EXCLUDE

    locals().update({name: StringField(allow_none=True) for name in NativeAppointment.__dataclass_fields__})
    eta = AnyAsString(allow_none=True)  # decides whether a cancel may be charged

    @post_load
    def _frozen(self, data: dict[str, Any], **_: Any) -> NativeAppointment:
        return NativeAppointment(**data)


class CancellationSchema(Schema):
    """The cancellation object that the plugin sends to Heim."""

    note = fields.String()
    causingEntity = fields.String(required=True, validate=validate.OneOf(list(codes.CAUSING_ENTITIES)))  # noqa: N815
    cancellingEntity = fields.String(  # noqa: N815 - Heim's name
        required=True, validate=validate.OneOf(list(codes.CANCELLING_ENTITIES))
    )
    reasonCode = fields.String(required=True, validate=validate.OneOf(list(codes.REASONS)))  # noqa: N815


def parse(body: Any, field_paths: Mapping[str, Any]) -> NativeAppointment:
    """Parse the appointment in a response: the body, or its ``appointment`` member. Never raises.

    ``field_paths`` has compiled JMESPath expressions by field. A field with an unusable type counts as absent, except
    the ETA: it decides whether a cancel may be charged, so it counts as present and unusable.
    """
    wrapped = body.get("appointment") if isinstance(body, dict) else None
    root = wrapped if isinstance(wrapped, dict) else body
    found = {name: _search(path, root, _UNUSABLE if name == "eta" else None) for name, path in field_paths.items()}
    schema = NativeAppointmentSchema()
    wrong = schema.validate(found)
    native: NativeAppointment = schema.load({name: value for name, value in found.items() if name not in wrong})
    return native


def webhook_appointment(body: Any, settings: Mapping[str, Any]) -> str | None:
    """Return the id of the appointment that a webhook is about; None where it has none."""
    found = _search(settings["webhook_appointment"], body)
    return found if isinstance(found, str) else None


def _search(path: Any, root: Any, otherwise: Any = None) -> Any:
    try:
        return path.search(root)
    except JMESPathError:
        return otherwise  # the expression calls a function with a value of the wrong type
