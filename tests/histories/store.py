"""Where the ledgers of the histories are, and what disturbs them."""

import contextlib
import shutil
import sqlite3
import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from facade.ledger.engine import connect


class Store:
    """A SQLite file for each history, or one PostgreSQL schema for all."""

    def __init__(self, template: Path | None, postgresql: str | None) -> None:
        self._template = template
        self._postgresql = postgresql
        self._shared = connect(postgresql, pool_size=4, max_overflow=20) if postgresql else None
        self._engines: dict[str, Any] = {}

    def open(self, folder: Path, name: str) -> str:
        """The URL of the ledger of one history."""
        if self._postgresql is not None:
            return f"{self._postgresql}&application_name={name}"
        assert self._template is not None
        path = folder / f"{name}.db"
        shutil.copy(self._template, path)
        return f"sqlite:///{path}"

    def engine(self, url: str) -> Any:
        if self._shared is not None:
            return self._shared
        return self._engines.setdefault(url, connect(url))

    def close(self, url: str) -> None:
        engine = self._engines.pop(url, None)
        if engine is not None:
            engine.dispose()
            path = Path(engine.url.database)
            for suffix in ("", "-wal", "-shm"):
                path.with_name(path.name + suffix).unlink(missing_ok=True)

    def disturb(self, url: str, name: str, seconds: float) -> None:
        """Lock the store, or cut its connections, for so many real seconds."""
        ends_at = time.time() + seconds
        if self._shared is not None:
            while time.time() < ends_at:
                with self._shared.connect() as connection:
                    query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :name"
                    connection.execute(text(query), {"name": name})
                time.sleep(0.05)
            return
        path = url.removeprefix("sqlite:///")
        with (
            contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection,
            contextlib.suppress(sqlite3.OperationalError),
        ):
            connection.execute("BEGIN EXCLUSIVE")
            time.sleep(seconds)
            connection.execute("ROLLBACK")
