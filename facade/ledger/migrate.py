"""Upgrade a store's tables to this version with Alembic, in one transaction, one process at a time."""

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

# The key of PostgreSQL's advisory lock during a migration. Any number that nothing else uses will do.
_LOCK = 0x46484952


def upgrade(engine: Engine) -> str:
    """Apply the missing migrations, and return the store's new revision. Raises ConfigurationError."""
    if engine.dialect.name == "sqlite" and engine.url.database:
        with contextlib.suppress(OSError):  # opening the file then fails below, with the error text
            _make_private_folder(Path(engine.url.database).parent)
    try:
        with engine.begin() as connection:
            if engine.dialect.name == "postgresql":
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
                # A migration may change every row, so its statements have no time limit. Waiting for a lock still has.
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
            _refuse_newer(engine, connection)
            config = _config()
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            return revision(connection) or ""
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"{engines.setting_name(engine)}: cannot be upgraded ({type(error).__name__}); {_advice(engine)}"
        ) from error


def _make_private_folder(folder: Path) -> None:
    """Create a folder, and its missing parents, that only the owner can enter."""
    for missing in reversed([each for each in (folder, *folder.parents) if not each.exists()]):
        missing.mkdir(mode=0o700, exist_ok=True)


def make_ready(engine: Engine, option: str = "") -> None:
    """Create or upgrade a SQLite file; check that any other store is at this version.

    Raises ConfigurationError. ``option`` is as for ``check``.
    """
    if engine.dialect.name == "sqlite":
        upgrade(engine)
    else:
        check(engine, option)


def check(engine: Engine, option: str = "") -> None:
    """Raise ConfigurationError unless the store exists and is at this version's revision.

    ``option`` is the command-line option that names the store in the error text, by default ``--store`` with its URL.
    """
    try:
        with engine.connect() as connection:
            _refuse_newer(engine, connection)
            found = revision(connection)
    except SQLAlchemyError as error:
        raise ConfigurationError(
            f"{engines.setting_name(engine)}: cannot be opened ({type(error).__name__}); {_advice(engine)}"
        ) from error
    if found != _scripts().get_current_head():
        upgrade_option = option or engines.option(engine)
        raise ConfigurationError(
            f"{engines.setting_name(engine)}: is not at this version; run facade db upgrade {upgrade_option}"
        )


def exists(engine: Engine, option: str = "") -> bool:
    """Return whether the store is at this version; False if a start would create or upgrade it.

    Changes nothing. Raises ConfigurationError if a start would fail.
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
            f"{engines.setting_name(engine)}: cannot be opened ({type(error).__name__}); {_advice(engine)}"
        ) from error


def revision(connection: Connection) -> str | None:
    """Return the store's revision, None if it is empty."""
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(engine: Engine, connection: Connection) -> None:
    """Raise ConfigurationError if a newer version has upgraded the store: its columns may have other names."""
    found = revision(connection)
    if found is not None and found not in {script.revision for script in _scripts().walk_revisions()}:
        raise ConfigurationError(
            f"{engines.setting_name(engine)}: was upgraded by a newer version; upgrade this facade"
        )


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.set_main_option("path_separator", "os")
    return config


def _scripts() -> ScriptDirectory:
    return ScriptDirectory.from_config(_config())


def _advice(engine: Engine) -> str:
    if engine.dialect.name == "sqlite":
        return "check that its folder exists and is writable"
    return "check that the server runs and the URL is right"
