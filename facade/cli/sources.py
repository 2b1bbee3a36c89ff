"""``facade sources``: list the installed plugins, or the sources of a configuration."""

from pathlib import Path

import click

from facade.app import assemble
from facade.cli.common import findings
from facade.cli.common.config_option import config_option
from facade.cli.common.terminal import show
from facade.errors import ConfigurationError
from facade.plugin import discovery
from facade.plugin.discovery import load_plugin


@click.command()
@config_option
def sources(path: Path | None) -> None:
    """List the source systems of a configuration, or the installed plugins."""
    if path is None:
        _list_installed()
    else:
        _list_configured(path)


def _list_installed() -> None:
    for name in discovery.installed():
        try:
            plugin = load_plugin(name)
        except ConfigurationError as error:
            show(f"{name}  (cannot be used)", f"  plugin   {'; '.join(error.problems)}")
        else:
            show(name, f"  plugin   from {plugin.distribution} {plugin.version}")
            show(f"  supports {findings.capabilities(plugin.declaration)}")
            show(f"  ids      {plugin.declaration.id_pattern}")


def _list_configured(path: Path) -> None:
    facade = assemble(path)
    for source in facade.sources.values():
        plugin = load_plugin(source.plugin.name)
        single = "  (also without a source system in the path)" if source is facade.single_source else ""
        show(f"{source.name}{single}")
        show(f"  plugin   {source.plugin.name}, from {plugin.distribution} {plugin.version}")
        show(f"  supports {findings.capabilities(source.plugin)}")
        show(f"  ids      {source.plugin.id_pattern}")
        if source.mapping is not None:
            fallback = source.mapping.fallback or "refused"
            show(f"  reasons  {len(source.mapping.to_native)} HL7 codes mapped; any other: {fallback}")
