"""The settings of the configuration file, table by table, except those of sources: one declaration each."""

import hashlib
from collections.abc import Mapping
from typing import Any

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from facade.setting_fields import AbsoluteUri, Choice, Origin, Secret, SecretFromEnv, describe, matching

DEFAULT_STORE = "sqlite:///var/facade.db"
SOURCE_IDENTIFIER_SYSTEM = "urn:fhir-facade:source-system"
CLIENT_OPERATIONS = ("cancel", "read")
NAME = r"[A-Za-z0-9-]{1,64}"
SHORTEST_KEY = 16
"""The least number of characters of a client's key; a shorter one can be guessed."""
_PATH = r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]+)*"
_NO_SOURCE = "configure at least one, as [sources.NAME] with its plugin"


def _seconds(what: str) -> fields.Float:
    """Return the field of a time limit for clients."""
    return fields.Float(
        load_default=10.0,
        validate=validate.Range(0.1, 60.0, error="must be 0.1 to 60 seconds"),
        metadata=describe(f"Seconds in total for a client to {what}."),
    )


class FacadeTable(Schema):
    """The settings of the table ``[facade]``."""

    base_path = fields.String(
        load_default="",
        validate=matching(_PATH, 'must be empty or like "/fhir/r4": a leading slash, none at the end'),
        metadata=describe('Prefix of every FHIR route, for example `"/fhir/r4"`.'),
    )
    answer_within = fields.Float(
        load_default=8.0,  # many schedulers give up after 10
        validate=validate.Range(6.0, 60.0, error="must be 6 to 60 seconds: below 6 the parts of a cancel have no room"),
        metadata=describe("Seconds until the response is sent; less than clients wait."),
    )
    default_source = fields.String(
        load_default=None,
        metadata=describe("Source of the single-source routes.", default="the only one", example="heim"),
    )
    source_identifier_system = AbsoluteUri(
        load_default=SOURCE_IDENTIFIER_SYSTEM,
        metadata=describe("System of the identifier that names the source in an Appointment."),
    )
    explain_proposed = fields.Boolean(
        load_default=True,
        truthy={True},
        falsy={False},
        metadata=describe("Whether a proposed response contains an OperationOutcome that states the cause."),
    )
    store = fields.String(
        load_default=None,
        metadata=describe(
            "The ledger's database: `sqlite:///` and a file, relative to this one, or `postgresql+psycopg://host/database`.",
            default=f'`"{DEFAULT_STORE}"`',
            example=DEFAULT_STORE,
        ),
    )
    head_within = _seconds("send the headers of a request")
    body_within = _seconds("send the body of a request")
    send_within = _seconds("receive the response")
    connections = fields.Integer(
        load_default=512,
        strict=True,
        validate=validate.Range(64, 10_000, error="must be 64 to 10000: above the 32 threads, below the open files"),
        metadata=describe("Connections per worker; above that, the one that waits longest is closed."),
    )
    health_port = fields.Integer(
        load_default=None,
        strict=True,
        validate=validate.Range(1, 65535, error="must be a port, 1 to 65535"),
        metadata=describe("Separate port for `/health/live` and `/health/ready`.", example=8082),
    )


class AuthTable(Schema):
    """The settings of the table ``[auth]``."""

    # check() validates the mode: the authenticators are in a layer above this one.
    mode = fields.String(
        load_default="api-key",
        metadata=describe(
            'How clients authenticate: `"api-key"`, or `"none"`, which serves programs on this machine only.'
        ),
    )
    allowed_origins = fields.List(
        Origin(),
        load_default=list,
        metadata=describe(
            'With mode `"none"`: origins whose pages may send requests.', example=["http://127.0.0.1:3000"]
        ),
    )


class _ClientKey(SecretFromEnv):
    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        key: Secret = super()._deserialize(value, attr, data, **kwargs)
        if len(key.reveal()) < SHORTEST_KEY:
            raise ValidationError(
                f"the environment variable {value} holds a key of fewer than {SHORTEST_KEY} characters; make one with "
                "openssl rand -hex 32"
            )
        return key


class ClientTable(Schema):
    """The settings of a table ``[clients.NAME]``."""

    key_env = _ClientKey(
        metadata=describe(
            f"Environment variable that holds the key, {SHORTEST_KEY} characters or more; or set `key_sha256`.",
            example="FACADE_KEY_SCHEDULER",
        )
    )
    key_sha256 = fields.String(
        validate=[
            matching(r"[0-9a-f]{64}", 'must be 64 lower-case hexadecimal digits: printf %s "$KEY" | sha256sum'),
            validate.NoneOf([hashlib.sha256().hexdigest()], error="is the SHA-256 of nothing; was $KEY set?"),
        ],
        metadata=describe(
            'SHA-256 of the client\'s key, the output of `printf %s "$KEY" | sha256sum`; or set `key_env`.',
            type_name="64 hexadecimal digits",
        ),
    )
    sources = fields.List(
        fields.String(),
        required=True,
        validate=validate.Length(min=1, error='must name a source, or be ["*"] for all'),
        metadata=describe('Names of the sources that this client may use; `["*"]` for all.', example=["*"]),
    )
    operations = fields.List(
        Choice(*CLIENT_OPERATIONS),
        load_default=list(CLIENT_OPERATIONS),
        metadata=describe('What this client may do; without `"read"` a cancel returns only what concerns it.'),
    )

    @validates_schema
    def _one_key(self, data: Mapping[str, Any], **_: Any) -> None:
        if ("key_env" in data) == ("key_sha256" in data):
            raise ValidationError("give key_env or key_sha256, one of the two")

    @post_load
    def _hashed(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        key = data.pop("key_env", None)
        if key is not None:
            data["key_sha256"] = hashlib.sha256(key.reveal().encode()).hexdigest()
        return data


class ConfigurationFile(Schema):
    facade = fields.Nested(FacadeTable, load_default=lambda: FacadeTable().load({}))
    auth = fields.Nested(AuthTable, load_default=lambda: AuthTable().load({}))
    clients = fields.Dict(fields.String(), fields.Nested(ClientTable), load_default=dict)
    # A source's settings are validated by its plugin's schema, when the source is built.
    sources = fields.Dict(
        fields.String(validate=matching(NAME, "a name in the URL: it must be 1 to 64 letters, digits and hyphens")),
        fields.Dict(),
        required=True,
        validate=validate.Length(min=1, error=_NO_SOURCE),
        error_messages={"required": _NO_SOURCE},
    )
