"""Every statement the ledger makes: find, claim, compare-and-set, list. One transaction each."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection, Engine, insert, select
from sqlalchemy.dialects import postgresql, sqlite

from facade.clock import Clock
from facade.errors import Unavailable
from facade.ledger import engine as engines
from facade.ledger import statements
from facade.ledger.backend import Backend, PostgresqlBackend, SqliteBackend, Values
from facade.ledger.tables import EMPTY, ROW_FORMAT, Row, audit, cancellations, journal

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """One line of the journal; ``detail`` never holds more of a patient than the cancel_request does."""

    event: str
    state: str | None = None
    attempt_number: int | None = None
    request_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """Who had what done, and what became of it."""

    who: str
    action: str
    outcome: str
    cause: str = ""
    request_id: str | None = None


def _nothing(_: str) -> None:
    """Where a test may end the process."""


class Ledger:
    """The store. Every method is one transaction, and raises Unavailable when it cannot be made: the store is
    gone, read-only, full, or locked too long.

    ``flushed`` commits reach the disk, the others survive the process only. ``crash_point`` is called with a
    name between any two writes. ``option`` is the command-line option by which a person names this ledger.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock | None = None,
        crash_point: Callable[[str], None] = _nothing,
        option: str = "",
    ) -> None:
        self.engine = engine
        self.option = option or engines.option(engine)
        self.clock = clock or Clock()
        self.crash_point = crash_point
        self.dialect: Any = sqlite if engine.dialect.name == "sqlite" else postgresql
        kind = SqliteBackend if engine.dialect.name == "sqlite" else PostgresqlBackend
        self._backend: Backend = kind(engine, lambda: self.crash_point("in-transaction"))

    def find(self, key: Key) -> Row | None:
        """The row of this key, or None. Raises Unavailable for a row of a newer format, too."""
        found = self._backend.read(statements.FIND, _of(key))
        if found and found[0].format > ROW_FORMAT:
            raise Unavailable("This appointment's record was written by a newer version; upgrade this facade.")
        return found[0] if found else None

    def claim(self, key: Key, seen: Row | None, values: Values, entry: JournalEntry) -> Row | None:
        """Insert the key's first row, or change the row that was seen, under a new attempt number.

        None if the row is not as it was seen: another was first. Neither is done for a source that was renamed.
        """
        now = self.clock.now()
        values = {**values, "changed_at": now}
        if seen is None:
            values = {**values, "source": key[0], "appointment_id": key[1], "format": ROW_FORMAT}
            statement, before = statements.insert_row((*values, "attempt_number")), Row(**{**EMPTY, **_of(key)})
        else:
            statement, before = statements.update_row((*values, "attempt_number"), ("state", "attempt_number")), seen
        expected = (
            {"expected_state": seen.state, "expected_attempt_number": seen.attempt_number} if seen is not None else {}
        )
        parameters = _plain({**values, **_of(key), **expected, **self._entry(key, entry)})
        number = self._backend.claim(statement, parameters)
        return None if number is None else replace(before, **values, attempt_number=number)

    def change(
        self,
        key: Key,
        expected: Values,
        values: Values,
        entry: JournalEntry,
        done: AuditRecord | None = None,
        *,
        flushed: bool = True,
    ) -> bool:
        """Compare-and-set: change the row if it is still as ``expected``, and journal it. False if it is not."""
        values = {**values, "changed_at": self.clock.now()}
        statement = statements.update_row(tuple(values), tuple(expected))
        seen = {f"expected_{name}": value for name, value in expected.items()}
        parameters = _plain({**values, **_of(key), **seen, **self._entry(key, entry), **self._audit(key, done)})
        return self._backend.change(statement, parameters, audited=done is not None, flushed=flushed)

    def take_due(self, seen: Row, values: Values) -> Row | None:
        """Give the row these values, a later ``read_due`` among them; None if somebody else was first.

        A compare-and-set on the due time.
        """
        parameters = _plain({**values, **_of(seen.key), "expected_read_due": seen.read_due})
        done = self._backend.update(statements.update_row(tuple(values), ("read_due",)), parameters)
        return replace(seen, **values) if done else None

    def note(self, key: Key, entry: JournalEntry | None = None, done: AuditRecord | None = None) -> None:
        """Journal or audit something that changes no row."""
        parameters = _plain({**self._entry(key, entry), **self._audit(key, done)})
        self._backend.append(parameters, journalled=entry is not None, audited=done is not None)

    def in_flight(self, states: tuple[str, ...], limit: int = 10_000) -> list[Row]:
        """Return the rows in these states that no transaction holds, of all sources, longest unchanged first."""
        return self._backend.read(statements.in_flight(states), {"limit": limit})

    def due(self) -> list[Row]:
        """Of each source, the rows whose read has been due longest, by this process's clock; some at a time."""
        return self._backend.read(self._backend.due, {"now": self.clock.now()})

    def scheduled(self, after: Key, limit: int = 500) -> list[Row]:
        """Rows whose read is scheduled, due or not: those after a key, in the keys' order, without their answers."""
        return self._backend.read(statements.SCHEDULED, {**_of(after), "limit": limit})

    def in_states(self, states: Sequence[str], *, source: str | None = None, limit: int = 10_000) -> list[Row]:
        """The rows in these states, longest unchanged first."""
        query = select(cancellations).where(cancellations.c.state.in_(states), cancellations.c.format <= ROW_FORMAT)
        if source is not None:
            query = query.where(cancellations.c.source == source)
        with self.reading() as connection:
            found = connection.execute(query.order_by(cancellations.c.changed_at).limit(limit)).mappings().all()
        return [Row(**row) for row in found]

    def timeline(self, key: Key) -> list[Mapping[str, Any]]:
        """The journal of one key, oldest first."""
        with self.reading() as connection:
            query = select(journal).where(journal.c.source == key[0], journal.c.appointment_id == key[1])
            return [dict(line) for line in connection.execute(query.order_by(journal.c.number)).mappings()]

    def audits(self, key: Key) -> list[Mapping[str, Any]]:
        """The audit record of one key, oldest first."""
        with self.reading() as connection:
            query = select(audit).where(audit.c.source == key[0], audit.c.appointment_id == key[1])
            return [dict(line) for line in connection.execute(query.order_by(audit.c.number)).mappings()]

    def check(self) -> None:
        """Raises Unavailable unless the store can be written now."""
        # Changes no row, and needs what every write needs: the lock, the tables, a writable file.
        nothing = _plain({"attempt_number": 0, **_of(("", "")), **self._entry(("", ""), JournalEntry(event=""))})
        self._backend.change(statements.update_row(("attempt_number",), ()), nothing, audited=False, flushed=False)

    def write_entry(self, connection: Connection, key: Key, entry: JournalEntry) -> None:
        """Append to the journal, in this transaction of SQLAlchemy's."""
        values = {name.removeprefix("entry_"): value for name, value in self._entry(key, entry).items()}
        connection.execute(insert(journal).values(values))

    def _entry(self, key: Key, entry: JournalEntry | None) -> dict[str, Any]:
        if entry is None:
            return {}
        line: dict[str, Any] = {
            "event": entry.event,
            "state": entry.state,
            "attempt_number": entry.attempt_number,
            "request_id": entry.request_id,
        }
        line |= {"at": self.clock.now(), **_of(key), "detail": dict(entry.detail)}
        return {f"entry_{name}": value for name, value in line.items()}

    def _audit(self, key: Key, done: AuditRecord | None) -> dict[str, Any]:
        if done is None:
            return {}
        line: dict[str, Any] = {"who": done.who, "action": done.action, "outcome": done.outcome, "cause": done.cause}
        line |= {"at": self.clock.now(), **_of(key), "request_id": done.request_id}
        return {f"audit_{name}": value for name, value in line.items()}

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction of SQLAlchemy's that writes, flushed. Raises Unavailable."""
        with self._backend.queued(), self._backend.translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One transaction of SQLAlchemy's that only reads. Raises Unavailable."""
        with self._backend.translated(), self.engine.connect().execution_options(only_reads=True) as connection:
            yield connection


def _of(key: Key) -> dict[str, str]:
    return {"source": key[0], "appointment_id": key[1]}


def _plain(values: Values) -> dict[str, Any]:
    """The values as every driver takes them: JSON as text, words of an enumeration as words."""

    def plain(value: Any) -> Any:
        if isinstance(value, (dict, list)):
            return json.dumps(value)
        return str(value) if isinstance(value, StrEnum) else value

    return {name: plain(value) for name, value in values.items()}
