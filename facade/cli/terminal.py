"""Text for a terminal: what comes from outside cannot move the cursor, hide or reorder what stands beside it."""

import click

from facade.log import visible


def show(text: str, *, err: bool = False) -> None:
    """Print lines of ours that may hold text from outside; its control characters are shown as escapes."""
    click.echo("\n".join(visible(line) for line in text.split("\n")), err=err)
