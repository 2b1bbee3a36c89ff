"""The settings that sources share, for plugins to extend: of every source, of one over HTTP, of one with webhooks."""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

from facade.fhir.appointment_status import APPOINTMENT_STATUSES
from facade.setting_fields import (
    AbsoluteUri,
    BaseUrl,
    Choice,
    OneOrSeveral,
    Secret,
    SecretFromEnv,
    SecretFromFile,
    describe,
    matching,
)

SHORTEST_SECRET = 16
"""The least number of bytes of the key that webhooks are signed with."""
_HEADER = r"[A-Za-z0-9-]{1,64}"
_WHSEC = "whsec_"
_PAIR = "secret_pair"


class AppointmentStatus(fields.String):
    """An appointment status of FHIR R4."""

    type_name = "R4 appointment status"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.validators = [
            validate.OneOf(APPOINTMENT_STATUSES, error="is not an R4 appointment status"),
            *self.validators,
        ]


def secret_pair(
    name: str, what: str, *, required: bool = False, several: bool = False
) -> tuple[fields.Field[Any], fields.Field[Any]]:
    """Return the fields ``NAME_env`` and ``NAME_file`` of one secret: a variable that holds it, or a file.

    ``what`` names the secret in a sentence, for example ``"the API key"``. SourceSettings rejects a table that has
    both, or, if ``required``, neither. It loads the Secret as the setting ``NAME``: None where there is none. With
    ``several``, each setting takes an array too, and ``NAME`` is a tuple of Secrets. Use it in a subclass::

        api_key_env, api_key_file = secret_pair("api_key", "the API key", required=True)
    """
    pair = {_PAIR: (name, required, several)}
    of_env = describe(f"Environment variable that holds {what}; or set `{name}_file`.") | pair
    of_file = describe(f"File that holds {what}; or set `{name}_env`.") | pair
    if several:
        return OneOrSeveral(SecretFromEnv(), metadata=of_env), OneOrSeveral(SecretFromFile(), metadata=of_file)
    return SecretFromEnv(metadata=of_env), SecretFromFile(metadata=of_file)


class SourceSettings(Schema):
    """The settings of every source. A plugin's settings schema extends it. It rejects unknown keys."""

    class Meta:
        unknown = RAISE

    plugin = fields.String(required=True, metadata=describe("Name of the plugin that connects this source."))
    identifier_systems = fields.Dict(
        fields.String(),
        AbsoluteUri(),
        metadata=describe(
            "System URIs of native ids, by kind, for example `Appointment`.",
            default="`urn:fhir-facade:<source>:<kind>`",
            example={"Appointment": "https://hospital.example/appointments"},
        ),
    )
    code_systems = fields.Dict(
        fields.String(),
        AbsoluteUri(),
        metadata=describe("System URIs of native codes, by kind.", default="`urn:fhir-facade:<plugin>:<kind>`"),
    )
    concept_map_file = fields.String(
        metadata=describe(
            "FHIR ConceptMap that replaces the plugin's own map of reasons.",
            default="the plugin's own",
            example="reasons.json",
            type_name="path of a file",
        )
    )
    fallback_reason = fields.String(
        metadata=describe(
            'Native code for a reason that maps to none, or `"refuse"`.', default="the plugin's own", example="refuse"
        )
    )
    settle_window = fields.Float(
        load_default=900.0,
        validate=validate.Range(1.0, 86_400.0, error="must be 1 to 86400 seconds"),
        metadata=describe("Seconds after a write within which the source may still apply it."),
    )

    @validates_schema(pass_original=True, skip_on_field_errors=False)
    def _check_secret_pairs(self, _: Any, table: Any, **__: Any) -> None:
        problems = []
        for name, required, _several in _secret_pairs(self):
            given = [key for key in (f"{name}_env", f"{name}_file") if isinstance(table, Mapping) and key in table]
            if len(given) == 2:
                problems.append(f"give {given[0]} or {given[1]}, not both")
            if required and not given:
                problems.append(f"give {name}_env or {name}_file")
        if problems:
            raise ValidationError(problems)

    @post_load
    def _add_secrets(self, data: Any, **_: Any) -> Any:
        for name, _required, several in _secret_pairs(self) if isinstance(data, dict) else ():
            found = [data[key] for key in (f"{name}_env", f"{name}_file") if key in data]
            data[name] = found[0] if found else () if several else None
        return data


def _secret_pairs(schema: Schema) -> Iterator[tuple[str, bool, bool]]:
    """Yield each pair of a schema once: its name, whether it is required, whether it may be several secrets."""
    pairs: dict[tuple[str, bool, bool], None] = {}
    for field in schema.fields.values():
        if _PAIR in field.metadata:
            pairs[field.metadata[_PAIR]] = None
    yield from pairs


class HttpSourceSettings(SourceSettings):
    """The settings of a source over HTTP, besides those of every source."""

    base_url = BaseUrl(
        required=True,
        metadata=describe("Base URL of the source system.", example="https://hospital.example/api"),
    )
    max_concurrent = fields.Integer(
        load_default=8,
        strict=True,
        validate=validate.Range(min=1, max=1000, error="must be 1 to 1000"),
        metadata=describe("Native calls at once in one process; the facade rejects one more at once."),
    )


def secret_key(secret: Secret) -> bytes:
    """Return the key of a Standard Webhooks secret: the base64 after ``whsec_``, or else the text itself."""
    text = secret.reveal()
    if text.startswith(_WHSEC):
        try:
            return base64.b64decode(text.removeprefix(_WHSEC), validate=True)
        except binascii.Error:
            pass
    return text.encode()


class WebhookSettings(SourceSettings):
    """The settings of a source that sends webhooks, besides those of every source.

    Without a secret the facade accepts no webhook. Several secrets are for the time of a change: any of them verifies.
    """

    webhook_secret_env, webhook_secret_file = secret_pair(
        "webhook_secret", "the secret that verifies the source's webhooks", several=True
    )
    webhook_scheme = Choice(
        "standard",
        "hmac-sha256",
        load_default="standard",
        metadata=describe("How webhooks are signed: Standard Webhooks, or an HMAC of the body alone."),
    )
    webhook_header_prefix = fields.String(
        load_default="webhook",
        validate=matching(_HEADER, "must be a header's name"),
        metadata=describe("How the names of the three headers of Standard Webhooks begin."),
    )
    webhook_signature_header = fields.String(
        load_default="X-Signature",
        validate=matching(_HEADER, "must be a header's name"),
        metadata=describe('Header with the signature of scheme `"hmac-sha256"`, in hexadecimal or base64.'),
    )

    @validates_schema(skip_on_field_errors=True)
    def _check_webhook_secrets(self, data: Mapping[str, Any], **_: Any) -> None:
        is_standard = data.get("webhook_scheme") == "standard"
        for name in ("webhook_secret_env", "webhook_secret_file"):
            secrets = data.get(name, ())
            for number, secret in enumerate(secrets, 1):
                key = secret_key(secret) if is_standard else secret.reveal().encode()
                if len(key) < SHORTEST_SECRET:
                    which = f"secret {number} of {len(secrets)}" if len(secrets) > 1 else "the secret"
                    raise ValidationError(
                        f"{which} is too short: it must have {SHORTEST_SECRET} characters or more, and after whsec_ "
                        f"base64 of {SHORTEST_SECRET} bytes or more; make one with openssl rand -hex 32",
                        name,
                    )
