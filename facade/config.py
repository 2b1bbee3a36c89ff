"""Reads and validates the configuration file, except the settings of sources.

Every setting whose name ends in ``_file`` is a path, relative to the configuration file.
"""

import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from marshmallow import ValidationError

from facade.config_messages import sentences
from facade.config_tables import DEFAULT_STORE, ConfigurationFile
from facade.errors import ConfigurationError


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
    schema = ConfigurationFile()
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
