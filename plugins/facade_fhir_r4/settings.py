"""The settings of a FHIR R4 server: where servers differ there is one, and its default is Oracle Health's."""

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, post_load, validate, validates_schema

from facade import BaseUrl, SecretFromEnv, SecretFromFile, SecretTextFromFile, SourceSettings

# http://hl7.org/fhir/R4/valueset-appointmentstatus.html; a cancelled appointment is not cancelled again.
_STATUSES = "proposed pending booked arrived fulfilled noshow entered-in-error checked-in waitlist".split()
_CLIENT = ("token_url", "client_id", "private_key_file")
_WORD = validate.Regexp(re.compile(r"[\x21-\x7e]{1,256}\Z"), error="must be printable ASCII without spaces")


class TokenUrl(BaseUrl):
    """A BaseUrl with its final slash, if it has one: it is called as it is, and named in what is signed."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        url = super()._deserialize(value, attr, data, **kwargs)
        return f"{url}/" if value.endswith("/") else url


class FhirR4Settings(SourceSettings):
    """The settings of one FHIR R4 server; the plugin's README explains each."""

    base_url = BaseUrl(required=True)
    mode = fields.String(
        load_default="patch", validate=validate.OneOf(["patch", "update"], error='must be "patch" or "update"')
    )
    token_env = SecretFromEnv()
    token_file = SecretFromFile()
    token_url = TokenUrl()
    client_id = fields.String(validate=_WORD)
    private_key_file = SecretTextFromFile()
    key_id = fields.String(validate=_WORD)
    algorithm = fields.String(
        load_default="RS384", validate=validate.OneOf(["RS384", "ES384"], error='must be "RS384" or "ES384"')
    )
    scope = fields.String(
        load_default="system/Appointment.read system/Appointment.write",
        validate=validate.Regexp(r"[\x21-\x7e]+( [\x21-\x7e]+)*\Z", error="must be scopes, a space between two"),
    )
    cancellable_statuses = fields.List(
        fields.String(validate=validate.OneOf(_STATUSES, error="is no R4 appointment status to cancel from")),
        load_default=lambda: ["proposed", "booked", "arrived", "checked-in"],
    )
    is_cancelable_extension = fields.String(
        load_default="https://fhir-ehr.cerner.com/r4/StructureDefinition/is-cancelable",
        validate=validate.Regexp(r'[A-Za-z][A-Za-z0-9+.-]*:[^\s<>"]+\Z', error="must be an absolute URI"),
    )
    max_concurrent = fields.Integer(
        load_default=8, strict=True, validate=validate.Range(min=1, max=1000, error="must be 1 to 1000")
    )

    @validates_schema(skip_on_field_errors=False)
    def _one_way_in(self, data: Mapping[str, Any], **_: Any) -> None:
        tokens = [name for name in ("token_env", "token_file") if name in data]
        client = [name for name in (*_CLIENT, "key_id") if name in data]
        if len(tokens) == 2:
            raise ValidationError("give token_env or token_file, not both")
        if tokens and client:
            raise ValidationError(f"give {tokens[0]} or client credentials ({', '.join(client)}), not both")

    @validates_schema
    def _has_a_way_in(self, data: Mapping[str, Any], **_: Any) -> None:
        if "token_env" in data or "token_file" in data:
            return
        missing = [name for name in _CLIENT if name not in data]
        if len(missing) == len(_CLIENT):
            raise ValidationError(
                f"give a token, as token_env or token_file, or client credentials: {_listed(_CLIENT)}"
            )
        if missing:
            raise ValidationError(f"client credentials need {_listed(_CLIENT)}; give {_listed(missing)}")

    @post_load
    def _complete(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["token"] = data.get("token_env") or data.get("token_file")
        return data


def _listed(names: Any) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
