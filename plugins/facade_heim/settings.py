"""Heim's settings: what its guide does not state is a default here, never a constant in code."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jmespath
from jmespath.exceptions import JMESPathError
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from facade import BaseUrl, SecretFromEnv, SecretFromFile, WebhookSettings
from facade_heim import codes

PLACES = {
    "id": "id",
    "status": "status",
    "start": "windowStart",
    "end": "windowEnd",
    "eta": "estimatedTimeOfArrival",
    "patient": "patientId",
    "practitioner": "practitionerId",
    "task": "taskId",
    "window": "windowId",
    "type": "appointmentType",
    "external_reference": "externalReference",
    "cancellation_reason": "cancellation.reasonCode",
    "cancellation_note": "cancellation.note",
    "causing_entity": "cancellation.causingEntity",
    "cancelling_entity": "cancellation.cancellingEntity",
}
CANCELLATION_PLACES = {
    "cancellation_reason": "reasonCode",
    "cancellation_note": "note",
    "causing_entity": "causingEntity",
    "cancelling_entity": "cancellingEntity",
}
STATUSES = {
    "scheduling": "proposed",
    "scheduled": "booked",
    "completed": "fulfilled",
    "cancelled": "cancelled",
}

_FHIR_STATUSES = (
    "proposed pending booked arrived fulfilled cancelled noshow entered-in-error checked-in waitlist".split()
)


class Expression(fields.String):
    """A JMESPath expression (https://jmespath.org), compiled."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        expression = super()._deserialize(value, attr, data, **kwargs)
        try:
            return jmespath.compile(expression)
        except JMESPathError:
            raise ValidationError("is not a JMESPath expression; see https://jmespath.org") from None


class Zone(fields.String):
    """The name of a time zone in the IANA database, as a ZoneInfo."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError(f'"{name}" is not an IANA time zone; write one like Europe/London') from None


def _path(default: str) -> fields.String:
    well_formed = validate.Regexp(
        r"(/[A-Za-z0-9._~-]+)*/\{id\}(/[A-Za-z0-9._~-]+)*\Z",
        error='must be a path with "{{id}}" as one segment of it',
    )
    return fields.String(load_default=default, validate=well_formed)


def _places(default: Mapping[str, str]) -> fields.Dict:
    names = validate.OneOf(list(default), error=f"is no element; known are {', '.join(default)}")
    return fields.Dict(fields.String(validate=names), Expression(), load_default=dict)


class HeimSettings(WebhookSettings):
    """The settings of one Heim organisation; the plugin's README explains each."""

    base_url = BaseUrl(load_default="https://api.heim.health")
    api_key_env = SecretFromEnv()
    api_key_file = SecretFromFile()
    environment = fields.String(
        required=True, validate=validate.OneOf(["test", "live"], error='must be "test" or "live"')
    )
    read_path = _path("/v1/appointments/{id}")
    cancel_path = _path("/v1/appointments/{id}/cancel")
    cancellation_path = _path("/v1/appointments/{id}/cancellation")
    places = _places(PLACES)
    cancellation_places = _places(CANCELLATION_PLACES)
    own_error = Expression(load_default=lambda: jmespath.compile("error.code || error.message"))
    statuses = fields.Dict(
        fields.String(),
        fields.String(validate=validate.OneOf(_FHIR_STATUSES, error="is no R4 appointment status")),
        load_default=dict,
    )
    webhook_appointment = Expression(
        load_default=lambda: jmespath.compile(
            "data.appointment.id || data.appointmentId || appointment.id || appointmentId || data.id"
        )
    )
    timezone = Zone(load_default=None)
    cancelling_entity = fields.String(
        validate=validate.OneOf(
            list(codes.CANCELLING_ENTITIES), error=f"must be one of {', '.join(codes.CANCELLING_ENTITIES)}"
        )
    )
    note_max_length = fields.Integer(
        load_default=1000,
        strict=True,
        validate=validate.Range(min=1, max=100_000, error="must be 1 to 100000"),
    )
    throttles_before_execution = fields.Boolean(load_default=False, truthy={True}, falsy={False})
    max_concurrent = fields.Integer(
        load_default=8, strict=True, validate=validate.Range(min=1, max=1000, error="must be 1 to 1000")
    )

    @validates_schema(skip_on_field_errors=False)
    def _key_agrees(self, data: Mapping[str, Any], **_: Any) -> None:
        given = [data[name] for name in ("api_key_env", "api_key_file") if name in data]
        if len(given) == 2:
            raise ValidationError("give api_key_env or api_key_file, not both")
        environment = data.get("environment")
        if given and environment and not given[0].reveal().startswith(f"{environment}_"):
            raise ValidationError(
                f'the key does not begin with "{environment}_", so it is not one of environment = "{environment}"'
            )

    @validates_schema
    def _has_key(self, data: Mapping[str, Any], **_: Any) -> None:
        if "api_key_env" not in data and "api_key_file" not in data:
            raise ValidationError("give the API key, as api_key_env or api_key_file")

    @post_load
    def _complete(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["api_key"] = data.get("api_key_env") or data["api_key_file"]
        for name, default in (("places", PLACES), ("cancellation_places", CANCELLATION_PLACES)):
            data[name] = {element: jmespath.compile(path) for element, path in default.items()} | data[name]
        data["statuses"] = STATUSES | data["statuses"]
        return data
