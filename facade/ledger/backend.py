"""Run the ledger's statements on SQLite or PostgreSQL, with as few round trips as possible."""
# Why this long: the transactions of both stores stand side by side, since both must give the same guarantees.

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

NOT_NOW = (
    "The facade's ledger cannot be used now, so this request sent nothing to the source system. Send the request again."
)

Values = Mapping[str, Any]


class Backend(ABC):
    """Run the ledger's statements on one kind of store. Every method raises Unavailable if the store cannot be used.

    Values are passed as named parameters, never as part of the statement. ``crash_point`` is called between two writes,
    so that a test can end the process there. ``due`` is the query for the rows whose probe is due.
    """

    due = statements.DUE

    def __init__(self, engine: Engine, crash_point: Callable[[], None]) -> None:
        self.engine = engine
        self.crash_point = crash_point
        self._error: type[Exception] = engine.dialect.loaded_dbapi.Error

    @abstractmethod
    def read(self, statement: str, values: Values) -> list[Row]:
        """Return the rows that a query finds."""

    @abstractmethod
    def claim(self, statement: str, values: Values) -> int | None:
        """Insert or update a row under a new attempt number, and append to the journal.

        Return the number, None if no row was changed. The statement and the entry take the number as
        ``:attempt_number`` and ``:entry_attempt_number``. A claim that a power cut loses has sent nothing, so it need
        not be flushed, unless another process could survive the power cut: its number must not be given twice.
        """

    @abstractmethod
    def change(self, statement: str, values: Values, *, audited: bool, flushed: bool) -> bool:
        """Update a row and append to the journal and, if ``audited``, to the audit, in one transaction.

        Return False, without any change, if the row is not as expected. ``flushed``: the commit reaches the disk.
        """

    @abstractmethod
    def update(self, statement: str, values: Values) -> bool:
        """Update a row without a journal entry, not flushed. Return False if the row is not as expected."""

    @abstractmethod
    def append(self, values: Values, *, journalled: bool, audited: bool) -> None:
        """Append to the journal, to the audit or to both, flushed."""

    def write_turn(self) -> contextlib.AbstractContextManager[None]:
        """Wait for this process's turn to write, if the store has one writer only."""
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def raising_unavailable(self) -> Iterator[None]:
        """Raise Unavailable for every failure of the store."""
        try:
            yield
        except (SQLAlchemyError, self._error, OSError, json.JSONDecodeError) as error:
            # The store's message may contain hosts and values. It is chained as the cause, for debugging only.
            raise Unavailable(NOT_NOW) from error


