"""Reads and validates the configuration file, except the settings of sources.

Every setting whose name ends in ``_file`` is a path, relative to the configuration file.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from marshmallow import Schema, ValidationError, fields, post_load, validate, validates_schema

from facade.config_messages import sentences
from facade.errors import ConfigurationError
from facade.setting_fields import AbsoluteUri, Choice, Origin, Secret, SecretFromEnv, describe, matching

DEFAULT_STORE = "sqlite:///var/facade.db"
SOURCE_IDENTIFIER_SYSTEM = "urn:fhir-facade:source-system"
OPERATIONS = ("cancel", "read")
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
        Choice(*OPERATIONS),
        load_default=list(OPERATIONS),
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


class _FileSchema(Schema):
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


@dataclass(frozen=True)
class Client:
    """One client: its name, the SHA-256 of its key, the sources and operations it may use."""

    name: str
    key_sha256: str = field(repr=False)
    sources: frozenset[str]
    operations: frozenset[str]

    def reaches(self, source: str) -> bool:
        """Whether this client may use the source. To a client that may not, the source does not exist."""
        return "*" in self.sources or source in self.sources


@dataclass(frozen=True, kw_only=True)
class Config:
    """The validated configuration without the sources, which ``facade.plugin.registry`` validates."""

    base_path: str
    answer_within: float
    default_source: str | None
    source_identifier_system: str
    explain_proposed: bool
    store: str
    auth_mode: str
    clients: tuple[Client, ...]
    head_within: float = 10.0
    body_within: float = 10.0
    send_within: float = 10.0
    connections: int = 512
    health_port: int | None = None
    allowed_origins: frozenset[str] = frozenset()


def read(path: Path) -> dict[str, Any]:
    """Read the tables of a TOML file, and make file settings absolute. Raises ConfigurationError."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}; name a file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}; fix it there") from None
    folder = path.resolve().parent
    tables: dict[str, Any] = absolute(document, folder)
    facade = tables.setdefault("facade", {})
    if isinstance(facade, dict):
        facade["store"] = _absolute_store(facade.get("store", DEFAULT_STORE), folder)
    return tables


def read_store(path: Path) -> str:
    """Read the URL of the ledger from a configuration file, and nothing else of it.

    Raises ConfigurationError.
    """
    facade = read(path)["facade"]
    store = facade.get("store") if isinstance(facade, dict) else None
    if not isinstance(store, str):
        raise ConfigurationError(f'facade.store in {path}: must be a string, like "{DEFAULT_STORE}"')
    return store


class AuthMode(Protocol):
    """What validation needs of an authentication mode; the implementations are in facade.web.auth."""

    @classmethod
    def config_problems(cls, document: Mapping[str, Any]) -> Iterable[str]:
        """Return what the configuration file lacks for this mode, one sentence per problem."""


def check(document: Mapping[str, Any], auth_modes: Mapping[str, type[AuthMode]]) -> Config:
    """Validate the tables and return the configuration. Raises ConfigurationError with every problem found.

    ``auth_modes`` are the values that ``auth.mode`` may have.
    """
    schema = _FileSchema()
    problems: list[str] = []
    try:
        data: Any = schema.load(document)
    except ValidationError as error:
        problems += sentences(error, schema)
        # The valid part is checked further, so that one start reports every problem.
        data = error.valid_data
    given = document.get("sources")
    sources = list(given) if isinstance(given, dict) else None
    default = data.get("facade", {}).get("default_source")
    if default is not None and sources is not None and default not in sources:
        problems.append(f'facade.default_source: "{default}" is not configured; add [sources.{default}]')
    mode = data.get("auth", {}).get("mode")
    if mode in auth_modes:
        problems += auth_modes[mode].config_problems(document)
    elif mode is not None:
        problems.append("auth.mode: must be " + " or ".join(f'"{word}"' for word in auth_modes))
    problems += _client_problems(data.get("clients", {}), sources)
    if problems:
        raise ConfigurationError(*problems)
    clients = tuple(
        Client(name, client["key_sha256"], frozenset(client["sources"]), frozenset(client["operations"]))
        for name, client in data["clients"].items()
    )
    auth = data["auth"]
    return Config(
        **data["facade"],
        auth_mode=auth["mode"],
        allowed_origins=frozenset(auth["allowed_origins"]),
        clients=clients,
    )


def _client_problems(clients: Mapping[str, Any], sources: list[str] | None) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, client in clients.items():
        key = client.get("key_sha256")
        if key is not None and (owner := owners.setdefault(key, name)) != name:
            yield f"clients.{name}: has the key of clients.{owner}; give each client its own"
        for source in client.get("sources", []):
            if sources is not None and source not in (*sources, "*"):
                yield f'clients.{name}.sources: "{source}" is not configured; add [sources.{source}] or use "*"'


def _absolute_store(store: Any, folder: Path) -> Any:
    """Make a SQLite file relative to the configuration file, so that the working directory has no effect."""
    if not isinstance(store, str) or not store.startswith("sqlite:///") or store == "sqlite:///:memory:":
        return store
    return f"sqlite:///{folder / store.removeprefix('sqlite:///')}"


def absolute(value: Any, folder: Path) -> Any:
    """Return the same tables with every file setting made absolute, relative to ``folder``."""
    if not isinstance(value, dict):
        return value
    return {
        key: _absolute_file(member, folder) if key.endswith("_file") else absolute(member, folder)
        for key, member in value.items()
    }


def _absolute_file(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_absolute_file(member, folder) for member in value]
    return str(folder / value) if isinstance(value, str) else absolute(value, folder)
