"""How a command names a ledger, and opens it: by its URL, or by a configuration of which nothing else is read."""

from collections.abc import Callable
from pathlib import Path

import click

from facade.app import open_ledger
from facade.errors import ConfigurationError
from facade.ledger import migrate
from facade.ledger.store import Ledger


def of_a_ledger(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the two options that name a ledger."""
    config = click.option(
        "--config",
        "path",
        type=click.Path(path_type=Path),
        help="The configuration file; only its facade.store is read.",
    )
    store = click.option("--store", metavar="URL", help="The ledger's URL, or another one than the configuration's.")
    return config(store(command))


def opened(path: Path | None, store: str | None) -> Ledger:
    """The ledger that the options name, at this version. Raises ConfigurationError where there is none."""
    found = named_ledger(path, store)
    file = found.engine.url.database
    if found.engine.dialect.name == "sqlite" and file and not Path(file).exists():
        # To look into a ledger that is not there would be to say that nothing was ever cancelled.
        raise ConfigurationError(f"there is no ledger at {file}; name the one that is served with --store")
    migrate.make_ready(found.engine, found.option)
    return found


def named_ledger(path: Path | None, store: str | None) -> Ledger:
    """The ledger that the options name, closed when the command ends."""
    found = open_ledger(path, store)
    click.get_current_context().call_on_close(found.engine.dispose)
    return found
