"""Runs the migrations on the connection that ``facade.ledger.migrate`` hands over, in its one transaction."""

from alembic import context

from facade.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
