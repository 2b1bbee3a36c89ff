"""The ``facade`` command. Each subcommand is in the module or package of its name; ``common`` holds what they share."""

import sys
from typing import Any

import click

from facade.cli.common.lazy_group import LazyGroup
from facade.cli.common.terminal import show
from facade.errors import ConfigurationError, Unavailable
from facade.observability.logs import visible

_COMMANDS = {
    "serve": "facade.cli.serve:serve",
    "sandbox": "facade.cli.sandbox:sandbox",
    "sources": "facade.cli.sources:sources",
    "check": "facade.cli.check:check",
    "cancel": "facade.cli.cancel:cancel",
    "verify": "facade.cli.verify:verify",
    "new-source": "facade.cli.new_source:new_source",
    "reconcile": "facade.cli.reconcile:reconcile",
    "ledger": "facade.cli.ledger:ledger",
    "db": "facade.cli.db:db",
}


class _MainGroup(LazyGroup):
    """Prints every configuration problem and every store failure as one line, and exits with 2 or 1."""

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


@click.command(cls=_MainGroup, lazy_commands=_COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="fhir-facade")
def main() -> None:
    """Cancel appointments in many source systems through FHIR R4, never twice while in doubt.

    \b
    Try it, with a simulator for every source system:
      facade sandbox --serve config/sandbox.toml
    Serve your own source systems:
      facade check --config config/facade.toml
      facade serve --config config/facade.toml
    Cancel one appointment from the shell:
      facade cancel heim apt_1 --reason pat-mv --url http://127.0.0.1:8080
    Write a plugin for another source system:
      facade new-source front-desk facade-front-desk

    If the configuration is wrong, a command prints one sentence for each problem and ends with exit code 2.
    """
