"""Rename columns and stored values to the vocabulary of docs/glossary.md. No row is added, removed or reordered."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("cancellations", "epoch", "attempt_number"),
    ("cancellations", "wish", "cancel_request"),
    ("cancellations", "answer", "response"),
    ("cancellations", "told", "reported"),
    ("cancellations", "judged", "by_operator"),
    ("journal", "epoch", "attempt_number"),
)
_VALUES = (
    ("cancellations", "outcome", {"not-done": "not-executed"}),
    ("audit", "outcome", {"not-done": "not-executed"}),
    (
        "journal",
        "event",
        {
            "not-done": "not-executed",
            "stale-version": "version-conflict",
            "judged-cancelled": "resolved-cancelled",
            "judged-not-applied": "resolved-not-applied",
            "told": "reported",
        },
    ),
)

# The member of a stored cancel request that holds the elements of a cancelled response.
_RENAME_MEMBER = {
    "sqlite": """
        UPDATE cancellations
        SET cancel_request = json_remove(
            json_set(cancel_request, '$.expected', json(json_extract(cancel_request, '$.stated'))),
            '$.stated'
        )
        WHERE json_type(cancel_request, '$.stated') IS NOT NULL
    """,
    "postgresql": """
        UPDATE cancellations
        SET cancel_request = CAST(
            (CAST(cancel_request AS jsonb) - 'stated')
            || jsonb_build_object('expected', CAST(cancel_request AS jsonb) -> 'stated') AS json
        )
        WHERE jsonb_exists(CAST(cancel_request AS jsonb), 'stated')
    """,
}


def upgrade() -> None:
    """Rename in place. Stop every process that uses the store first, since the previous version cannot read it."""
    for table, old, new in _COLUMNS:
        op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")
    for table, column, words in _VALUES:
        for old, new in words.items():
            statement = sa.text(f"UPDATE {table} SET {column} = :new WHERE {column} = :old")  # noqa: S608 - names above
            op.execute(statement.bindparams(new=new, old=old))
    op.execute(_RENAME_MEMBER[op.get_context().dialect.name])


def downgrade() -> None:
    """Raise: no migration drops the record of cancellations."""
    raise NotImplementedError("the ledger is not downgraded; restore a backup instead")
