"""The settings of a FHIR R4 server. Where servers differ there is a setting; its default suits Oracle Health."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import ValidationError, fields, validate, validates_schema

from facade import (
    AbsoluteUri,
    AppointmentStatus,
    BaseUrl,
    Choice,
    HttpSourceSettings,
    SecretTextFromFile,
    describe,
    secret_pair,
)

CANCELLABLE_STATUSES = ("proposed", "booked", "arrived", "checked-in")
"""Oracle Health, "Appointment REST Endpoints": the statuses from which an appointment can be cancelled."""
_CLIENT = ("token_url", "client_id", "private_key_file")
_WORD = validate.Regexp(re.compile(r"[\x21-\x7e]{1,256}\Z"), error="must be printable ASCII without spaces")


class TokenUrl(BaseUrl):
    """A BaseUrl that keeps its final slash: it is called, and named in what is signed, exactly as configured."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        url = super()._deserialize(value, attr, data, **kwargs)
        return f"{url}/" if value.endswith("/") else url


class FhirR4Settings(HttpSourceSettings):
    """The settings of one FHIR R4 server."""

    mode = Choice(
        "patch",
        "update",
        load_default="patch",
        metadata=describe('How to cancel: JSON Patch, as Oracle Health documents it, or `"update"` with PUT.'),
    )
    token_env, token_file = secret_pair("token", "the bearer token, in place of client credentials")
    token_url = TokenUrl(
        metadata=describe(
            "Client credentials: URL of the token endpoint.", example="https://login.hospital.example/oauth2/token"
        )
    )
    client_id = fields.String(
        validate=_WORD, metadata=describe("Client credentials: the registered client id.", example="fhir-facade")
    )
    private_key_file = SecretTextFromFile(
        metadata=describe("Client credentials: file with the private key, PEM or JWK.", example="hospital-key.pem")
    )
    key_id = fields.String(
        validate=_WORD,
        metadata=describe(
            "Client credentials: the `kid` under which the key is registered.",
            default="the JWK's `kid`",
            example="2026-01",
        ),
    )
    algorithm = Choice(
        "RS384",
        "ES384",
        load_default="RS384",
        metadata=describe("Client credentials: algorithm that the key signs with."),
    )
    scope = fields.String(
        load_default="system/Appointment.read system/Appointment.write",
        validate=validate.Regexp(r"[\x21-\x7e]+( [\x21-\x7e]+)*\Z", error="must be scopes, a space between two"),
        metadata=describe("Client credentials: the scopes to request, in SMART's version 1 syntax. *Unverified*"),
    )
    cancellable_statuses = fields.List(
        AppointmentStatus(validate=validate.NoneOf(["cancelled"], error="is no R4 appointment status to cancel from")),
        load_default=lambda: list(CANCELLABLE_STATUSES),
        metadata=describe("Statuses from which the server cancels: Oracle Health's. *Unverified* for other servers."),
    )
    is_cancelable_extension = AbsoluteUri(
        load_default="https://fhir-ehr.cerner.com/r4/StructureDefinition/is-cancelable",
        metadata=describe("URL of the extension whose `false` forbids a cancel."),
    )

    @validates_schema(skip_on_field_errors=False)
    def _check_one_kind(self, data: Mapping[str, Any], **_: Any) -> None:
        tokens = [name for name in ("token_env", "token_file") if name in data]
        client = [name for name in (*_CLIENT, "key_id") if name in data]
        if len(tokens) == 1 and client:
            raise ValidationError(f"give {tokens[0]} or client credentials ({', '.join(client)}), not both")

    @validates_schema
    def _check_complete(self, data: Mapping[str, Any], **_: Any) -> None:
        if "token_env" in data or "token_file" in data:
            return
        missing = [name for name in _CLIENT if name not in data]
        if len(missing) == len(_CLIENT):
            raise ValidationError(
                f"give a token, as token_env or token_file, or client credentials: {_listed(_CLIENT)}"
            )
        if missing:
            raise ValidationError(f"client credentials need {_listed(_CLIENT)}; give {_listed(missing)}")


def _listed(names: Sequence[str]) -> str:
    *others, last = names
    return f"{', '.join(others)} and {last}" if others else last
