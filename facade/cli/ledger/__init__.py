"""``facade ledger``: one module for each subcommand.

The commands need the ledger only. They load neither the sources' secrets nor their plugins, because an operator may
have neither. The exception is ``rekey``, which loads one plugin for the canonical form of its ids.
"""

import click

from facade.cli.common.lazy_group import LazyGroup

_COMMANDS = {
    "list": "facade.cli.ledger.list:list_records",
    "show": "facade.cli.ledger.show:show_record",
    "resolve": "facade.cli.ledger.resolve:resolve",
    "purge": "facade.cli.ledger.purge:purge",
    "rekey": "facade.cli.ledger.rekey:rekey_source",
    "rename": "facade.cli.ledger.rename:rename_source",
}


@click.group(cls=LazyGroup, lazy_commands=_COMMANDS)
def ledger() -> None:
    """Show the recorded cancellations, and resolve those that need a person."""
