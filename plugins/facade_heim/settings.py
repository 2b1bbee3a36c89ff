"""The settings of Heim. What its guide does not state is a setting with a default, not a constant in the code."""

from collections.abc import Mapping
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import jmespath
from jmespath.exceptions import JMESPathError
from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from facade import AppointmentStatus, BaseUrl, Choice, HttpSourceSettings, WebhookSettings, describe, secret_pair
from facade_heim import codes

FIELD_PATHS = {
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
"""Where each field is in a native appointment, as JMESPath; the setting ``places`` overrides single ones."""
CANCELLATION_FIELD_PATHS = {
    "cancellation_reason": "reasonCode",
    "cancellation_note": "note",
    "causing_entity": "causingEntity",
    "cancelling_entity": "cancellingEntity",
}
"""The same for a cancellation object; the setting ``cancellation_places`` overrides single ones."""
STATUSES = {
    "scheduling": "proposed",
    "scheduled": "booked",
    "completed": "fulfilled",
    "cancelled": "cancelled",
}
"""The FHIR status of each native status; the setting ``statuses`` adds to it."""
_OWN_ERROR = "error.code || error.message"
_WEBHOOK_APPOINTMENT = "data.appointment.id || data.appointmentId || appointment.id || appointmentId || data.id"


class Expression(fields.String):
    """A JMESPath expression (https://jmespath.org). Loads compiled."""

    type_name = "JMESPath expression"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        expression = super()._deserialize(value, attr, data, **kwargs)
        try:
            return jmespath.compile(expression)
        except JMESPathError:
            raise ValidationError("is not a JMESPath expression; see https://jmespath.org") from None


class TimeZone(fields.String):
    """The name of a time zone in the IANA database. Loads as a ZoneInfo."""

    type_name = "IANA time zone"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise ValidationError(f'"{name}" is not an IANA time zone; write one like Europe/London') from None


def _path(default: str, what: str) -> fields.String:
    well_formed = validate.Regexp(
        r"(/[A-Za-z0-9._~-]+)*/\{id\}(/[A-Za-z0-9._~-]+)*\Z",
        error='must be a path with "{{id}}" as one segment of it',
    )
    return fields.String(
        load_default=default, validate=well_formed, metadata=describe(what, type_name="path with `{id}`")
    )


def _field_paths(defaults: Mapping[str, str], what: str) -> fields.Dict:
    names = validate.OneOf(list(defaults), error=f"is no element; known are {', '.join(defaults)}")
    return fields.Dict(
        fields.String(validate=names),
        Expression(),
        load_default=dict,
        metadata=describe(what, default="see below", type_name="table of JMESPath expressions"),
    )


class HeimSettings(HttpSourceSettings, WebhookSettings):
    """The settings of one Heim organisation."""

    base_url = BaseUrl(
        load_default="https://api.heim.health", metadata=describe("Base URL of Heim's API. *Unverified*")
    )
    api_key_env, api_key_file = secret_pair("api_key", "the API key", required=True)
    environment = Choice(
        "test",
        "live",
        required=True,
        metadata=describe("Environment of the API key; must agree with the key's prefix."),
    )
    read_path = _path("/v1/appointments/{id}", "Path to read an appointment. *Unverified*")
    cancel_path = _path("/v1/appointments/{id}/cancel", "Path to cancel an appointment, as the guide states it.")
    cancellation_path = _path("/v1/appointments/{id}/cancellation", "Path to read a cancellation. *Unverified*")
    places = _field_paths(FIELD_PATHS, "Where each field is in a native appointment. *Unverified*")
    cancellation_places = _field_paths(
        CANCELLATION_FIELD_PATHS, "Where each field is in a cancellation object. *Unverified*"
    )
    own_error = Expression(
        load_default=lambda: jmespath.compile(_OWN_ERROR),
        metadata=describe(
            "Expression that finds something only in an error of Heim itself. *Unverified*", default=f"`{_OWN_ERROR}`"
        ),
    )
    statuses = fields.Dict(
        fields.String(),
        AppointmentStatus(),
        load_default=dict,
        metadata=describe(
            "FHIR status by native status, added to the default; any other native status is *not cancelled*.",
            default="see below",
            type_name="table of R4 appointment statuses",
        ),
    )
    webhook_appointment = Expression(
        load_default=lambda: jmespath.compile(_WEBHOOK_APPOINTMENT),
        metadata=describe("Where the appointment's id is in a webhook. *Unverified*", default="see below"),
    )
    timezone = TimeZone(
        load_default=None,
        metadata=describe(
            "Time zone of times without one; without it such times are not used.", example="Europe/London"
        ),
    )
    cancelling_entity = Choice(
        *codes.CANCELLING_ENTITIES,
        metadata=describe("Cancelling entity of every cancel of this source.", default="from the map of reasons"),
    )
    note_max_length = fields.Integer(
        load_default=1000,
        strict=True,
        validate=validate.Range(min=1, max=100_000, error="must be 1 to 100000"),
        metadata=describe("Most characters of a note; a longer one is cut. *Unverified*"),
    )
    throttles_before_execution = fields.Boolean(
        load_default=False,
        truthy={True},
        falsy={False},
        metadata=describe("Whether a 429 proves that Heim did not execute the request. *Unverified*"),
    )

    @validates_schema(skip_on_field_errors=False)
    def _check_key_prefix(self, data: Mapping[str, Any], **_: Any) -> None:
        key = data.get("api_key_env") or data.get("api_key_file")
        environment = data.get("environment")
        if key and environment and not key.reveal().startswith(f"{environment}_"):
            raise ValidationError(
                f'the key does not begin with "{environment}_", so it is not one of environment = "{environment}"'
            )

    @post_load
    def _complete(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        for name, defaults in (("places", FIELD_PATHS), ("cancellation_places", CANCELLATION_FIELD_PATHS)):
            data[name] = {field: jmespath.compile(path) for field, path in defaults.items()} | data[name]
        data["statuses"] = STATUSES | data["statuses"]
        return data
