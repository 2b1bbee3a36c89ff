"""Write what every command prints with ``--help``, from click."""

from collections.abc import Iterator

import click

from facade.cli import main


def commands() -> Iterator[str]:
    """What ``--help`` prints, command by command."""
    yield from _command(main, click.Context(main, info_name="facade", **main.context_settings), 2)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield "```text"
    yield command.get_help(context)
    yield "```"
    yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (inner := command.get_command(context, name)) is not None:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context), min(level + 1, 3))
