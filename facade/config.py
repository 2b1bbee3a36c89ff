"""Reads the configuration file through marshmallow schemas; secrets come from the environment or files.

Every setting whose name ends in ``_file`` is a path, relative to the configuration file.
"""

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
from facade.sentences import sentences

LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
SOURCE_IDENTIFIER_SYSTEM = "urn:fhir-facade:source-system"
OPERATIONS = ("cancel", "read")
_PORTS = {"http": 80, "https": 443}
_NAME = r"[A-Za-z0-9-]{1,64}"
_VARIABLE = r"[A-Z_][A-Z0-9_]*"
_URI = r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"]+"
_PATH = r"(/(?!\.{1,2}(/|\Z))[A-Za-z0-9._~-]+)*"
_NO_SOURCE = "configure at least one, as [sources.NAME] with its plugin"


def _matching(pattern: str, error: str) -> validate.Regexp:
    return validate.Regexp(rf"(?:{pattern})\Z", error=error)


@dataclass(frozen=True)
class Secret:
    """A value that no log, error or repr shows; ``reveal()`` where it is used."""

    _value: str = field(repr=False)

    def reveal(self) -> str:
        """The value itself."""
        return self._value


class SecretFromEnv(fields.String):
    """The name of an environment variable; loads as the Secret it holds."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        # What looks like no variable's name may be the secret itself, written in the wrong place.
        where = f"the environment variable {name}" if re.fullmatch(_VARIABLE, name) else "the environment variable"
        secret = os.environ.get(name, "") if "\0" not in name else ""
        if not secret:
            raise ValidationError(f"{where} is not set; set it to the secret, and write only its name here")
        return _usable(secret, where)


class SecretFromFile(fields.String):
    """The path of a file; loads as the Secret that is its content without the line's end."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        path = super()._deserialize(value, attr, data, **kwargs)
        try:
            secret = Path(path).read_text("utf-8").strip()
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValidationError(f"the file {path} cannot be read: {why}; write the secret into it") from None
        return _usable(secret, f"the file {path}")


def _usable(secret: str, where: str) -> Secret:
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise ValidationError(f"{where} must hold the secret alone: one line of printable ASCII without spaces")
    return Secret(secret)


class BaseUrl(fields.String):
    """An absolute https URL without credentials, query and fragment; plain http to loopback only."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        url = super()._deserialize(value, attr, data, **kwargs)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValidationError("is not a URL; write one like https://host/path") from None
        unwanted = "@" in parts.netloc or parts.query or parts.fragment or not re.fullmatch(r"[\x21-\x7e]+", url)
        if parts.scheme not in _PORTS or not host or unwanted:
            raise ValidationError("must be an absolute https:// URL without credentials, query or fragment")
        if parts.scheme == "http" and host not in LOOPBACK_HOSTS:
            raise ValidationError("is plain http to a host that is not loopback; use https://")
        # One spelling for one place, so that two sources at the same place are seen to be.
        host = f"[{host}]" if ":" in host else host
        place = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
        return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


def _uri(**kwargs: Any) -> fields.String:
    return fields.String(validate=_matching(_URI, "must be an absolute URI, like urn:… or https://…"), **kwargs)


class SourceSettings(Schema):
    """What every source may set; a plugin's settings schema extends it. Unknown keys are refused."""

    class Meta:
        unknown = RAISE

    plugin = fields.String(required=True)
    identifier_systems = fields.Dict(fields.String(), _uri())
    code_systems = fields.Dict(fields.String(), _uri())
    concept_map_file = fields.String()
    fallback_reason = fields.String()


class _FacadeSchema(Schema):
    base_path = fields.String(
        load_default="",
        validate=_matching(_PATH, 'must be empty or like "/fhir/r4": a leading slash, none at the end'),
    )
    answer_within = fields.Float(
        load_default=8.0,  # the scheduler gives up after 10
        validate=validate.Range(6.0, 60.0, error="must be 6 to 60 seconds: below 6 the parts of a cancel have no room"),
    )
    default_source = fields.String(load_default=None)
    source_identifier_system = _uri(load_default=SOURCE_IDENTIFIER_SYSTEM)
    explain_proposed = fields.Boolean(load_default=True, truthy={True}, falsy={False})


class _AuthSchema(Schema):
    mode = fields.String(
        load_default="api-key", validate=validate.OneOf(["api-key", "none"], error='must be "api-key" or "none"')
    )


class _ClientSchema(Schema):
    key_env = SecretFromEnv()
    key_sha256 = fields.String(
        validate=_matching(r"[0-9a-f]{64}", 'must be 64 lower-case hexadecimal digits: printf %s "$KEY" | sha256sum')
    )
    sources = fields.List(
        fields.String(), required=True, validate=validate.Length(min=1, error='must name a source, or be ["*"] for all')
    )
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
    sources = fields.Dict(
        fields.String(validate=_matching(_NAME, "a name in the URL: it must be 1 to 64 letters, digits and hyphens")),
        fields.Dict(),
        required=True,
        validate=validate.Length(min=1, error=_NO_SOURCE),
        error_messages={"required": _NO_SOURCE},
    )


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
        raise ConfigurationError(f"{path} is not TOML: {error}; mend it there") from None
    absolute: dict[str, Any] = _absolute(document, path.resolve().parent)
    return absolute


def check(document: Mapping[str, Any]) -> Config:
    """The configuration that the tables state. Raises ConfigurationError with every problem found."""
    schema = _FileSchema()
    problems: list[str] = []
    try:
        data: Any = schema.load(document)
    except ValidationError as error:
        problems += sentences(error, schema)
        # What of it is sound is looked at further: an operator wants to hear of every problem in one start.
        data = error.valid_data
    given = document.get("sources")
    sources = list(given) if isinstance(given, dict) else None
    default = data.get("facade", {}).get("default_source")
    if default is not None and sources is not None and default not in sources:
        problems.append(f'facade.default_source: "{default}" is not configured; add [sources.{default}]')
    if data.get("auth", {}).get("mode") == "api-key" and document.get("clients", {}) == {}:
        problems.append('clients: auth.mode is "api-key"; configure at least one, as [clients.NAME] with its key')
    problems += _client_problems(data.get("clients", {}), sources)
    if problems:
        raise ConfigurationError(*problems)
    clients = tuple(
        Client(name, client["key_sha256"], frozenset(client["sources"]), frozenset(client["operations"]))
        for name, client in data["clients"].items()
    )
    return Config(**data["facade"], auth_mode=data["auth"]["mode"], clients=clients)


def _client_problems(clients: Mapping[str, Any], sources: list[str] | None) -> Iterator[str]:
    owners: dict[str, str] = {}
    for name, client in clients.items():
        key = client.get("key_sha256")
        if key is not None and (owner := owners.setdefault(key, name)) != name:
            yield f"clients.{name}: has the key of clients.{owner}; give each client its own"
        for source in client.get("sources", []):
            if sources is not None and source not in (*sources, "*"):
                yield f'clients.{name}.sources: "{source}" is not configured; add [sources.{source}] or use "*"'


def _absolute(value: Any, folder: Path) -> Any:
    if not isinstance(value, dict):
        return value
    return {
        key: str(folder / member) if key.endswith("_file") and isinstance(member, str) else _absolute(member, folder)
        for key, member in value.items()
    }
