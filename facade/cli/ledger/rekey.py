"""``facade ledger rekey``: move a source's records to another canonical form of its ids."""

from pathlib import Path

import click

from facade import config as configuration
from facade.cancellation.known_sources import rekey
from facade.cli.common.ledger_options import ledger_options, opened_ledger
from facade.cli.common.terminal import show
from facade.plugin import discovery
from facade.plugin.configured_source import DeclaredSource


@click.command("rekey")
@click.argument("source")
@click.option("--plugin", metavar="NAME", help="The plugin of SOURCE. By default the one that --config names.")
@ledger_options
def rekey_source(source: str, plugin: str | None, path: Path | None, store: str | None) -> None:
    """Store the records of SOURCE under the canonical form of ids that its plugin declares now.

    Stop every facade on this ledger first. If two records turn out to be about one appointment, the command merges
    them and keeps the record that knows most.
    """
    ledger = opened_ledger(path, store)
    name = plugin or _configured_plugin(source, path)
    declaration = discovery.load_plugin(name).declaration
    moved, merged = rekey(ledger, DeclaredSource(name=source, plugin=declaration))
    show(f"{source}: {moved} records moved, {merged} merged")


def _configured_plugin(source: str, path: Path | None) -> str:
    """Return the plugin that the configuration names for this source; the rest of the configuration is not checked."""
    if path is None:
        raise click.UsageError(f"the plugin of {source} is unknown; name it with --plugin, or give --config")
    table = configuration.read(path).get("sources")
    table = table.get(source) if isinstance(table, dict) else None
    name = table.get("plugin") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise click.UsageError(f"{source} is not configured in {path}; name its plugin with --plugin")
    return name
