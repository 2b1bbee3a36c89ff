"""Every statement the ledger makes: find, claim, compare-and-set, list. One transaction each."""

import json
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Connection, Engine, and_, delete, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from facade.clock import Clock
from facade.errors import Unavailable
from facade.ledger import engine as engines
from facade.ledger.tables import EMPTY, ROW_FORMAT, Row, audit, cancellations, journal

Key = tuple[str, str]
NOT_NOW = "The facade's ledger cannot be used now; nothing was sent. Try again."


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One line of the journal; ``detail`` never holds more of a patient than the wish does."""

    event: str
    state: str | None = None
    epoch: int | None = None
    request_id: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Audit:
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
    name between any two writes.
    """

    def __init__(
        self, engine: Engine, *, clock: Clock | None = None, crash_point: Callable[[str], None] = _nothing
    ) -> None:
        self.engine = engine
        self.clock = clock or Clock()
        self.crash_point = crash_point
        # SQLite lets one write at a time and wakes the waiting at random; in one process they can queue instead.
        self._turn = threading.Lock() if engine.dialect.name == "sqlite" else None

    def find(self, key: Key) -> Row | None:
        """The row of this key, or None. Raises Unavailable for a row of a newer format, too."""
        with self._reading() as connection:
            found = connection.execute(select(cancellations).where(_is(key))).mappings().one_or_none()
        if found is None:
            return None
        if found["format"] > ROW_FORMAT:
            raise Unavailable("This appointment's record was written by a newer version; upgrade this facade.")
        return Row(**found)

    def create(self, key: Key, values: Mapping[str, Any], entry: Entry) -> Row | None:
        """Insert the key's first row. None if there is one already."""
        row = {"source": key[0], "appointment_id": key[1], "format": ROW_FORMAT, "changed_at": self.clock.now()}
        dialect = sqlite if self.engine.dialect.name == "sqlite" else postgresql
        statement = dialect.insert(cancellations).values({**row, **values}).on_conflict_do_nothing()
        with self._writing() as connection:
            # Returned, not counted: drivers do not agree on the row count of an insert.
            if connection.execute(statement.returning(cancellations.c.epoch)).first() is None:
                return None
            self.crash_point("in-transaction")
            self._journal(connection, key, entry)
        return Row(**{**EMPTY, **row, **values})

    def change(
        self,
        key: Key,
        expected: Mapping[str, Any],
        values: Mapping[str, Any],
        entry: Entry,
        done: Audit | None = None,
        *,
        flushed: bool = True,
    ) -> bool:
        """Compare-and-set: change the row if it is still as ``expected``, and journal it. False if it is not."""
        conditions = [cancellations.c[name].is_not_distinct_from(value) for name, value in expected.items()]
        statement = (
            update(cancellations)
            .where(_is(key), cancellations.c.format <= ROW_FORMAT, *conditions)
            .values({**values, "changed_at": self.clock.now()})
        )
        with self._writing(flushed=flushed) as connection:
            if connection.execute(statement).rowcount != 1:
                return False
            self.crash_point("in-transaction")
            self._journal(connection, key, entry)
            if done is not None:
                self._audit(connection, key, done)
        return True

    def note(self, key: Key, entry: Entry | None = None, done: Audit | None = None) -> None:
        """Journal or audit something that changes no row."""
        with self._writing() as connection:
            if entry is not None:
                self._journal(connection, key, entry)
            if done is not None:
                self._audit(connection, key, done)

    def take_due(self, seen: Row, *, hold: float) -> Row | None:
        """Put the row's next read off by ``hold``, so that nobody else takes it; None if somebody has.

        A compare-and-set on the due time; where the store can, a row that another is taking is skipped.
        """
        now = self.clock.now()
        query = select(cancellations.c.source).where(_is(seen.key), cancellations.c.read_due == seen.read_due)
        with self._writing() as connection:
            if connection.execute(query.with_for_update(skip_locked=True)).one_or_none() is None:
                return None
            taken = replace(seen, read_due=now + hold)
            connection.execute(update(cancellations).where(_is(seen.key)).values(read_due=taken.read_due))
        return taken

    def unsettled(self, source: str, in_flight: Sequence[str], *, longest: float) -> tuple[list[Row], list[Row]]:
        """Of one source: the rows in these states, and the rows whose read is due, the longest due first.

        A due time more than ``longest`` ahead is a clock that went back, and due as well.
        """
        now = self.clock.now()
        due = or_(cancellations.c.read_due <= now, cancellations.c.read_due > now + longest)
        wanted = and_(
            cancellations.c.source == source,
            cancellations.c.format <= ROW_FORMAT,
            or_(cancellations.c.state.in_(in_flight), due),
        )
        with self._reading() as connection:
            query = select(cancellations).where(wanted).order_by(cancellations.c.read_due).limit(10_000)
            rows = [Row(**found) for found in connection.execute(query).mappings()]
        is_due = [row.read_due is not None and not now < row.read_due <= now + longest for row in rows]
        return rows, [row for row, is_due_now in zip(rows, is_due, strict=True) if is_due_now]

    def in_states(self, states: Sequence[str], *, source: str | None = None, limit: int = 10_000) -> list[Row]:
        """The rows in these states, longest unchanged first."""
        query = select(cancellations).where(cancellations.c.state.in_(states), cancellations.c.format <= ROW_FORMAT)
        if source is not None:
            query = query.where(cancellations.c.source == source)
        with self._reading() as connection:
            found = connection.execute(query.order_by(cancellations.c.changed_at).limit(limit)).mappings().all()
        return [Row(**row) for row in found]

    def timeline(self, key: Key) -> list[Mapping[str, Any]]:
        """The journal of one key, oldest first."""
        with self._reading() as connection:
            query = select(journal).where(journal.c.source == key[0], journal.c.appointment_id == key[1])
            return [dict(line) for line in connection.execute(query.order_by(journal.c.number)).mappings()]

    def audits(self, key: Key) -> list[Mapping[str, Any]]:
        """The audit record of one key, oldest first."""
        with self._reading() as connection:
            query = select(audit).where(audit.c.source == key[0], audit.c.appointment_id == key[1])
            return [dict(line) for line in connection.execute(query.order_by(audit.c.number)).mappings()]

    def purge(self, states: Sequence[str], *, before: float) -> int:
        """Delete settled rows unchanged since ``before``, with their journal and audit; how many there were."""
        old = and_(
            cancellations.c.state.in_(states), cancellations.c.changed_at < before, cancellations.c.format <= ROW_FORMAT
        )
        with self._writing(flushed=True) as connection:
            keys = connection.execute(select(cancellations.c.source, cancellations.c.appointment_id).where(old)).all()
            for source, appointment_id in keys:
                for table in (journal, audit, cancellations):
                    row = and_(table.c.source == source, table.c.appointment_id == appointment_id)
                    connection.execute(delete(table).where(row))
        return len(keys)

    def check(self) -> None:
        """Raises Unavailable unless the store can be written now."""
        with self._writing() as connection:
            # Touches no row, and needs what every write needs: the lock, the tables, a writable file.
            connection.execute(update(cancellations).where(cancellations.c.source == "").values(epoch=0))

    def _journal(self, connection: Connection, key: Key, entry: Entry) -> None:
        line = {"event": entry.event, "state": entry.state, "epoch": entry.epoch, "request_id": entry.request_id}
        where = {"at": self.clock.now(), "source": key[0], "appointment_id": key[1]}
        connection.execute(insert(journal).values(**where, **line, detail=dict(entry.detail)))

    def _audit(self, connection: Connection, key: Key, done: Audit) -> None:
        where = {"at": self.clock.now(), "source": key[0], "appointment_id": key[1]}
        line = {"who": done.who, "action": done.action, "outcome": done.outcome, "cause": done.cause}
        connection.execute(insert(audit).values(**where, **line, request_id=done.request_id))

    @contextmanager
    def _writing(self, *, flushed: bool = False) -> Iterator[Connection]:
        if self._turn is not None and not self._turn.acquire(timeout=engines.LOCK_WAIT):
            raise Unavailable(NOT_NOW)
        try:
            with (
                _translated(),
                self.engine.connect().execution_options(flushed=flushed) as connection,
                connection.begin(),
            ):
                yield connection
        finally:
            if self._turn is not None:
                self._turn.release()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with _translated(), self.engine.connect().execution_options(only_reads=True) as connection:
            yield connection


def _is(key: Key) -> Any:
    return and_(cancellations.c.source == key[0], cancellations.c.appointment_id == key[1])


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (SQLAlchemyError, OSError, json.JSONDecodeError) as error:
        # The store's message may name hosts and values; the cause is chained for whoever debugs.
        raise Unavailable(NOT_NOW) from error
