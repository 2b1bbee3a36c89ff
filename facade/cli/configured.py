"""``facade sources`` and ``facade check``: what a configuration says, without serving it."""

from pathlib import Path

import click

from facade.app import assemble
from facade.registry import load_plugin


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
def sources(path: Path) -> None:
    """List the configured source systems, their plugins and what each can do."""
    facade = assemble(path)
    single = facade.single_source
    for source in facade.sources.values():
        plugin = load_plugin(source.system.name)
        can = source.system.capabilities
        click.echo(f"{source.name}{'  (also without a source system in the path)' if source is single else ''}")
        click.echo(f"  plugin   {source.system.name}, from {plugin.distribution} {plugin.version}")
        click.echo(f"  cancels  yes; a repeated native cancel: {source.system.repeat}")
        click.echo(f"  reads    {can.read.value}")
        click.echo(f"  ids      {source.system.id_pattern}")
        if source.mapping is not None:
            fallback = source.mapping.fallback or "refused"
            click.echo(f"  reasons  {len(source.mapping.to_native)} HL7 codes mapped; any other: {fallback}")


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
def check(path: Path) -> None:
    """Check a configuration file: exit code 0, or 2 with one sentence for each problem."""
    facade = assemble(path)
    click.echo(f"{path} is in order: {', '.join(facade.sources)}")
