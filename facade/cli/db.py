"""``facade db``: maintain the ledger's store."""

from pathlib import Path

import click

from facade.cli.common.ledger_options import ledger_options, named_ledger
from facade.cli.common.terminal import show
from facade.ledger import migrate


@click.group()
def db() -> None:
    """Maintain the ledger's store."""


@db.command()
@ledger_options
def upgrade(path: Path | None, store: str | None) -> None:
    """Upgrade the store to the installed version."""
    show(f"the ledger is at revision {migrate.upgrade(named_ledger(path, store).engine)}")
