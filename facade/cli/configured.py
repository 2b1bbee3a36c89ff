"""``facade sources`` and ``facade check``: what is installed and what a configuration makes of it."""

import re
import sys
from pathlib import Path

import click

from facade.app import assemble
from facade.cli import findings, permissions, stores
from facade.cli.findings import Finding
from facade.cli.terminal import show
from facade.errors import ConfigurationError
from facade.plugin import discovery
from facade.plugin.discovery import load_plugin

_config = click.option(
    "--config", "path", type=click.Path(path_type=Path), help="The configuration file; without it, what is installed."
)


@click.command()
@_config
def sources(path: Path | None) -> None:
    """List source systems: those that a configuration names, or the plugins that are installed."""
    if path is None:
        for name in discovery.installed():
            try:
                plugin = load_plugin(name)
            except ConfigurationError as error:
                show(f"{name}  (cannot be used)", f"  plugin   {'; '.join(error.problems)}")
            else:
                show(name, f"  plugin   from {plugin.distribution} {plugin.version}")
                show(f"  can      {findings.capabilities(plugin.declaration)}")
                show(f"  ids      {plugin.declaration.id_pattern}")
        return
    facade = assemble(path)
    for source in facade.sources.values():
        plugin = load_plugin(source.plugin.name)
        single = "  (also without a source system in the path)" if source is facade.single_source else ""
        show(f"{source.name}{single}")
        show(f"  plugin   {source.plugin.name}, from {plugin.distribution} {plugin.version}")
        show(f"  can      {findings.capabilities(source.plugin)}")
        show(f"  ids      {source.plugin.id_pattern}")
        if source.mapping is not None:
            fallback = source.mapping.fallback or "refused"
            show(f"  reasons  {len(source.mapping.to_native)} HL7 codes mapped; any other: {fallback}")


@click.command()
@_config
@click.option("--plugin", metavar="NAME", help="Only this installed plugin; needs no configuration.")
@click.option("--online", is_flag=True, help="Also read from each configured source; nothing is ever cancelled.")
@click.option(
    "--id",
    "appointment_id",
    metavar="ID",
    help="The appointment to read then; a made-up one by default.",
)
def check(path: Path | None, plugin: str | None, online: bool, appointment_id: str | None) -> None:
    """Check a configuration, or plugins: a line for each finding.

    Exit code 0: in order, whatever the warnings; 2: something keeps it from working, and says what to do.
    """
    if online and path is None:
        raise click.UsageError("--online reads from configured sources; name their --config")
    if plugin is not None and path is not None:
        raise click.UsageError("give --config or --plugin, not both")
    if path is not None:
        found = _of_configuration(path, online, appointment_id)
    else:
        found = _of_plugins([plugin] if plugin else discovery.installed())
    for finding in found:
        show(str(finding))
    wrong = findings.problems_of(found)
    if wrong:
        show(f"facade: problems: {wrong}", err=True)
        sys.exit(2)
    show("in order")


def _of_configuration(path: Path, online: bool, appointment_id: str | None) -> list[Finding]:
    facade = assemble(path)
    found = _of_plugins(sorted({source.plugin.name for source in facade.sources.values()}))
    suits = [s.name for s in facade.sources.values() if re.fullmatch(s.plugin.id_pattern, appointment_id or "")]
    if appointment_id is not None and not suits:
        raise click.UsageError(f"--id {appointment_id} fits the id pattern of no configured source")
    found += stores.of_ledger(facade)
    found += permissions.findings(facade, path)
    for source in facade.sources.values():
        found += findings.of_source(source)
        if online:
            found.append(findings.online(source, appointment_id if source.name in suits else None))
    return found


def _of_plugins(names: list[str]) -> list[Finding]:
    found: list[Finding] = []
    for name in names:
        try:
            found += findings.of_plugin(load_plugin(name))
        except ConfigurationError as error:
            found += findings.misdeclared(name, error)
    return found
