"""Connect to the store: create engines for SQLite and PostgreSQL, with time limits and durable commits."""

import contextlib
import os
import re
import shlex
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import SQLAlchemyError

from facade.errors import ConfigurationError

# A server that no longer responds is given up after seconds. TCP's default is about 15 minutes.
_TCP = {
    "connect_timeout": 2,
    "tcp_user_timeout": 3000,  # milliseconds
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
LOCK_WAIT = 1.0
"""The limit in seconds of each wait of a transaction: for its turn in this process, for a connection, for a lock.

PostgreSQL ends a statement after twice as long.
"""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_SETTING = "facade_setting"  # the execution option with the name of the setting that the URL comes from
_SQLITE_ARGUMENTS = {"uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
_NOT_A_URL = (
    'is not a database URL; write one like "sqlite:///var/facade.db" or "postgresql+psycopg://USER@HOST/DATABASE", '
    "with %40 for @, %2F for / and %3A for : in a password"
)
CONNECTIONS = 10  # per process; a thread uses one for a few milliseconds at a time


def connect(url: str, *, setting: str = "facade.store", **pool: Any) -> Engine:
    """Create an engine for SQLite or PostgreSQL, without opening a connection.

    ``setting`` is the name of the setting or option that the URL comes from. Error messages contain it, and never the
    URL. ``pool`` are further arguments for ``sqlalchemy.create_engine``.

    Transactions through SQLAlchemy are flushed. SQLite runs in WAL mode. A SQLite transaction takes the write lock when
    it begins, unless the connection has the execution option ``only_reads``. At most CONNECTIONS are open at a time.
    Raises ConfigurationError for any other kind of URL, or if the driver is not installed.
    """
    parsed = _parse(url, setting)
    pool = {
        "execution_options": {_SETTING: setting},
        "pool_timeout": LOCK_WAIT,
        "pool_size": CONNECTIONS,
        "max_overflow": 0,
        **pool,
    }
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, setting, pool)
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigurationError(
            f'{setting}: must be SQLite or PostgreSQL; write "sqlite:///…" or "postgresql+psycopg://…"'
        )
    try:
        engine = create_engine(parsed, connect_args={**_TCP, **_driver()}, **pool)
        engine.dialect.create_connect_args(parsed)
    except ImportError:
        raise ConfigurationError(f"{setting}: needs a driver; run pip install 'fhir-facade[postgres]'") from None
    except (SQLAlchemyError, ValueError, TypeError):
        raise ConfigurationError(f"{setting}: {_NOT_A_URL}") from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # One message, for this transaction only: a pooler may use another server connection for the next transaction.
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = {int(LOCK_WAIT * 1000)}; SET LOCAL statement_timeout = {int(LOCK_WAIT * 2000)}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {int(LOCK_WAIT * 10_000)}; "
            "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        )

    return engine


def setting_name(engine: Engine) -> str:
    """Return the name of the setting or option that the store's URL comes from, for error messages."""
    found: str = engine.get_execution_options().get(_SETTING, "facade.store")
    return found


def option(engine: Engine) -> str:
    """Return the command-line option that names this store, quoted for a shell, with passwords as ``***``."""
    url = engine.url
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).resolve()))
    hidden = {name: "***" for name in url.query if "password" in name.lower()}
    shown = url.update_query_dict(hidden).render_as_string(hide_password=True)
    return f"--store {shlex.quote(shown.replace('%2A', '*'))}"


def _driver() -> dict[str, Any]:
    """Return the arguments for psycopg without server-side state.

    Parameters are sent as part of the text, so one message may contain several statements. Nothing is prepared, since
    a pooler in transaction mode may use a server connection without the prepared statement.
    """
    import psycopg  # imported here because SQLite does not need it

    return {"cursor_factory": psycopg.ClientCursor, "prepare_threshold": None}


def _parse(url: str, setting: str) -> URL:
    """Parse the URL. Raises ConfigurationError, never with the URL itself: any part of it may be a password."""
    try:
        url.encode()
        parsed = make_url(url)
        parts = [parsed.username, parsed.password, parsed.host, parsed.database]
        parts += [value for name in parsed.query for value in (name, *parsed.normalized_query[name])]
    except (SQLAlchemyError, ValueError, TypeError):
        raise ConfigurationError(f"{setting}: {_NOT_A_URL}") from None
    if "@" in (parsed.host or ""):
        raise ConfigurationError(f"{setting}: {_NOT_A_URL}")
    if any(_CONTROL.search(str(part)) for part in parts if part):
        raise ConfigurationError(f"{setting}: contains a control character; write one line of text")
    return parsed


def _sqlite(url: URL, setting: str, pool: dict[str, Any]) -> Engine:
    if not url.database or url.database.startswith((":memory:", "file:")) or url.host or url.username:
        raise ConfigurationError(f'{setting}: must name a file; write one like "sqlite:///var/facade.db"')
    if not url.query.keys() <= _SQLITE_ARGUMENTS:
        raise ConfigurationError(f"{setting}: has an argument after ? that SQLite does not know; write the path only")
    try:
        engine = create_engine(url, connect_args={"timeout": LOCK_WAIT, "check_same_thread": False}, **pool)
    except (SQLAlchemyError, ImportError, ValueError, TypeError):
        raise ConfigurationError(f"{setting}: {_NOT_A_URL}") from None

    file = os.path.realpath(url.database)

    @event.listens_for(engine, "do_connect")
    def _create(*_: Any) -> None:
        create_private(file)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        # With the driver's own transactions, a reader that starts to write fails at once with "database is locked".
        # BEGIN IMMEDIATE below waits for the lock instead.
        connection.isolation_level = None
        _use_wal(connection)

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        options = connection.get_execution_options()
        if options.get("only_reads"):
            connection.exec_driver_sql("BEGIN")
        else:
            connection.exec_driver_sql("PRAGMA synchronous = FULL")
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def create_private(file: str) -> None:
    """Create an empty file that only its owner can read, if it does not exist.

    SQLite creates ``-wal`` and ``-shm`` with the same mode. An existing file is not opened, because closing it would
    release this process's POSIX locks on it, including SQLite's.
    """
    if not os.path.exists(file):  # noqa: PTH110 - called for each connection
        with contextlib.suppress(OSError):  # another process created it, or SQLite will report the error
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn WAL mode on, permanently. SQLite does not wait for a lock here, so this retries for LOCK_WAIT seconds."""
    ends_at = time.monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= ends_at:
                raise
            time.sleep(0.01)
