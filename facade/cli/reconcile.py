"""``facade reconcile``: run the reconciler, which ``facade serve`` runs in the background, as a process of its own."""

import signal
from pathlib import Path

import click
import structlog

from facade.app import Facade, assemble
from facade.cli.common.permissions import refuse_open_keys
from facade.cli.common.reloading import connection_limits
from facade.errors import ConfigurationError
from facade.observability import logs


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
def reconcile(path: Path) -> None:
    """Resolve cancellations in doubt by reading, until stopped. Sends no cancel.

    Any number of these processes may run at once. The exception is a source that limits its connections: then the
    command refuses to start beside another process on this ledger.
    """
    facade = assemble(path)
    refuse_open_keys(facade)
    facade.open_store()
    facade.reconciler.announce()
    try:
        facade.check_sources()
        _refuse_shared_connections(facade)
        logs.configure()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: facade.reconciler.stop())
        structlog.get_logger().info("reconciling", sources=sorted(facade.sources))
        facade.reconciler.start()
        facade.reconciler.wait()
    finally:
        facade.reconciler.leave()


def _refuse_shared_connections(facade: Facade) -> None:
    """Raise ConfigurationError beside another process if a source limits its connections, which no process can see."""
    limits = connection_limits(facade)
    others = ", ".join(facade.reconciler.others()) if limits else ""
    if others:
        raise ConfigurationError(
            *(
                f"sources.{name}: takes {limit}, and another process ({others}) resolves doubt on this ledger; "
                "run no facade reconcile beside it, or stop it and retry after a minute"
                for name, limit in limits.items()
            )
        )
