"""Add sources and processes, attempt numbers that are never reused, and partial indexes."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_OPEN = {
    "ix_cancellations_in_flight": (["state"], "state IN ('claimed', 'sending')"),
    "ix_cancellations_due": (["source", "read_due"], "read_due IS NOT NULL"),
    "ix_cancellations_scheduled": (["source", "appointment_id"], "read_due IS NOT NULL"),
}


def upgrade() -> None:
    """Add tables, columns and indexes. Existing rows have ids in form 0, and belong to sources that can be read."""
    op.create_table(
        "sources",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("id_form", sa.Integer, nullable=False),
        sa.Column("readable", sa.Boolean, nullable=False),
        sa.Column("renamed_to", sa.String(64)),
    )
    op.execute(
        "INSERT INTO sources (name, id_form, readable) SELECT DISTINCT source, 0, CAST(1 AS boolean) FROM cancellations"
    )
    op.create_table(
        "processes",
        sa.Column("id", sa.String(36), primary_key=True),
        sa.Column("host", sa.String(255), nullable=False),
        sa.Column("pid", sa.Integer, nullable=False),
        sa.Column("seen_at", sa.Float, nullable=False),
    )
    op.drop_index("ix_cancellations_read_due", "cancellations")
    op.drop_index("ix_cancellations_state", "cancellations")
    op.drop_column("cancellations", "lease_until")
    op.add_column("cancellations", sa.Column("read_in", sa.Float))
    op.add_column("cancellations", sa.Column("judged", sa.Boolean, nullable=False, server_default=sa.false()))
    # Escalated rows are probed too, until there is evidence.
    op.execute("UPDATE cancellations SET read_due = 0, read_in = 0 WHERE state = 'operator' AND read_due IS NULL")
    for name, (columns, where) in _OPEN.items():
        op.create_index(name, "cancellations", columns, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
    if op.get_context().dialect.name == "postgresql":
        op.alter_column("cancellations", "epoch", type_=sa.BigInteger)
        op.alter_column("journal", "epoch", type_=sa.BigInteger)
    else:
        with op.batch_alter_table("journal", recreate="always", table_kwargs={"sqlite_autoincrement": True}):
            pass
    _number_past_every_attempt()


def _number_past_every_attempt() -> None:
    """Set the next journal number, which is the next attempt number, above every earlier attempt number."""
    connection = op.get_bind()
    numbers = [
        connection.execute(sa.text(query)).scalar() or 0
        for query in ("SELECT max(epoch) FROM cancellations", "SELECT max(number) FROM journal")
    ]
    if connection.dialect.name == "postgresql":
        statements = ["SELECT setval(pg_get_serial_sequence('journal', 'number'), :last + 1, false)"]
    else:
        statements = [
            "DELETE FROM sqlite_sequence WHERE name = 'journal'",
            "INSERT INTO sqlite_sequence (name, seq) VALUES ('journal', :last)",
        ]
    for statement in statements:
        connection.execute(sa.text(statement), {"last": max(numbers)} if ":last" in statement else {})


def downgrade() -> None:
    """Raise: no migration drops the record of cancellations."""
    raise NotImplementedError("the ledger is not downgraded; restore a backup instead")
