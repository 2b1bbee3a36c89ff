"""Define the ledger's tables, and the row that other modules work with."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, MetaData, String, Table, Text, false
from sqlalchemy import text as sql

ROW_FORMAT = 1
"""The format of the rows that this version writes. Rows of a newer format are not changed."""

metadata = MetaData()


def _partial(where: str) -> dict[str, Any]:
    """Return the options of a partial index."""
    return {"sqlite_where": sql(where), "postgresql_where": sql(where)}


_SERIAL = BigInteger().with_variant(Integer, "sqlite")  # SQLite generates numbers for INTEGER only

# Times are seconds since 1970. docs/reference/ledger.md describes each column.
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
    # Partial indexes over the rows that need work, so that the cost of a scan does not grow with the settled rows.
    Index("ix_cancellations_in_flight", "state", **_partial("state IN ('claimed', 'sending')")),
    Index("ix_cancellations_due", "source", "read_due", **_partial("read_due IS NOT NULL")),
    Index("ix_cancellations_scheduled", "source", "appointment_id", **_partial("read_due IS NOT NULL")),
)

# For each source: the version of the canonical form of its ids, whether it can be read, and its new name if it was
# renamed.
sources = Table(
    "sources",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("id_form", Integer, nullable=False),
    Column("readable", Boolean, nullable=False),
    Column("renamed_to", String(64)),
)

# The processes that use this ledger. Each announces itself regularly, with the time of the store's clock.
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
    sqlite_autoincrement=True,  # its numbers are the attempt numbers, which are never reused, even after a purge
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
    """One cancellation as stored in ``cancellations``. Times are seconds since 1970.

    - ``attempt_number``: the fencing token of the attempt: the number of its claim in the journal, never reused.
    - ``sending_at``: when it was recorded that the native write may leave.
    - ``doubt_since``, ``negative_reads``: when the doubt was recorded, and how many negative probes there were since.
    - ``read_due``, ``read_step``, ``read_in``: when the next probe is due, its step in the schedule, and the delay in
      seconds with which it was scheduled.
    - ``by_operator``: an operator resolved the doubt, and the resolution can still be undone.
    - ``read_before``: the source has known the appointment before.
    - ``charge_limit``, ``starts_at``: the ETA and the start, as the source reported them.
    - ``cancel_request``: the stored form of the request (``facade.cancellation.stored_request``).
    - ``version``: the number of recorded versions of a cancelled response.
    - ``response``: the last recorded response body, JSON text.
    - ``reported``: what the source reported about the cancellation in that response.
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
        """The source's name and the raw native appointment id."""
        return self.source, self.appointment_id


ROW_DEFAULTS: dict[str, Any] = {
    column.name: None if column.server_default is None else False if isinstance(column.type, Boolean) else 0
    for column in cancellations.c
}
"""The values of a new row, by column."""
