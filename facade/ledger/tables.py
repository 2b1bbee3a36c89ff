"""The ledger's tables, and the row as the rest of the house sees it."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text
from sqlalchemy import text as sql

ROW_FORMAT = 1
"""The format of rows this version writes; a row of a newer one is left untouched."""

metadata = MetaData()
_SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself for INTEGER only

# Times are seconds since 1970. What each column is for stands in docs/ledger.md.
cancellations = Table(
    "cancellations",
    metadata,
    Column("source", String(64), primary_key=True),
    Column("appointment_id", String(255), primary_key=True),
    Column("format", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("epoch", Integer, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("sending_at", Float),
    Column("doubt_since", Float),
    Column("negative_reads", Integer, nullable=False, server_default=sql("0")),
    Column("read_due", Float),
    Column("read_step", Integer, nullable=False, server_default=sql("0")),
    Column("read_before", Boolean, nullable=False),
    Column("charge_limit", Float),
    Column("starts_at", Float),
    Column("wish", JSON, nullable=False),
    Column("version", Integer, nullable=False, server_default=sql("0")),
    Column("outcome", String(16)),
    Column("cause", String(32)),
    Column("answer", Text),
    Column("told", JSON),
    Column("changed_at", Float, nullable=False),
    Index("ix_cancellations_read_due", "read_due"),
    Index("ix_cancellations_state", "state"),
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
    Column("epoch", Integer),
    Column("request_id", String(128)),
    Column("detail", JSON, nullable=False),
    Index("ix_journal_key", "source", "appointment_id", "number"),
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

    ``epoch`` counts the claims: what an owner writes is fenced by it. ``lease_until`` ends a claim whose
    owner is gone. ``sending_at`` is when the write was recorded that it may leave. ``read_due`` is when
    doubt is looked into next, at ``read_step`` of the schedule. ``read_before`` says that the source was
    once seen to know the appointment. ``charge_limit`` and ``starts_at`` are the ETA and the start that the
    source told. ``wish`` is the request that was claimed for. ``version`` counts the recorded answers.
    ``answer`` is the body last given by the owner, ``told`` what the source said of the cancellation in it.
    """

    source: str
    appointment_id: str
    format: int
    state: str
    epoch: int
    lease_until: float
    sending_at: float | None
    doubt_since: float | None
    negative_reads: int
    read_due: float | None
    read_step: int
    read_before: bool
    charge_limit: float | None
    starts_at: float | None
    wish: dict[str, Any]
    version: int
    outcome: str | None
    cause: str | None
    answer: str | None
    told: dict[str, Any] | None
    changed_at: float

    @property
    def key(self) -> tuple[str, str]:
        """Source and raw native appointment id."""
        return self.source, self.appointment_id


EMPTY: dict[str, Any] = {column.name: 0 if column.server_default is not None else None for column in cancellations.c}
"""What a new row holds where nothing is said."""
