"""Find, claim, change and list the ledger's rows, and append to its journal and audit. One transaction each."""

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
from facade.ledger.tables import ROW_DEFAULTS, ROW_FORMAT, Row, audit, cancellations, journal

Key = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class JournalEntry:
    """One entry of the journal. ``detail`` is JSON, and holds no more patient data than ``cancel_request``."""

    event: str
    state: str | None = None
    attempt_number: int | None = None
    request_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """Who requested which action, and its outcome."""

    who: str
    action: str
    outcome: str
    cause: str = ""
    request_id: str | None = None


def _no_crash(_: str) -> None:
    """Do nothing. A test passes a function that may end the process."""


class Ledger:
    """Access to the store. Every method is one transaction.

    A method raises Unavailable if the transaction fails because the store is missing, read-only, full or locked for too
    long. A ``flushed`` commit survives a power cut. Any other commit survives the end of the process only.
    ``crash_point`` is called with a name between two writes. ``option`` is the command-line option that names this
    ledger.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        clock: Clock | None = None,
        crash_point: Callable[[str], None] = _no_crash,
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
        """Return the row of this key, or None. Also raises Unavailable if a newer version wrote the row."""
        found = self._backend.read(statements.FIND, _key_columns(key))
        if found and found[0].format > ROW_FORMAT:
            raise Unavailable("This appointment's record was written by a newer version; upgrade this facade.")
        return found[0] if found else None

    def claim(self, key: Key, seen: Row | None, values: Values, entry: JournalEntry) -> Row | None:
        """Insert the key's first row, or change the row that was seen, under a new attempt number; return the new row.

        ``seen`` is None if the key has no row. Return None if the row has changed since it was seen, or if a first row
        is for a source that was renamed or whose rows are being moved.
        """
        now = self.clock.now()
        values = {**values, "changed_at": now}
        if seen is None:
            values = {**values, "source": key[0], "appointment_id": key[1], "format": ROW_FORMAT}
            statement, before = (
                statements.insert_row((*values, "attempt_number")),
                Row(**{**ROW_DEFAULTS, **_key_columns(key)}),
            )
        else:
            statement, before = statements.update_row((*values, "attempt_number"), ("state", "attempt_number")), seen
        expected = (
            {"expected_state": seen.state, "expected_attempt_number": seen.attempt_number} if seen is not None else {}
        )
        parameters = _to_driver_values({**values, **_key_columns(key), **expected, **self._entry(key, entry)})
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
        """Change the row and append to the journal, if the row has the values ``expected`` (compare-and-set).

        Return False, without any change, if it does not. ``done`` is the audit record to append, if any.
        """
        values = {**values, "changed_at": self.clock.now()}
        statement = statements.update_row(tuple(values), tuple(expected))
        seen = {f"expected_{name}": value for name, value in expected.items()}
        parameters = _to_driver_values(
            {**values, **_key_columns(key), **seen, **self._entry(key, entry), **self._audit(key, done)}
        )
        return self._backend.change(statement, parameters, audited=done is not None, flushed=flushed)

    def take_due(self, seen: Row, values: Values) -> Row | None:
        """Set these values, which include a later ``read_due``, if ``read_due`` is still as seen (compare-and-set).

        Return the changed row, None if another process was first.
        """
        parameters = _to_driver_values({**values, **_key_columns(seen.key), "expected_read_due": seen.read_due})
        done = self._backend.update(statements.update_row(tuple(values), ("read_due",)), parameters)
        return replace(seen, **values) if done else None

    def append(self, key: Key, entry: JournalEntry | None = None, done: AuditRecord | None = None) -> None:
        """Append to the journal, to the audit or to both, without changing a row."""
        parameters = _to_driver_values({**self._entry(key, entry), **self._audit(key, done)})
        self._backend.append(parameters, journalled=entry is not None, audited=done is not None)

    def in_flight(self, states: tuple[str, ...], limit: int = 10_000) -> list[Row]:
        """Return the rows in these states that no transaction holds, of all sources, longest unchanged first."""
        return self._backend.read(statements.in_flight(states), {"limit": limit})

    def due(self) -> list[Row]:
        """Return up to DUE_AT_ONCE rows of each source whose probe is due by this process's clock."""
        return self._backend.read(self._backend.due, {"now": self.clock.now()})

    def scheduled(self, after: Key, limit: int = 500) -> list[Row]:
        """Return rows with a scheduled probe, due or not: those after a key, ordered by key, without responses."""
        return self._backend.read(statements.SCHEDULED, {**_key_columns(after), "limit": limit})

    def in_states(self, states: Sequence[str], *, source: str | None = None, limit: int = 10_000) -> list[Row]:
        """Return the rows in these states, the longest unchanged first."""
        query = select(cancellations).where(cancellations.c.state.in_(states), cancellations.c.format <= ROW_FORMAT)
        if source is not None:
            query = query.where(cancellations.c.source == source)
        with self.reading() as connection:
            found = connection.execute(query.order_by(cancellations.c.changed_at).limit(limit)).mappings().all()
        return [Row(**row) for row in found]

    def timeline(self, key: Key) -> list[Mapping[str, Any]]:
        """Return the journal entries of one key, oldest first, as column values by name."""
        with self.reading() as connection:
            query = select(journal).where(journal.c.source == key[0], journal.c.appointment_id == key[1])
            return [dict(line) for line in connection.execute(query.order_by(journal.c.number)).mappings()]

    def audit_records(self, key: Key) -> list[Mapping[str, Any]]:
        """Return the audit records of one key, oldest first, as column values by name."""
        with self.reading() as connection:
            query = select(audit).where(audit.c.source == key[0], audit.c.appointment_id == key[1])
            return [dict(line) for line in connection.execute(query.order_by(audit.c.number)).mappings()]

    def check_writable(self) -> None:
        """Raise Unavailable unless the store can be written now."""
        # This update changes no row, but it needs what every write needs: the lock, the tables, a writable file.
        nothing = _to_driver_values(
            {"attempt_number": 0, **_key_columns(("", "")), **self._entry(("", ""), JournalEntry(event=""))}
        )
        self._backend.change(statements.update_row(("attempt_number",), ()), nothing, audited=False, flushed=False)

    def write_entry(self, connection: Connection, key: Key, entry: JournalEntry) -> None:
        """Append to the journal in an open transaction of ``writing``."""
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
        line |= {"at": self.clock.now(), **_key_columns(key), "detail": dict(entry.detail)}
        return {f"entry_{name}": value for name, value in line.items()}

    def _audit(self, key: Key, done: AuditRecord | None) -> dict[str, Any]:
        if done is None:
            return {}
        line: dict[str, Any] = {"who": done.who, "action": done.action, "outcome": done.outcome, "cause": done.cause}
        line |= {"at": self.clock.now(), **_key_columns(key), "request_id": done.request_id}
        return {f"audit_{name}": value for name, value in line.items()}

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Open a SQLAlchemy transaction that writes and is flushed. Raises Unavailable."""
        with self._backend.write_turn(), self._backend.raising_unavailable(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a SQLAlchemy transaction that only reads. Raises Unavailable."""
        with (
            self._backend.raising_unavailable(),
            self.engine.connect().execution_options(only_reads=True) as connection,
        ):
            yield connection


def _key_columns(key: Key) -> dict[str, str]:
    return {"source": key[0], "appointment_id": key[1]}


def _to_driver_values(values: Values) -> dict[str, Any]:
    """Convert values to what every driver accepts: JSON and members of enumerations become text."""

    def plain(value: Any) -> Any:
        if isinstance(value, (dict, list)):
            return json.dumps(value)
        return str(value) if isinstance(value, StrEnum) else value

    return {name: plain(value) for name, value in values.items()}
