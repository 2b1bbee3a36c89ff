"""The ``facade`` command: one module a group of subcommands."""

import importlib
import sys
from typing import Any

import click

from facade.cli.terminal import show
from facade.errors import ConfigurationError, Unavailable
from facade.observability.logs import visible

# Loaded when asked for: a client that cancels needs no server, and a server no sandbox.
_COMMANDS = {
    "serve": "facade.cli.serve",
    "sandbox": "facade.cli.sandbox",
    "sources": "facade.cli.configured",
    "check": "facade.cli.configured",
    "cancel": "facade.cli.cancel",
    "verify": "facade.cli.verify",
    "new-source": "facade.cli.new_source",
    "reconcile": "facade.cli.reconcile",
    "ledger": "facade.cli.ledger",
    "db": "facade.cli.ledger",
}


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        module = _COMMANDS.get(cmd_name)
        if module is None:
            return None
        command: click.Command = getattr(importlib.import_module(module), cmd_name.replace("-", "_"))
        return command

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            lines = error.message.expandtabs(2).split("\n")  # click's own lists have several lines
            error.message = "\n".join(map(visible, lines))  # type: ignore[misc]  # declared final, and click prints it
            raise
        except ConfigurationError as error:
            for problem in error.problems:
                show(f"facade: {problem}", err=True)
            sys.exit(2)
        except Unavailable as error:
            show(f"facade: {error.text}", err=True)
            sys.exit(1)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fhir-facade")
def main() -> None:
    """Cancel appointments in many source systems through FHIR R4, with at most one native call each.

    \b
    Try it, with a stand-in for every source system:
      facade sandbox --serve config/sandbox.toml
    Serve your own:
      facade check --config config/facade.toml
      facade serve --config config/facade.toml
    Cancel one appointment from the shell:
      facade cancel heim apt_1 --reason pat-mv --url http://127.0.0.1:8080
    Write a plugin for one more source system:
      facade new-source front-desk facade-front-desk

    A configuration that cannot work ends a command with exit code 2 and one sentence for each problem.
    """
