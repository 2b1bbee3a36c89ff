"""Print text from outside safely: it cannot move the cursor, start a line, or hide or reorder text."""

import json
from typing import Any

import click

from facade.observability.logs import escaped, visible


def show(*lines: str, err: bool = False) -> None:
    """Print each text as one line; control characters, line breaks included, are replaced."""
    for line in lines or ("",):
        click.echo(visible(line), err=err)


def show_json(value: Any) -> None:
    """Print a value as indented JSON."""
    show_json_text(json.dumps(value, indent=2, ensure_ascii=False))


def show_json_text(text: str) -> None:
    """Print JSON text; characters that control a terminal are printed as JSON escapes."""
    click.echo(escaped(text))
