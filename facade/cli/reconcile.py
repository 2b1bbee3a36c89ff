"""``facade reconcile``: what ``facade serve`` does in the background, as a process of its own."""

import signal
from pathlib import Path

import click
import structlog

from facade.app import Facade, assemble
from facade.cli.permissions import refuse_open_keys
from facade.cli.reloading import connection_limits
from facade.errors import ConfigurationError
from facade.observability import logs as logging


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
def reconcile(path: Path) -> None:
    """Settle doubt by reading, until stopped. Sends nothing; any number may run at once.

    Not so with a source that takes few connections: beside another process on this ledger it is refused.
    """
    facade = assemble(path)
    refuse_open_keys(facade)
    facade.open_store()
    facade.reconciler.tell()
    try:
        facade.check_sources()
        _refuse_shared_connections(facade)
        logging.configure()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: facade.reconciler.stop())
        structlog.get_logger().info("reconciling", sources=sorted(facade.sources))
        facade.reconciler.start()
        facade.reconciler.wait()
    finally:
        facade.reconciler.leave()


def _refuse_shared_connections(facade: Facade) -> None:
    """Processes know nothing of each other's connections."""
    limits = connection_limits(facade)
    others = ", ".join(facade.reconciler.others()) if limits else ""
    if others:
        raise ConfigurationError(
            *(
                f"sources.{name}: takes {limit}, and another process is at work on this ledger ({others}), which looks "
                "into doubt too; run no facade reconcile beside it, or stop it and try again after a minute"
                for name, limit in limits.items()
            )
        )
