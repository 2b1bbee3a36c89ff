"""A schema of one's own on PostgreSQL, made and dropped."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import create_engine

from facade.ledger import migrate
from facade.ledger.engine import connect


@contextmanager
def schema(url: str) -> Iterator[str]:
    """The URL of a new, migrated schema, which is dropped afterwards."""
    with empty_schema(url) as own:
        engine = connect(own)
        migrate.upgrade(engine)
        engine.dispose()
        yield own


@contextmanager
def empty_schema(url: str) -> Iterator[str]:
    """The URL of a new schema without tables, which is dropped afterwards."""
    name = f"facade_{uuid.uuid4().hex[:12]}"
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE SCHEMA {name}")
    own = f"{url}?options=-csearch_path%3D{name}"
    try:
        yield own
    finally:
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP SCHEMA {name} CASCADE")
        admin.dispose()
