"""Brings a store's tables to this version: Alembic, in one transaction, alone."""

import contextlib
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import SQLAlchemyError

from facade.errors import ConfigurationError
from facade.ledger import engine as engines

# PostgreSQL's advisory lock for "somebody migrates this ledger"; any number no one else uses.
_LOCK = 0x46484952


def upgrade(engine: Engine) -> str:
    """Apply what is missing; the revision the store has afterwards. Raises ConfigurationError."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        with contextlib.suppress(OSError):  # what cannot be made cannot be opened either: said below
            _make_private_folder(Path(engine.url.database).parent)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                # A statement over every row may take long. The limits of waiting for a lock stay.
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            _refuse_newer(engine, connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return revision(connection) or ""
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"{engines.named(engine)}: cannot be upgraded ({type(error).__name__}); {_advice(engine)}"
        ) from error


def _make_private_folder(folder: Path) -> None:
    """Make a folder that only its owner can enter, and those above it, where there is none."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def make_ready(engine: Engine, option: str = "") -> None:
    """Create or upgrade a SQLite file; any other store must be at this version. Raises ConfigurationError."""
    if engine.dialect.name == "sqlite":
        upgrade(engine)
    else:
        check(engine, option)


def check(engine: Engine, option: str = "") -> None:
    """Raises ConfigurationError unless the store is there and at this version's revision.

    ``option`` names the store on a command line, by default by its URL.
    """
    try:
        with engine.connect() as connection:
            _refuse_newer(engine, connection)
            found = revision(connection)
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"{engines.named(engine)}: cannot be opened ({type(error).__name__}); {_advice(engine)}"
        ) from error
    if found != _scripts().get_current_head():
        raise ConfigurationError(
            f"{engines.named(engine)}: is not at this version; run facade db upgrade {option or engines.option(engine)}"
        )


def exists(engine: Engine, option: str = "") -> bool:
    """Whether there is a ledger at this version; False where a start would create or upgrade it.

    Changes nothing. Raises ConfigurationError where a start would be refused.
    """
    if engine.dialect.name != "sqlite":
        check(engine, option)
        return True
    if not Path(engine.url.database or "").exists():
        return False
    try:
        with engine.connect() as connection:
            _refuse_newer(engine, connection)
            return revision(connection) == _scripts().get_current_head()
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"{engines.named(engine)}: cannot be opened ({type(error).__name__}); {_advice(engine)}"
        ) from error


def revision(connection: Connection) -> str | None:
    """The revision the store is at, None for an empty one."""
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(engine: Engine, connection: Connection) -> None:
    """Raise ConfigurationError for a store that a newer version has upgraded: its columns may have other names."""
    found = revision(connection)
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        raise ConfigurationError(f"{engines.named(engine)}: was upgraded by a newer version; upgrade this facade")


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _advice(engine: Engine) -> str:
    if engine.dialect.name == "sqlite":
        return "check that its folder exists and can be written"
    return "check that the server runs and the URL is right"
