"""Run the migrations on the connection from ``facade.ledger.migrate``, in its transaction."""

from alembic import context

from facade.ledger.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
context.run_migrations()
