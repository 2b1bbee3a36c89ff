"""The one way to a terminal: what comes from outside cannot move the cursor, make lines, hide or reorder text."""

import json
from typing import Any

import click

from facade.observability.logs import escaped, visible


def show(*lines: str, err: bool = False) -> None:
    """Print lines, none of which can hold another: a control character, a line break too, is replaced."""
    for line in lines or ("",):
        click.echo(visible(line), err=err)


def show_json(value: Any) -> None:
    """Print a value as JSON, indented."""
    show_json_text(json.dumps(value, indent=2, ensure_ascii=False))


def show_json_text(text: str) -> None:
    """Print JSON; the characters that a terminal would obey stand in it as JSON's escapes."""
    click.echo(escaped(text))
