"""The stores that the ledger's tests run on: SQLite, and PostgreSQL where one answers."""

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from facade.ledger import engine as engines
from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.ledger.store import Ledger

POSTGRESQL = os.environ.get("FACADE_TEST_POSTGRESQL", "postgresql+psycopg://127.0.0.1/test")


def need_postgresql() -> None:
    """Skip where no PostgreSQL answers; CI must not go without."""
    try:
        engine = create_engine(POSTGRESQL, connect_args={"connect_timeout": 3})
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        engine.dispose()
    except SQLAlchemyError:
        why = f"no PostgreSQL answers at {POSTGRESQL}; name one in FACADE_TEST_POSTGRESQL"
        if os.environ.get("CI") == "true":
            pytest.fail(why)
        pytest.skip(why)


@contextmanager
def locked(ledger: Ledger) -> Iterator[None]:
    """Nothing can use this ledger on SQLite meanwhile; what tries to learns it after a moment."""

    def impatient(dialect: object, record: object, arguments: object, parameters: dict[str, object]) -> None:
        parameters["timeout"] = 0.05

    engine = ledger.engine
    engine.dispose()
    event.listen(engine, "do_connect", impatient)
    try:
        with pytest.MonkeyPatch.context() as patch, closing(sqlite3.connect(engine.url.database)) as other:  # type: ignore[arg-type]  # a double, or known to be there
            patch.setattr(engines, "LOCK_WAIT", 0.05)
            other.isolation_level = None
            other.execute("BEGIN EXCLUSIVE")
            yield
            other.execute("ROLLBACK")
    finally:
        event.remove(engine, "do_connect", impatient)
        engine.dispose()


@contextmanager
def store_url(kind: str, folder: Path) -> Iterator[str]:
    """The URL of an empty, migrated ledger of this kind, dropped afterwards."""
    if kind == "sqlite":
        url = f"sqlite:///{folder / 'ledger.db'}"
        engine = connect(url)
        migrate.upgrade(engine)
        engine.dispose()
        yield url
        return
    need_postgresql()
    from tests.histories.postgresql import schema

    with schema(POSTGRESQL) as url:
        yield url
