"""``facade ledger rename``: move a source's records to its new name."""

import re
from pathlib import Path

import click

from facade.cancellation.known_sources import rename
from facade.cli.common.ledger_options import ledger_options, opened_ledger
from facade.cli.common.terminal import show
from facade.config_tables import NAME


@click.command("rename")
@click.argument("old")
@click.argument("new")
@ledger_options
def rename_source(old: str, new: str, path: Path | None, store: str | None) -> None:
    """Move the records of the source OLD to NEW, its name in the configuration from now on.

    Stop every facade on this ledger first. The source keeps all its records, those in doubt included.
    """
    if not re.fullmatch(NAME, new):
        raise click.UsageError(f"{new!r} is no name of a source: write 1 to 64 letters, digits and hyphens")
    show(f"{old}: {rename(opened_ledger(path, store), old, new)} records moved to {new}")
