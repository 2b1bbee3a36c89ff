"""How the ledger's statements run on each kind of store: as few round trips as the store allows."""

import contextlib
import json
import re
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from facade.errors import Unavailable
from facade.ledger import engine as engines
from facade.ledger import statements
from facade.ledger.tables import Row

NOT_NOW = "The facade's ledger cannot be used now, so this request sent nothing to the source system. Try again."

Values = Mapping[str, Any]


class Backend(ABC):
    """Runs statements. Every method raises Unavailable when the store cannot be used.

    Values are by parameter. ``between`` is called where a test may end the process between two writes. ``due`` is the
    query for the rows that are due.
    """

    due = statements.DUE

    def __init__(self, engine: Engine, between: Callable[[], None]) -> None:
        self.engine = engine
        self.between = between
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error

    @abstractmethod
    def read(self, statement: str, values: Values) -> list[Row]:
        """The rows that a query finds."""

    @abstractmethod
    def claim(self, statement: str, values: Values) -> int | None:
        """Insert or update a row under a new attempt number, journalled; the number, None where nothing was changed.

        The statement and the entry take the number as ``:attempt_number`` and ``:entry_attempt_number``. A claim that
        is lost lost nothing; it is flushed where a process could outlive the loss, and its number be given to another.
        """

    @abstractmethod
    def change(self, statement: str, values: Values, *, audited: bool, flushed: bool) -> bool:
        """Update a row, journalled and ``audited``, all or nothing; False where it was not as expected."""

    @abstractmethod
    def update(self, statement: str, values: Values) -> bool:
        """Update a row without a journal line; False where it was not as expected. Not flushed."""

    @abstractmethod
    def append(self, values: Values, *, journalled: bool, audited: bool) -> None:
        """Append to journal and audit, flushed."""

    def queued(self) -> contextlib.AbstractContextManager[None]:
        """Wait for this process's turn to write, where it has to."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def translated(self) -> Iterator[None]:
        """Raise Unavailable for every failure of the store."""
        try:
            yield
        except (SQLAlchemyError, self._error, OSError, json.JSONDecodeError) as error:
            # The store's message may name hosts and values; the cause is chained for whoever debugs.
            raise Unavailable(NOT_NOW) from error


class SqliteBackend(Backend):
    """One file, one writer at a time, each transaction in the process itself."""

    due = statements.DUE_ON_SQLITE

    def __init__(self, engine: Engine, between: Callable[[], None]) -> None:
        super().__init__(engine, between)
        # SQLite wakes those that wait for the lock at random; in one process they can queue instead.
        self._turn = threading.Lock()

    def read(self, statement: str, values: Values) -> list[Row]:
        with self.translated(), self._connection() as connection:
            found = connection.execute(_for_sqlite(statement), values).fetchall()
            return [_row(one) for one in found]

    def claim(self, statement: str, values: Values) -> int | None:
        with self._transaction(flushed=False) as execute:
            (last,) = execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'", {}) or (0,)
            values = {**values, "attempt_number": last + 1, "entry_number": last + 1, "entry_attempt_number": last + 1}
            if execute(statement, values) is None:
                return None
            self.between()
            execute(statements.insert_entry(numbered=True), values)
        return int(last + 1)

    def change(self, statement: str, values: Values, *, audited: bool, flushed: bool) -> bool:
        with self._transaction(flushed=flushed) as execute:
            if execute(statement, values) is None:
                return False
            self.between()
            execute(statements.insert_entry(), values)
            if audited:
                execute(statements.insert_audit(), values)
        return True

    def update(self, statement: str, values: Values) -> bool:
        with self._transaction(flushed=False) as execute:
            return execute(statement, values) is not None

    def append(self, values: Values, *, journalled: bool, audited: bool) -> None:
        with self._transaction(flushed=True) as execute:
            if journalled:
                execute(statements.insert_entry(), values)
            if audited:
                execute(statements.insert_audit(), values)

    @contextlib.contextmanager
    def queued(self) -> Iterator[None]:
        """Wait for this process's turn to write. Raises Unavailable after a moment."""
        if not self._turn.acquire(timeout=engines.LOCK_WAIT):
            raise Unavailable(NOT_NOW)
        try:
            yield
        finally:
            self._turn.release()

    @contextlib.contextmanager
    def _connection(self) -> Iterator[Any]:
        pooled = self.engine.raw_connection()
        try:
            yield pooled.driver_connection
        finally:
            pooled.close()

    @contextlib.contextmanager
    def _transaction(self, *, flushed: bool) -> Iterator[Callable[[str, Values], Any]]:
        with self.queued(), self.translated(), self._connection() as connection:

            def execute(statement: str, values: Values) -> Any:
                return connection.execute(_for_sqlite(statement), values).fetchone()

            connection.execute(f"PRAGMA synchronous = {'FULL' if flushed else 'NORMAL'}")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield execute
                connection.execute("COMMIT")
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


