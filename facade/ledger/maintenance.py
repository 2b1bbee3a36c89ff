"""Maintain the ledger as a whole: purge rows, move rows to other keys, list the processes that use it."""

import json
import os
import socket
import uuid
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Float, Table, and_, delete, func, literal_column, select, tuple_, update

from facade.errors import Unavailable
from facade.ledger.store import JournalEntry, Key, Ledger
from facade.ledger.tables import ROW_FORMAT, Row, audit, cancellations, journal, processes, sources

_BATCH = 500  # rows in one purge transaction
ANNOUNCED_EVERY = 15.0  # seconds
SILENT_AFTER = 4 * ANNOUNCED_EVERY  # seconds after which a process that has not announced itself counts as gone
_FORGOTTEN_AFTER = 86_400.0  # seconds after which the row of such a process is deleted


@dataclass(frozen=True)
class KnownSource:
    """What the ledger stores about a source: the version of its canonical ids, and its new name if it was renamed."""

    id_form: int
    readable: bool
    renamed_to: str | None


class Maintenance:
    """Work on many rows. Each method except ``purge`` is one transaction, and raises Unavailable like the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def purge(self, states: Sequence[str], *, before: float, source: str | None = None) -> int:
        """Delete rows in these states with their journal and audit; return the number of deleted rows.

        A row is deleted if it has not changed since ``before``, in seconds since 1970. ``source`` limits the purge to
        one source. The delete statement repeats the condition, so a row that is claimed meanwhile stays completely.
        """
        old = and_(
            cancellations.c.state.in_(states), cancellations.c.changed_at < before, cancellations.c.format <= ROW_FORMAT
        )
        if source is not None:
            old = and_(old, cancellations.c.source == source)
        key = (cancellations.c.source, cancellations.c.appointment_id)
        deleted = 0
        while True:
            with self._ledger.writing() as connection:
                candidates = connection.execute(select(*key).where(old).limit(_BATCH)).all()
                gone = connection.execute(
                    delete(cancellations).where(old, tuple_(*key).in_(candidates)).returning(*key)
                )
                keys = gone.all()
                for table in (journal, audit):
                    its_key = tuple_(table.c.source, table.c.appointment_id)
                    connection.execute(delete(table).where(its_key.in_(keys)))
            deleted += len(keys)
            if len(candidates) < _BATCH:
                return deleted

    def sources(self) -> dict[str, KnownSource]:
        """Return what is stored about each source, by name."""
        with self._ledger.reading() as connection:
            return {
                row.name: KnownSource(row.id_form, row.readable, row.renamed_to)
                for row in connection.execute(select(sources))
            }

    def remember(self, source: str, known: KnownSource) -> None:
        """Store what is known about one source."""
        values = {"id_form": known.id_form, "readable": known.readable, "renamed_to": known.renamed_to}
        statement = self._ledger.dialect.insert(sources).values(name=source, **values)
        with self._ledger.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))

    def count(self, states: Sequence[str]) -> dict[str, int]:
        """Return the number of rows in these states by source. A source without any is not included."""
        query = select(cancellations.c.source, func.count()).where(cancellations.c.state.in_(states))
        with self._ledger.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(cancellations.c.source))}

    def appointment_ids(self, source: str) -> list[str]:
        """Return the raw native ids of all rows of a source, sorted."""
        with self._ledger.reading() as connection:
            query = select(cancellations.c.appointment_id).where(cancellations.c.source == source)
            return list(connection.execute(query.order_by(cancellations.c.appointment_id)).scalars())

    def find_by_response_text(self, source: str, text: str) -> list[Row]:
        """Return the rows of a source whose recorded response contains ``text`` as a complete JSON string."""
        quoted = json.dumps(text, ensure_ascii=False)
        query = select(cancellations).where(
            cancellations.c.source == source,
            cancellations.c.format <= ROW_FORMAT,
            cancellations.c.response.contains(quoted, autoescape=True),
        )
        with self._ledger.reading() as connection:
            return [Row(**row) for row in connection.execute(query).mappings()]

    def move(self, old: Key, new: Key, entry: JournalEntry) -> bool:
        """Move a row, its journal and its audit to another key. Return False if a row already has that key."""
        with self._ledger.writing() as connection:
            taken = select(cancellations.c.source).where(_has_key(cancellations, new))
            if connection.execute(taken).first() is not None:
                return False
            for table in (cancellations, journal, audit):
                self._rename(connection, table, old, new)
            self._ledger.write_entry(connection, new, entry)
        return True

    def merge(self, kept: Key, lost: Key, new: Key, entry: JournalEntry) -> None:
        """Merge two rows: keep the row ``kept``, and the journal and audit of both, under the key ``new``.

        ``new`` is the key of one of the two rows.
        """
        with self._ledger.writing() as connection:
            connection.execute(delete(cancellations).where(_has_key(cancellations, lost)))
            for old in {kept, lost} - {new}:
                for table in (cancellations, journal, audit):
                    self._rename(connection, table, old, new)
            self._ledger.write_entry(connection, new, entry)

    def _rename(self, connection: Connection, table: Table, old: Key, new: Key) -> None:
        connection.execute(update(table).where(_has_key(table, old)).values(source=new[0], appointment_id=new[1]))


class Presence:
    """Announce that this process uses the ledger, and list the others. All times come from the store's clock."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._id = str(uuid.uuid4())

    def announce(self) -> None:
        """Record that this process uses the ledger now. Raises Unavailable."""
        now = _now(self._ledger)
        values = {"host": socket.gethostname()[:255], "pid": os.getpid(), "seen_at": now}
        statement = self._ledger.dialect.insert(processes).values(id=self._id, **values)
        with self._ledger.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now}))
        with suppress(Unavailable), self._ledger.writing() as connection:  # a locked row may stay
            connection.execute(delete(processes).where(processes.c.seen_at < now - _FORGOTTEN_AFTER))

    def leave(self) -> None:
        """Record that this process no longer uses the ledger. Raises Unavailable."""
        with self._ledger.writing() as connection:
            connection.execute(delete(processes).where(processes.c.id == self._id))

    def others(self) -> list[str]:
        """Return the other processes that announced themselves recently, as ``HOST, process PID``."""
        there = select(processes.c.host, processes.c.pid).where(
            processes.c.seen_at > _now(self._ledger) - SILENT_AFTER, processes.c.id != self._id
        )
        with self._ledger.reading() as connection:
            return [f"{row.host}, process {row.pid}" for row in connection.execute(there)]


def _now(ledger: Ledger) -> Any:
    """Return the SQL expression of the store's clock, in seconds since 1970."""
    if ledger.engine.dialect.name == "sqlite":
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
    return literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Float)


def _has_key(table: Table, key: Key) -> Any:
    return and_(table.c.source == key[0], table.c.appointment_id == key[1])
