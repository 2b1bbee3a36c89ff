"""The stores that the ledger's tests run on: SQLite, and PostgreSQL where one answers."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.exc import SQLAlchemyError

from facade.ledger import migrate
from facade.ledger.engine import connect

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
