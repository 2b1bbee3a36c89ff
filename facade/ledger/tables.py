"""The ledger's tables, and the row as the rest of the house sees it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, false
from sqlalchemy import text as sql

ROW_FORMAT = 1
"""The format of rows this version writes; a row of a newer one is left untouched."""

metadata = MetaData()


def _only(where: str) -> dict[str, Any]:
    """The options of an index over some of the rows."""
    return {"sqlite_where": sql(where), "postgresql_where": sql(where)}


_SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself for INTEGER only

# Times are seconds since 1970. What each column is for stands in docs/reference/ledger.md.
cancellations = Table(
    "cancellations",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("appointment_id", String(255), primary_key=True),
    Column("format", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempt_number", BigInteger, nullable=False),
    Column("sending_at", Float),
    Column("doubt_since", Float),
    Column("negative_reads", Integer, nullable=False, server_default=sql("0")),
    Column("read_due", Float),
    Column("read_in", Float),
    Column("by_operator", Boolean, nullable=False, server_default=false()),
    Column("read_step", Integer, nullable=False, server_default=sql("0")),
    Column("read_before", Boolean, nullable=False),
    Column("charge_limit", Float),
    Column("starts_at", Float),
    Column("cancel_request", JSON, nullable=False),
    Column("version", Integer, nullable=False, server_default=sql("0")),
    Column("outcome", String(16)),
    Column("cause", String(32)),
    Column("response", Text),
    Column("reported", JSON),
    Column("changed_at", Float, nullable=False),
    # Of the rows that something is to be done about, and of no others: what they cost does not grow with the rest.
    Index("ix_cancellations_in_flight", "state", **_only("state IN ('claimed', 'sending')")),
    Index("ix_cancellations_due", "source", "read_due", **_only("read_due IS NOT NULL")),
    Index("ix_cancellations_scheduled", "source", "appointment_id", **_only("read_due IS NOT NULL")),
)

# What the ledger remembers of each source: the version of the canonical form of the ids in its rows' keys, whether it
# can be read, and the name that it has now, if it was renamed.
sources = Table(
    "sources",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("id_form", Integer, nullable=False),
    Column("readable", Boolean, nullable=False),
    Column("renamed_to", String(64)),
)

# The processes that work on this ledger; each says from time to time that it does, by the store's own clock.
processes = Table(
    "processes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("seen_at", Float, nullable=False),
)

journal = Table(
    "journal",
    metadata,
    Column("number", _SERIAL, primary_key=True),
    Column("at", Float, nullable=False),
    Column("source", String(64), nullable=False),
    Column("appointment_id", String(255), nullable=False),
    Column("event", String(32), nullable=False),
    Column("state", String(16)),
    Column("attempt_number", BigInteger),
    Column("request_id", String(128)),
    Column("detail", JSON, nullable=False),
    Index("ix_journal_key", "source", "appointment_id", "number"),
    sqlite_autoincrement=True,  # attempt numbers are made of its numbers, and are never given twice, not after a purge
)

audit = Table(
    "audit",
    metadata,
    Column("number", _SERIAL, primary_key=True),
    Column("at", Float, nullable=False),
    Column("source", String(64), nullable=False),
    Column("appointment_id", String(255), nullable=False),
    Column("who", String(255), nullable=False),
    Column("action", String(16), nullable=False),
    Column("request_id", String(128)),
    Column("outcome", String(16), nullable=False),
    Column("cause", String(32), nullable=False),
    Index("ix_audit_key", "source", "appointment_id", "number"),
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One cancellation as the ledger has it; the columns of ``cancellations``, with their meaning.

    ``attempt_number`` is the number of the attempt, that of its claim in the journal: what an owner writes is fenced by
    it, and no number is given twice. ``sending_at`` is when the write was recorded that it may leave. ``read_due`` is
    when the doubt is read next, at ``read_step`` of the schedule, and ``read_in`` how many seconds ahead that was.
    ``by_operator`` says that the state is a person's word, which had no consequences so far, so that it can be undone.
    ``read_before`` says that the source was once seen to know the appointment. ``charge_limit`` and ``starts_at`` are
    the ETA and the start that the source stated. ``cancel_request`` is the request that was claimed for. ``version``
    counts the recorded answers. ``response`` is the body last given by the owner, ``reported`` what the source said of
    the cancellation in it.
    """

    source: str
    appointment_id: str
    format: int
    state: str
    attempt_number: int
    sending_at: float | None
    doubt_since: float | None
    negative_reads: int
    read_due: float | None
    read_in: float | None
    by_operator: bool
    read_step: int
    read_before: bool
    charge_limit: float | None
    starts_at: float | None
    cancel_request: dict[str, Any]
    version: int
    outcome: str | None
    cause: str | None
    response: str | None
    reported: dict[str, Any] | None
    changed_at: float

    @property
    def key(self) -> tuple[str, str]:
        """Source and raw native appointment id."""
        return self.source, self.appointment_id


EMPTY: dict[str, Any] = {
    column.name: None if column.server_default is None else False if isinstance(column.type, Boolean) else 0
    for column in cancellations.c
}
"""What a new row holds where nothing is said."""
