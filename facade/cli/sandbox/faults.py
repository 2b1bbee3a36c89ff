"""``facade sandbox faults``: list the faults."""

import click

from facade.cli.common.terminal import show
from facade.testing.simulator.faults import FAULTS


@click.command()
def faults() -> None:
    """List every fault, with the status in which a cancel through the facade ends."""
    for fault in FAULTS.values():
        show(f"{fault.name:<28}{fault.ends_in:<11}{fault.description}")
