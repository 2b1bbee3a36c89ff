"""Connects to the store, so that a commit means what the ledger needs it to mean."""

import sqlite3
import time
from typing import Any

from sqlalchemy import URL, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from facade.errors import ConfigurationError

# A server whose host fell silent is given up after seconds, not after TCP's quarter of an hour.
_TCP = {
    "connect_timeout": 2,
    "tcp_user_timeout": 3000,  # milliseconds
    "keepalives_idle": 2,
    "keepalives_interval": 1,
    "keepalives_count": 3,
}
_FLUSHED = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
LOCK_WAIT = 1.0  # seconds to wait for a locked store: part of the 0.3 s a cancel has, and as long as a caller bears


def connect(url: str, **pool: Any) -> Engine:
    """An engine for SQLite or PostgreSQL. Nothing is opened yet; ``pool`` goes to SQLAlchemy as it is.

    Execution options of a connection choose what its transactions are: ``flushed`` (the commit reaches the
    disk; else the operating system only) and ``only_reads``. SQLite runs in WAL mode, one writer at a time from
    the first statement on. Raises ConfigurationError for any other kind of URL, or without its driver.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(
            'facade.store: is not a database URL; write one like "sqlite:///var/facade.db"'
        ) from None
    # Every thread of a serving process may want a connection at once; few need one for long.
    pool = {"pool_timeout": LOCK_WAIT, "max_overflow": 40, **pool}
    if parsed.get_backend_name() == "sqlite":
        return _sqlite(parsed, pool)
    if parsed.drivername != "postgresql+psycopg":
        raise ConfigurationError(
            'facade.store: is kept in SQLite or PostgreSQL; write "sqlite:///…" or "postgresql+psycopg://…"'
        )
    try:
        engine = create_engine(parsed, pool_pre_ping=True, connect_args=_TCP, **pool)
    except (ImportError, NoSuchModuleError):
        raise ConfigurationError("facade.store: needs the driver; pip install 'fhir-facade[postgres]'") from None

    @event.listens_for(engine, "begin")
    def _begin(connection: Any) -> None:
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {int(LOCK_WAIT * 1000)}")
        connection.exec_driver_sql(f"SET LOCAL statement_timeout = {int(LOCK_WAIT * 2000)}")
        if connection.get_execution_options().get("flushed"):
            # On, where somebody has turned it off; what is stricter than on stays as it is.
            connection.exec_driver_sql(_FLUSHED)
        else:
            connection.exec_driver_sql("SET LOCAL synchronous_commit = off")

    return engine


def _sqlite(url: URL, pool: dict[str, Any]) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigurationError('facade.store: needs a file, as "sqlite:///var/facade.db"; memory forgets')
    engine = create_engine(url, connect_args={"timeout": LOCK_WAIT, "check_same_thread": False}, **pool)

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
            connection.exec_driver_sql(f"PRAGMA synchronous = {'FULL' if options.get('flushed') else 'NORMAL'}")
            connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


def _use_wal(connection: sqlite3.Connection) -> None:
    """Turn WAL on, for good. SQLite does not wait for others here, so several that begin at once need another try."""
    ends_at = time.monotonic() + LOCK_WAIT
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError:
            if time.monotonic() >= ends_at:
                raise
            time.sleep(0.01)