class PostgresqlBackend(Backend):
    """One message to the server for each transaction, its settings included, so that a pooler between may hand each
    transaction to another server connection.
    """

    def read(self, statement: str, values: Values) -> list[Row]:
        try:
            return self._run(statement, values, flushed=None)
        except Unavailable:
            # The connection may have been cut while it was idle; a read may be made twice.
            return self._run(statement, values, flushed=None)

    def claim(self, statement: str, values: Values) -> int | None:
        claimed = statement.replace(":attempt_number", "(SELECT number FROM taken)")
        entry = statements.insert_entry(numbered=True, condition="done")
        entry = entry.replace(":entry_number", "done.attempt_number").replace(
            ":entry_attempt_number", "done.attempt_number"
        )
        parts = ["taken AS (SELECT nextval(pg_get_serial_sequence('journal', 'number')) AS number)"]
        parts += [f"done AS ({claimed})", f"entered AS ({entry})"]
        # Flushed: facades on other hosts outlive the server, and a number that it forgot would be given twice.
        return self._number(parts, values, flushed=True)

    def change(self, statement: str, values: Values, *, audited: bool, flushed: bool) -> bool:
        parts = [f"done AS ({statement})", f"entered AS ({statements.insert_entry(condition='done')})"]
        if audited:
            parts.append(f"audited AS ({statements.insert_audit(condition='done')})")
        return self._number(parts, values, flushed=flushed) is not None

    def update(self, statement: str, values: Values) -> bool:
        return self._first(statement, values, flushed=False) is not None

    def append(self, values: Values, *, journalled: bool, audited: bool) -> None:
        parts = [statements.insert_entry()] * journalled + [statements.insert_audit()] * audited
        self._first("; ".join(parts), values, flushed=True)

    def _number(self, parts: list[str], values: Values, *, flushed: bool) -> int | None:
        """The attempt number of the row that was changed, of the relation ``done`` among these."""
        statement = f"WITH {', '.join(parts)} SELECT attempt_number FROM done"  # noqa: S608 - our own statements
        number: int | None = self._first(statement, values, flushed=flushed)
        return number

    def _first(self, statement: str, values: Values, *, flushed: bool) -> Any:
        self.between()
        found = self._execute(statement, values, flushed=flushed)
        return found[0][0] if found else None

    def _run(self, statement: str, values: Values, *, flushed: bool | None) -> list[Row]:
        return [_row(one) for one in self._execute(statement, values, flushed=flushed)]

    def _execute(self, statement: str, values: Values, *, flushed: bool | None) -> list[tuple[Any, ...]]:
        """Run one transaction. ``flushed`` is None for a read."""
        message = f"{_SETTINGS}; {_COMMITS[flushed]}{_for_psycopg(statement)}"
        with self.translated():
            pooled = self.engine.raw_connection()
            connection: Any = pooled.driver_connection
            try:
                connection.autocommit = True  # the message is a transaction by itself; nothing is sent for this
                cursor = connection.cursor()
                cursor.execute(message, values)
                while cursor.nextset():
                    pass
                return cursor.fetchall() if cursor.description is not None else []
            finally:
                if connection.broken:
                    pooled.invalidate()
                    self.engine.dispose()  # what cut this connection has cut the others too
                else:
                    connection.autocommit = False
                pooled.close()


_SETTINGS = (
    f"SET LOCAL lock_timeout = {int(engines.LOCK_WAIT * 1000)}; "
    f"SET LOCAL statement_timeout = {int(engines.LOCK_WAIT * 2000)}"
)
_COMMITS: dict[bool | None, str] = {
    None: "",
    False: "SET LOCAL synchronous_commit = off; ",
    # On, where somebody has turned it off; what is stricter than on stays as it is.
    True: "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; ",
}


@cache
def _for_sqlite(statement: str) -> str:
    """Its own words; and a cast to what it does not know as a type would make a number of a text."""
    statement = re.sub(r"CAST\((:\w+) AS json\)", r"\1", statement)
    return statement.replace("IS NOT DISTINCT FROM", "IS").replace(statements.SKIP_LOCKED, "")


@cache
def _for_psycopg(statement: str) -> str:
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", statement)


def _row(found: tuple[Any, ...]) -> Row:
    values = dict(zip(statements.COLUMNS, found, strict=True))
    for name in statements.JSON & values.keys():
        if isinstance(values[name], str):
            values[name] = json.loads(values[name])
    for name in statements.BOOLEANS:
        values[name] = bool(values[name])
    return Row(**values)
