"""Create the ledger: cancellations, journal, audit."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Create the three tables."""
    op.create_table(
        "cancellations",
        sa.Column("source", sa.String(64), primary_key=True),
        sa.Column("appointment_id", sa.String(255), primary_key=True),
        sa.Column("format", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("epoch", sa.Integer, nullable=False),
        sa.Column("lease_until", sa.Float, nullable=False),
        sa.Column("sending_at", sa.Float),
        sa.Column("doubt_since", sa.Float),
        sa.Column("negative_reads", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("read_due", sa.Float),
        sa.Column("read_step", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("read_before", sa.Boolean, nullable=False),
        sa.Column("charge_limit", sa.Float),
        sa.Column("starts_at", sa.Float),
        sa.Column("wish", sa.JSON, nullable=False),
        sa.Column("version", sa.Integer, nullable=False, server_default=sa.text("0")),
        sa.Column("outcome", sa.String(16)),
        sa.Column("cause", sa.String(32)),
        sa.Column("answer", sa.Text),
        sa.Column("told", sa.JSON),
        sa.Column("changed_at", sa.Float, nullable=False),
    )
    op.create_index("ix_cancellations_read_due", "cancellations", ["read_due"])
    op.create_index("ix_cancellations_state", "cancellations", ["state"])
    op.create_table(
        "journal",
        sa.Column("number", _SERIAL, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("appointment_id", sa.String(255), nullable=False),
        sa.Column("event", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16)),
        sa.Column("epoch", sa.Integer),
        sa.Column("request_id", sa.String(128)),
        sa.Column("detail", sa.JSON, nullable=False),
    )
    op.create_index("ix_journal_key", "journal", ["source", "appointment_id", "number"])
    op.create_table(
        "audit",
        sa.Column("number", _SERIAL, primary_key=True),
        sa.Column("at", sa.Float, nullable=False),
        sa.Column("source", sa.String(64), nullable=False),
        sa.Column("appointment_id", sa.String(255), nullable=False),
        sa.Column("who", sa.String(255), nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("request_id", sa.String(128)),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("cause", sa.String(32), nullable=False),
    )
    op.create_index("ix_audit_key", "audit", ["source", "appointment_id", "number"])


def downgrade() -> None:
    """Raise: no migration drops the record of cancellations."""
    raise NotImplementedError("the ledger is not downgraded; restore a backup instead")
