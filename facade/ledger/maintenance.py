"""What is done to the ledger as a whole, by people: purge it, give its rows other keys, see who works on it."""

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

_BATCH = 500  # rows that one transaction purges
ANNOUNCED_EVERY = 15.0  # seconds
SILENT = 4 * ANNOUNCED_EVERY  # seconds after which a process that says nothing is taken for gone
_FORGET = 86_400.0


@dataclass(frozen=True)
class KnownSource:
    """What the ledger remembers of a source."""

    id_form: int
    readable: bool
    renamed_to: str | None


class Maintenance:
    """Works on many rows; each method but ``purge`` is one transaction. Raises Unavailable like the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    def purge(self, states: Sequence[str], *, before: float, source: str | None = None) -> int:
        """Delete settled rows unchanged since ``before``, with their journal and audit; how many there were.

        Of all sources, or of one.

        The condition is part of the deletion itself: a row that is claimed meanwhile stays, with all that is its own.
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
        """What is remembered, by name."""
        with self._ledger.reading() as connection:
            return {
                row.name: KnownSource(row.id_form, row.readable, row.renamed_to)
                for row in connection.execute(select(sources))
            }

    def remember(self, source: str, known: KnownSource) -> None:
        """Set what is remembered of one source."""
        values = {"id_form": known.id_form, "readable": known.readable, "renamed_to": known.renamed_to}
        statement = self._ledger.dialect.insert(sources).values(name=source, **values)
        with self._ledger.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["name"], set_=values))

    def count(self, states: Sequence[str]) -> dict[str, int]:
        """How many rows in these states each source has, by name; a source without any is left out."""
        query = select(cancellations.c.source, func.count()).where(cancellations.c.state.in_(states))
        with self._ledger.reading() as connection:
            return {row[0]: row[1] for row in connection.execute(query.group_by(cancellations.c.source))}

    def appointment_ids(self, source: str) -> list[str]:
        """The ids in the keys of all rows of a source."""
        with self._ledger.reading() as connection:
            query = select(cancellations.c.appointment_id).where(cancellations.c.source == source)
            return list(connection.execute(query.order_by(cancellations.c.appointment_id)).scalars())

    def answered(self, source: str, text: str) -> list[Row]:
        """The rows of a source whose recorded answer holds this text as a whole JSON string, anywhere."""
        quoted = json.dumps(text, ensure_ascii=False)
        query = select(cancellations).where(
            cancellations.c.source == source,
            cancellations.c.format <= ROW_FORMAT,
            cancellations.c.response.contains(quoted, autoescape=True),
        )
        with self._ledger.reading() as connection:
            return [Row(**row) for row in connection.execute(query).mappings()]

    def move(self, old: Key, new: Key, entry: JournalEntry) -> bool:
        """Give a row another key, with its journal and audit; False where a row has the new key."""
        with self._ledger.writing() as connection:
            taken = select(cancellations.c.source).where(_is(cancellations, new))
            if connection.execute(taken).first() is not None:
                return False
            for table in (cancellations, journal, audit):
                self._rename(connection, table, old, new)
            self._ledger.write_entry(connection, new, entry)
        return True

    def merge(self, kept: Key, lost: Key, new: Key, entry: JournalEntry) -> None:
        """Make one row of two, ``new`` being the key of one of them: one is kept, of the other journal and audit."""
        with self._ledger.writing() as connection:
            connection.execute(delete(cancellations).where(_is(cancellations, lost)))
            for old in {kept, lost} - {new}:
                for table in (cancellations, journal, audit):
                    self._rename(connection, table, old, new)
            self._ledger.write_entry(connection, new, entry)

    def _rename(self, connection: Connection, table: Table, old: Key, new: Key) -> None:
        connection.execute(update(table).where(_is(table, old)).values(source=new[0], appointment_id=new[1]))


class Presence:
    """That this process works on the ledger: others see it, by the store's clock alone."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._id = str(uuid.uuid4())

    def announce(self) -> None:
        """Say that this process is there. Raises Unavailable."""
        now = _now(self._ledger)
        values = {"host": socket.gethostname()[:255], "pid": os.getpid(), "seen_at": now}
        statement = self._ledger.dialect.insert(processes).values(id=self._id, **values)
        with self._ledger.writing() as connection:
            connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"seen_at": now}))
        with suppress(Unavailable), self._ledger.writing() as connection:  # a row that somebody holds may stay
            connection.execute(delete(processes).where(processes.c.seen_at < now - _FORGET))

    def leave(self) -> None:
        """Say that it is not any more. Raises Unavailable."""
        with self._ledger.writing() as connection:
            connection.execute(delete(processes).where(processes.c.id == self._id))

    def others(self) -> list[str]:
        """The processes that have been there lately, as ``HOST, process PID``."""
        there = select(processes.c.host, processes.c.pid).where(
            processes.c.seen_at > _now(self._ledger) - SILENT, processes.c.id != self._id
        )
        with self._ledger.reading() as connection:
            return [f"{row.host}, process {row.pid}" for row in connection.execute(there)]


def _now(ledger: Ledger) -> Any:
    """The store's clock, in seconds since 1970, as SQL."""
    if ledger.engine.dialect.name == "sqlite":
        return literal_column("((julianday('now') - 2440587.5) * 86400.0)", Float)
    return literal_column("CAST(extract(epoch FROM clock_timestamp()) AS double precision)", Float)


def _is(table: Table, key: Key) -> Any:
    return and_(table.c.source == key[0], table.c.appointment_id == key[1])
