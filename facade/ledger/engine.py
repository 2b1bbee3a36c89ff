"""Connects to the store, so that a commit means what the ledger needs it to mean."""

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

# A server whose host fell silent is given up after seconds, not after TCP's quarter of an hour.
_TCP = {
    "connect_timeout": 2,
    "tcp_user_timeout": 3000,  # milliseconds
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
LOCK_WAIT = 1.0
"""Seconds for which a transaction waits for its turn in this process, for a connection, and for the store's lock, each;
PostgreSQL ends a statement after twice as long.
"""
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")
_NAMED = "facade_named"  # the execution option that says where the URL comes from
_SQLITE_ARGUMENTS = {"uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
_NOT_A_URL = (
    'is not a database URL; write one like "sqlite:///var/facade.db" or "postgresql+psycopg://USER@HOST/DATABASE", '
    "with %40 for @, %2F for / and %3A for : in a password"
)
CONNECTIONS = 10  # of one process; a thread needs one for some milliseconds at a time


def connect(url: str, *, named: str = "facade.store", **pool: Any) -> Engine:
    """An engine for SQLite or PostgreSQL. Nothing is opened yet; ``pool`` goes to SQLAlchemy as it is.

    ``named`` is the setting or option that the URL comes from, for errors; they never hold the URL.

    A transaction of SQLAlchemy's is flushed. SQLite runs in WAL mode, one writer at a time from the first statement on,
    unless the connection's execution option ``only_reads`` is set. At most CONNECTIONS are open at once. Raises
    ConfigurationError for any other kind of URL, or without its driver.
    """
    parsed = _parsed(url, named)
    pool = {
        "execution_options": {_NAMED: named},
        "pool_timeout": LOCK_WAIT,
        "pool_size": CONNECTIONS,
        "max_overflow": 0,
        **pool,
    }
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, named, pool)
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigurationError(
            f'{named}: is kept in SQLite or PostgreSQL; write "sqlite:///…" or "postgresql+psycopg://…"'
        )
    try:
        engine = create_engine(parsed, connect_args={**_TCP, **_driver()}, **pool)
        engine.dialect.create_connect_args(parsed)
    except ImportError:
        raise ConfigurationError(f"{named}: needs the driver; pip install 'fhir-facade[postgres]'") from None
    except (SQLAlchemyError, ValueError, TypeError):
        raise ConfigurationError(f"{named}: {_NOT_A_URL}") from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        # In one message, and for this transaction only: a pooler may give the next one another server connection.
        connection.exec_driver_sql(
            f"SET LOCAL lock_timeout = {int(LOCK_WAIT * 1000)}; SET LOCAL statement_timeout = {int(LOCK_WAIT * 2000)}; "
            f"SET LOCAL idle_in_transaction_session_timeout = {int(LOCK_WAIT * 10_000)}; "
            "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
        )

    return engine


def named(engine: Engine) -> str:
    """The setting or option that the store's URL comes from, for errors."""
    found: str = engine.get_execution_options().get(_NAMED, "facade.store")
    return found


def option(engine: Engine) -> str:
    """The command-line option that names this store, for a shell; a password in it is shown as ``***``."""
    url = engine.url
    if url.get_backend_name() == "sqlite" and url.database:
        url = url.set(database=str(Path(url.database).resolve()))
    hidden = {name: "***" for name in url.query if "password" in name.lower()}
    shown = url.update_query_dict(hidden).render_as_string(hide_password=True)
    return f"--store {shlex.quote(shown.replace('%2A', '*'))}"


def _driver() -> dict[str, Any]:
    """psycopg without server-side state: parameters go as part of the text, so that one message may hold several
    statements, and nothing is prepared, which a pooler in transaction mode could not find again.
    """
    import psycopg  # here, because SQLite needs no driver

    return {"cursor_factory": psycopg.ClientCursor, "prepare_threshold": None}


def _parsed(url: str, named: str) -> URL:
    """The URL in its parts. Raises ConfigurationError without its text: a password may stand anywhere in it."""
    try:
        url.encode()
        parsed = make_url(url)
        parts = [parsed.username, parsed.password, parsed.host, parsed.database]
        parts += [value for name in parsed.query for value in (name, *parsed.normalized_query[name])]
    except (SQLAlchemyError, ValueError, TypeError):
        raise ConfigurationError(f"{named}: {_NOT_A_URL}") from None
    if "@" in (parsed.host or ""):
        raise ConfigurationError(f"{named}: {_NOT_A_URL}")
    if any(_CONTROL.search(str(part)) for part in parts if part):
        raise ConfigurationError(f"{named}: holds a control character; write one line of text")
    return parsed


def _sqlite(url: URL, named: str, pool: dict[str, Any]) -> Engine:
    if not url.database or url.database.startswith((":memory:", "file:")) or url.host or url.username:
        raise ConfigurationError(f'{named}: needs a file, as "sqlite:///var/facade.db"; memory forgets')
    if not url.query.keys() <= _SQLITE_ARGUMENTS:
        raise ConfigurationError(f"{named}: has an argument after ? that SQLite does not know; write the path alone")
    try:
        engine = create_engine(url, connect_args={"timeout": LOCK_WAIT, "check_same_thread": False}, **pool)
    except (SQLAlchemyError, ImportError, ValueError, TypeError):
        raise ConfigurationError(f"{named}: {_NOT_A_URL}") from None

    file = os.path.realpath(url.database)

    @event.listens_for(engine, "do_connect")
    def _create(*_: Any) -> None:
        create_private(file)

    @event.listens_for(engine, "connect")
    def _connect(connection: Any, _: Any) -> None:
        # The driver's own idea of when a transaction begins would leave a reader that turns writer
        # with "database is locked" at once; BEGIN IMMEDIATE below waits instead.
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
    """Make an empty file that only its owner can read, if there is none; SQLite gives ``-wal`` and ``-shm`` its mode.

    One that is there is not opened: to close it would give up this process's locks on it, SQLite's among them.
    """
    if not os.path.exists(file):  # noqa: PTH110 - called for each connection
        with contextlib.suppress(OSError):  # somebody was first, or what SQLite is about to say better
            os.close(os.open(file, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn WAL on, for good. SQLite does not wait for others here, so that several that begin at once need a retry."""
    ends_at = time.monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= ends_at:
                raise
            time.sleep(0.01)
