"""The options by which a command names a ledger, and how it opens the ledger.

A configuration is read for ``facade.store`` only.
"""

from collections.abc import Callable
from pathlib import Path

import click

from facade.app import open_ledger
from facade.errors import ConfigurationError
from facade.ledger import migrate
from facade.ledger.store import Ledger


def ledger_options(command: Callable[..., None]) -> Callable[..., None]:
    """Add the options --config and --store to a command, as ``path`` and ``store``."""
    config = click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path),
        help="The configuration file. Only its facade.store is read.",
    )
    store = click.option("--store", metavar="URL", help="The ledger's URL. Replaces the configuration's.")
    return config(store(command))


def opened_ledger(path: Path | None, store: str | None) -> Ledger:
    """Open the ledger that the options name, at this version. Raises ConfigurationError if it does not exist."""
    ledger = named_ledger(path, store)
    file = ledger.engine.url.database
    if ledger.engine.dialect.name == "sqlite" and file and not Path(file).exists():
        # A new, empty ledger would show that nothing was ever cancelled.
        raise ConfigurationError(f"there is no ledger at {file}; name the facade's own ledger with --store")
    migrate.make_ready(ledger.engine, ledger.option)
    return ledger


def named_ledger(path: Path | None, store: str | None) -> Ledger:
    """Return the ledger that the options name; it is closed when the command ends."""
    ledger = open_ledger(path, store)
    click.get_current_context().call_on_close(ledger.engine.dispose)
    return ledger
