"""``facade sandbox reset``: reset every simulator."""

import click

from facade.cli.common.sandbox_client import call, url_option
from facade.cli.common.terminal import show


@click.command()
@url_option
def reset(url: str) -> None:
    """Reset every simulator: appointments and faults as seeded, empty logs.

    A facade keeps its record of what was cancelled.
    """
    show(f"as seeded: {', '.join(call(url, 'POST', '/reset', {})['reset'])}")
    show("A facade before it still has its record of what was cancelled; `new` creates appointments without a record.")
