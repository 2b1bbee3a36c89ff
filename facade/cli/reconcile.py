"""``facade reconcile``: what ``facade serve`` does in the background, as a process of its own."""

import signal
from pathlib import Path

import click
import structlog

from facade import log as logging
from facade.app import assemble
from facade.cli.permissions import refuse_open_keys


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
def reconcile(path: Path) -> None:
    """Settle doubt by reading, until stopped. Sends nothing; any number may run at once."""
    facade = assemble(path)
    refuse_open_keys(facade)
    facade.open_store()
    facade.reconciler.tell()
    facade.check_sources()
    logging.configure()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: facade.reconciler.stop())
    structlog.get_logger().info("reconciling", sources=sorted(facade.sources))
    facade.reconciler.start()
    facade.reconciler.wait()
