"""A ledger in memory that compares and sets like the real one, forgets what was not flushed, and fails on request."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, field, replace
from typing import Any

from facade.cancellation.states import Event
from facade.clock import Clock
from facade.errors import Unavailable
from facade.ledger.store import AuditRecord, JournalEntry, Key
from facade.ledger.tables import ROW_DEFAULTS, ROW_FORMAT, Row

# What a transaction may end in. One that is not acknowledged was made, and whoever made it does not know it.
READ = ("ok", "fails")
WRITE = ("ok", "fails", "unacknowledged")


@dataclass
class Store:
    """What is in the ledger, and what of it would survive a power cut.

    ``one_host``: a power cut ends every process too, as where the store is a file; a claim need not be flushed then.
    """

    one_host: bool = False
    rows: dict[Key, Row] = field(default_factory=dict)
    journal: list[tuple[Key, JournalEntry]] = field(default_factory=list)
    audits: list[tuple[Key, AuditRecord]] = field(default_factory=list)
    number: int = 0  # the last attempt's
    version: int = 0  # how many changes there were
    durable: tuple[dict[Key, Row], list[Any], list[Any], int] = field(default_factory=lambda: ({}, [], [], 0))

    def flush(self) -> None:
        """Everything that was committed so far survives from now on."""
        self.durable = (dict(self.rows), list(self.journal), list(self.audits), self.number)

    def cut_the_power(self) -> None:
        """Forget what was not flushed."""
        rows, journal, audits, self.number = self.durable
        self.rows, self.journal, self.audits = dict(rows), list(journal), list(audits)
        self.version += 1

    def next_number(self) -> int:
        """An attempt's number, that no other attempt has had."""
        self.number += 1
        return self.number


class MemoryLedger:
    """What the cancellations use of ``facade.ledger.store.Ledger``, over a ``Store``.

    ``step`` is called with a name and what may happen, before each transaction; it says what does. ``saw`` gets
    what came back.
    """

    crash_point = staticmethod(lambda _: None)

    def __init__(
        self,
        store: Store,
        clock: Clock,
        step: Callable[[str, tuple[str, ...]], str] = lambda _, __: "ok",
        saw: Callable[[Any], None] = lambda _: None,
    ) -> None:
        self.store = store
        self.clock = clock
        self._step = step
        self._saw = saw

    def find(self, key: Key) -> Row | None:
        return self._read("find", lambda: self.store.rows.get(key))

    def claim(self, key: Key, seen: Row | None, values: Mapping[str, Any], entry: JournalEntry) -> Row | None:
        store = self.store
        now = self.clock.now()

        def apply() -> Row | None:
            there = store.rows.get(key)
            first = {"source": key[0], "appointment_id": key[1], "format": ROW_FORMAT}
            if seen is None:
                if there is not None:
                    return None
                before = Row(**{**ROW_DEFAULTS, **first})
            else:
                if there is None or (there.state, there.attempt_number) != (seen.state, seen.attempt_number):
                    return None
                before = seen
            changes = {**_plain(values), "changed_at": now, "attempt_number": store.next_number()}
            store.rows[key] = replace(there or before, **changes)
            store.journal.append((key, replace(entry, attempt_number=store.number)))
            return replace(before, **changes)

        return self._write("claim", apply, flushed=not store.one_host)

    def change(
        self,
        key: Key,
        expected: Mapping[str, Any],
        values: Mapping[str, Any],
        entry: JournalEntry,
        done: AuditRecord | None = None,
        *,
        flushed: bool = True,
    ) -> bool:
        store = self.store
        now = self.clock.now()

        def apply() -> bool:
            row = store.rows.get(key)
            if row is None or any(getattr(row, name) != value for name, value in expected.items()):
                return False
            store.rows[key] = replace(row, **_plain(values), changed_at=now)
            store.journal.append((key, entry))
            if done is not None:
                store.audits.append((key, done))
            return True

        changed = self._write(str(entry.event), apply, flushed=flushed)
        if entry.event == Event.SEND:
            self._step("sent", ("ok",))  # whoever is about to write may be frozen now
        return bool(changed)

    def take_due(self, seen: Row, values: Mapping[str, Any]) -> Row | None:
        store = self.store

        def apply() -> Row | None:
            row = store.rows.get(seen.key)
            if row is None or row.read_due != seen.read_due:
                return None
            store.rows[seen.key] = replace(row, **values)
            return replace(seen, **values)

        return self._write("take", apply, flushed=False)

    def append(self, key: Key, entry: JournalEntry | None = None, done: AuditRecord | None = None) -> None:
        def apply() -> None:
            if entry is not None:
                self.store.journal.append((key, entry))
            if done is not None:
                self.store.audits.append((key, done))

        self._write("append", apply, flushed=True)

    def in_flight(self, states: tuple[str, ...], limit: int = 10_000) -> list[Row]:
        return self._read("in flight", lambda: [row for row in self._rows() if row.state in states])

    def due(self) -> list[Row]:
        now = self.clock.now()
        return self._read(
            "due", lambda: [row for row in self._rows() if row.read_due is not None and row.read_due <= now]
        )

    def scheduled(self, after: Key, limit: int = 500) -> list[Row]:
        def found() -> list[Row]:
            return [replace(row, response=None) for row in self._rows() if row.read_due is not None and row.key > after]

        return self._read("scheduled", found)

    def _rows(self) -> list[Row]:
        return [self.store.rows[key] for key in sorted(self.store.rows)]

    def purge(self, states: tuple[str, ...], *, before: float) -> int:
        """As ``facade.ledger.maintenance.Maintenance`` does it."""

        def old(row: Row | None) -> bool:
            return row is not None and row.state in states and row.changed_at < before

        keys = self._read("old rows", lambda: [row.key for row in self._rows() if old(row)])

        def apply() -> int:
            gone = [key for key in keys if self.still(old, key)]
            for key in gone:
                self.store.rows.pop(key, None)
                self.store.journal = [line for line in self.store.journal if line[0] != key]
                self.store.audits = [line for line in self.store.audits if line[0] != key]
            return len(gone)

        return int(self._write("purge", apply, flushed=True))

    def still(self, old: Callable[[Row | None], bool], key: Key) -> bool:
        """Whether the row that was found old is so when it is deleted."""
        return old(self.store.rows.get(key))

    def _read(self, name: str, find: Callable[[], Any]) -> Any:
        if self._step(name, READ) != "ok":
            raise Unavailable("failed on request")
        found = find()
        self._saw(found)
        return found

    def _write(self, name: str, apply: Callable[[], Any], *, flushed: bool) -> Any:
        happens = self._step(name, WRITE)
        if happens == "fails":
            raise Unavailable("failed on request")
        changed = apply()
        if changed:
            self.store.version += 1
        if flushed:
            self.store.flush()
        if happens == "unacknowledged":
            raise Unavailable("not acknowledged on request")
        self._saw(changed)
        return changed


def _plain(values: Mapping[str, Any]) -> dict[str, Any]:
    """Words of an enumeration as words, and nothing shared with whoever gave it."""
    return {name: str(value) if isinstance(value, str) else deepcopy(value) for name, value in values.items()}