class SqliteBackend(Backend):
    """SQLite: one file, one writer at a time."""

    due = statements.DUE_ON_SQLITE

    def __init__(self, engine: Engine, crash_point: Callable[[], None]) -> None:
        super().__init__(engine, crash_point)
        # SQLite wakes waiting writers in random order. Within one process they queue here instead.
        self._turn = threading.Lock()

    def read(self, statement: str, values: Values) -> list[Row]:
        with self.raising_unavailable(), self._connection() as connection:
            found = connection.execute(_for_sqlite(statement), values).fetchall()
            return [_to_row(one) for one in found]

    def claim(self, statement: str, values: Values) -> int | None:
        with self._transaction(flushed=False) as execute:
            (last,) = execute("SELECT seq FROM sqlite_sequence WHERE name = 'journal'", {}) or (0,)
            values = {**values, "attempt_number": last + 1, "entry_number": last + 1, "entry_attempt_number": last + 1}
            if execute(statement, values) is None:
                return None
            self.crash_point()
            execute(statements.insert_entry(numbered=True), values)
        return int(last + 1)

    def change(self, statement: str, values: Values, *, audited: bool, flushed: bool) -> bool:
        with self._transaction(flushed=flushed) as execute:
            if execute(statement, values) is None:
                return False
            self.crash_point()
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
    def write_turn(self) -> Iterator[None]:
        """Wait for this process's turn to write, LOCK_WAIT seconds at most. Raises Unavailable after that."""
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
        with self.write_turn(), self.raising_unavailable(), self._connection() as connection:

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
    """PostgreSQL: one message for each transaction, including its settings.

    So a pooler may use another server connection for each transaction.
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
        # Flushed: processes on other hosts survive a power cut of the server, which must not give a number twice.
        return self._attempt_number(parts, values, flushed=True)

    def change(self, statement: str, values: Values, *, audited: bool, flushed: bool) -> bool:
        parts = [f"done AS ({statement})", f"entered AS ({statements.insert_entry(condition='done')})"]
        if audited:
            parts.append(f"audited AS ({statements.insert_audit(condition='done')})")
        return self._attempt_number(parts, values, flushed=flushed) is not None

    def update(self, statement: str, values: Values) -> bool:
        return self._first_value(statement, values, flushed=False) is not None

    def append(self, values: Values, *, journalled: bool, audited: bool) -> None:
        parts = [statements.insert_entry()] * journalled + [statements.insert_audit()] * audited
        self._first_value("; ".join(parts), values, flushed=True)

    def _attempt_number(self, parts: list[str], values: Values, *, flushed: bool) -> int | None:
        """Run the parts as one statement; return the attempt number of the row in ``done``, None if it is empty."""
        statement = f"WITH {', '.join(parts)} SELECT attempt_number FROM done"  # noqa: S608 - our own statements
        number: int | None = self._first_value(statement, values, flushed=flushed)
        return number

    def _first_value(self, statement: str, values: Values, *, flushed: bool) -> Any:
        self.crash_point()
        found = self._execute(statement, values, flushed=flushed)
        return found[0][0] if found else None

    def _run(self, statement: str, values: Values, *, flushed: bool | None) -> list[Row]:
        return [_to_row(one) for one in self._execute(statement, values, flushed=flushed)]

    def _execute(self, statement: str, values: Values, *, flushed: bool | None) -> list[tuple[Any, ...]]:
        """Run one transaction and return its rows. ``flushed`` is None for a read."""
        message = f"{_LIMITS}; {_COMMITS[flushed]}{_for_psycopg(statement)}"
        with self.raising_unavailable():
            pooled = self.engine.raw_connection()
            connection: Any = pooled.driver_connection
            try:
                connection.autocommit = True  # the message is a transaction by itself; this sends nothing
                cursor = connection.cursor()
                cursor.execute(message, values)
                while cursor.nextset():
                    pass
                return cursor.fetchall() if cursor.description is not None else []
            finally:
                if connection.broken:
                    pooled.invalidate()
                    self.engine.dispose()  # the other connections were probably cut too
                else:
                    connection.autocommit = False
                pooled.close()


_LIMITS = (
    f"SET LOCAL lock_timeout = {int(engines.LOCK_WAIT * 1000)}; "
    f"SET LOCAL statement_timeout = {int(engines.LOCK_WAIT * 2000)}"
)
_COMMITS: dict[bool | None, str] = {
    None: "",
    False: "SET LOCAL synchronous_commit = off; ",
    # Turned on only if it is off. A stricter setting than ``on`` stays.
    True: "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; ",
}


@cache
def _for_sqlite(statement: str) -> str:
    """Translate a statement to SQLite's dialect. Its CAST to an unknown type would convert a text to a number."""
    statement = re.sub(r"CAST\((:\w+) AS json\)", r"\1", statement)
    return statement.replace("IS NOT DISTINCT FROM", "IS").replace(statements.SKIP_LOCKED, "")


@cache
def _for_psycopg(statement: str) -> str:
    return re.sub(r"(?<!:):(\w+)", r"%(\1)s", statement)


def _to_row(found: tuple[Any, ...]) -> Row:
    values = dict(zip(statements.COLUMNS, found, strict=True))
    for name in statements.JSON & values.keys():
        if isinstance(values[name], str):
            values[name] = json.loads(values[name])
    for name in statements.BOOLEANS:
        values[name] = bool(values[name])
    return Row(**values)
