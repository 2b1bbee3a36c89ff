"""Reads the configuration file through marshmallow schemas; secrets come from the environment or files.

Every setting whose name ends in ``_file`` is a path, relative to the configuration file.
"""

import difflib
import hashlib
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

from facade.errors import ConfigurationError

LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
SOURCE_IDENTIFIER_SYSTEM = "urn:fhir-facade:source-system"
OPERATIONS = ("cancel", "read")
_NAME = validate.Regexp(
    r"[A-Za-z0-9-]{1,64}\Z",
    error="a source's name is 1 to 64 letters, digits and hyphens, as it stands in the URL",
)
_URI = validate.Regexp(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+\Z", error="must be an absolute URI")


class Secret:
    """A value that no log, error or repr shows; ``reveal()`` where it is used."""

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself."""
        return self._value

    def __repr__(self) -> str:
        return "Secret(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._value == other._value

    def __hash__(self) -> int:
        return hash(self._value)


class SecretFromEnv(fields.String):
    """The name of an environment variable; loads as the Secret it holds."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        secret = os.environ.get(name, "")
        if not secret:
            raise ValidationError(f"the environment variable {name} is not set; set it to the secret")
        return _usable(secret, f"the environment variable {name}")


class SecretFromFile(fields.String):
    """The path of a file; loads as the Secret that is its content without the line's end."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        path = super()._deserialize(value, attr, data, **kwargs)
        try:
            secret = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValidationError(f"the file {path} cannot be read ({type(error).__name__})") from None
        return _usable(secret, f"the file {path}")


def _usable(secret: str, where: str) -> Secret:
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise ValidationError(f"{where} must hold one line of printable ASCII without spaces")
    return Secret(secret)


class BaseUrl(fields.String):
    """An absolute https URL without credentials, query and fragment; plain http to loopback only."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        url = super()._deserialize(value, attr, data, **kwargs)
        try:
            parts = urlsplit(url)
            host, _ = parts.hostname, parts.port
        except ValueError:
            raise ValidationError("is not a URL") from None
        if parts.scheme not in {"http", "https"} or not host or "@" in parts.netloc or parts.query or parts.fragment:
            raise ValidationError("must be an absolute https:// URL without credentials, query or fragment")
        if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
            raise ValidationError("is plain http to a host that is not loopback; use https://")
        return url.rstrip("/")


class SourceSettings(Schema):
    """What every source may set; a plugin's settings schema extends it. Unknown keys are refused."""

    class Meta:
        unknown = RAISE

    plugin = fields.String(required=True)
    identifier_systems = fields.Dict(fields.String(), fields.String(validate=_URI))
    code_systems = fields.Dict(fields.String(), fields.String(validate=_URI))
    concept_map_file = fields.String()
    fallback_reason = fields.String()


class _FacadeSchema(Schema):
    base_path = fields.String(
        load_default="",
        validate=validate.Regexp(
            r"(/[A-Za-z0-9._~-]+)*\Z",
            error='must be empty or like "/fhir/r4": a leading slash, none at the end',
        ),
    )
    answer_within = fields.Float(
        load_default=8.0,
        validate=validate.Range(
            min=6.0,
            max=60.0,
            error="must be from 6 to 60 seconds: below 6 the parts of a cancel have no room",
        ),
    )
    default_source = fields.String(load_default=None)
    source_identifier_system = fields.String(load_default=SOURCE_IDENTIFIER_SYSTEM, validate=_URI)
    explain_proposed = fields.Boolean(load_default=True, truthy={True}, falsy={False})


class _AuthSchema(Schema):
    mode = fields.String(
        load_default="api-key",
        validate=validate.OneOf(["api-key", "none"], error='must be "api-key" or "none"'),
    )


class _ClientSchema(Schema):
    key_env = SecretFromEnv()
    key_sha256 = fields.String(
        validate=validate.Regexp(r"[0-9a-f]{64}\Z", error="must be 64 lower-case hexadecimal digits")
    )
    sources = fields.List(fields.String(), required=True, validate=validate.Length(min=1))
    operations = fields.List(
        fields.String(validate=validate.OneOf(OPERATIONS, error='must be "cancel" or "read"')),
        load_default=list(OPERATIONS),
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
    facade = fields.Nested(_FacadeSchema, load_default=lambda: _FacadeSchema().load({}))
    auth = fields.Nested(_AuthSchema, load_default=lambda: _AuthSchema().load({}))
    clients = fields.Dict(fields.String(), fields.Nested(_ClientSchema), load_default=dict)
    # A plugin's own settings are checked by its own schema, in the registry.
    sources = fields.Dict(fields.String(validate=_NAME), fields.Dict(), required=True)


@dataclass(frozen=True)
class Client:
    """One caller: its name, the SHA-256 of its key, the sources and operations it may use."""

    name: str
    key_sha256: str = field(repr=False)
    sources: frozenset[str]
    operations: frozenset[str]

    def reaches(self, source: str) -> bool:
        """Whether this source exists, as far as this client is told."""
        return "*" in self.sources or source in self.sources


@dataclass(frozen=True, kw_only=True)
class Config:
    """The checked configuration, but for the sources: the registry checks those, plugin by plugin."""

    base_path: str
    answer_within: float
    default_source: str | None
    source_identifier_system: str
    explain_proposed: bool
    auth_mode: str
    clients: tuple[Client, ...]


def read(path: Path) -> dict[str, Any]:
    """The tables of a TOML file, with file settings made absolute. Raises ConfigurationError."""
    try:
        document = tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be read: {error.strerror}; name a file with --config") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path} is not TOML: {error}") from None
    absolute: dict[str, Any] = _absolute(document, path.resolve().parent)
    return absolute


def check(document: Mapping[str, Any]) -> Config:
    """The configuration that the tables state. Raises ConfigurationError with every problem found."""
    schema = _FileSchema()
    try:
        data: dict[str, Any] = schema.load(document)
    except ValidationError as error:
        raise ConfigurationError(*sentences(error, schema)) from None
    problems: list[str] = []
    if not data["sources"]:
        problems.append("sources: configure at least one, as [sources.NAME] with its plugin")
    default = data["facade"]["default_source"]
    if default is not None and default not in data["sources"]:
        problems.append(f'facade.default_source: "{default}" is not configured; add [sources.{default}]')
    clients = tuple(
        Client(name, client["key_sha256"], frozenset(client["sources"]), frozenset(client["operations"]))
        for name, client in data["clients"].items()
    )
    problems += _client_problems(clients, data["auth"]["mode"], set(data["sources"]))
    if problems:
        raise ConfigurationError(*problems)
    return Config(**data["facade"], auth_mode=data["auth"]["mode"], clients=clients)


def _client_problems(clients: tuple[Client, ...], mode: str, sources: set[str]) -> Iterator[str]:
    if mode == "api-key" and not clients:
        yield 'clients: auth.mode is "api-key", so configure at least one as [clients.NAME] with its key'
    if len({client.key_sha256 for client in clients}) < len(clients):
        yield "clients: two clients have the same key; give each its own"
    for client in clients:
        for source in sorted(client.sources - sources - {"*"}):
            yield f'clients.{client.name}.sources: "{source}" is not configured; add [sources.{source}] or use "*"'


def sentences(error: ValidationError, schema: Schema, prefix: str = "") -> list[str]:
    """One sentence a problem: the setting's path, what is wrong, the next step; never a value."""
    return list(_walk(error.messages, schema, prefix))


def _walk(messages: Any, schema: Schema | None, path: str) -> Iterator[str]:
    if isinstance(messages, list):
        for message in messages:
            yield f"{path}: {message}"
        return
    for name, inner in messages.items():
        step = path if name in {"_schema", "value", "key"} else f"{path}.{name}" if path else str(name)
        if inner == ["Unknown field."] and schema is not None:
            near = difflib.get_close_matches(str(name), schema.fields, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(schema.fields)}"
            yield f"{step}: unknown key; {hint}"
            continue
        yield from _walk(inner, _inner_schema(schema, str(name)), step)


def _inner_schema(schema: Schema | None, name: str) -> Schema | None:
    if schema is None:
        return None
    if name not in schema.fields:
        return schema  # a name of the user's own inside a table of like things
    inner = schema.fields[name]
    inner = inner.value_field if isinstance(inner, fields.Dict) and inner.value_field else inner
    return inner.schema if isinstance(inner, fields.Nested) else None


def _absolute(value: Any, folder: Path) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: str(folder / member) if key.endswith("_file") and isinstance(member, str) else _absolute(member, folder)
        for key, member in value.items()
    }
