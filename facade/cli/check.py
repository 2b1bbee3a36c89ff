"""``facade check``: validate a configuration, or the installed plugins."""

import re
import sys
from pathlib import Path

import click

from facade.app import assemble
from facade.cli.common import findings, ledger_findings, permissions
from facade.cli.common.config_option import config_option
from facade.cli.common.findings import Finding
from facade.cli.common.terminal import show
from facade.errors import ConfigurationError
from facade.plugin import discovery
from facade.plugin.discovery import load_plugin


@click.command()
@config_option
@click.option("--plugin", metavar="NAME", help="Check only this installed plugin. Needs no configuration.")
@click.option("--online", is_flag=True, help="Also read from each configured source. Nothing is ever cancelled.")
@click.option(
    "--id", "appointment_id", metavar="ID", help="The appointment that --online reads. By default an invented one."
)
def check(path: Path | None, plugin: str | None, online: bool, appointment_id: str | None) -> None:
    """Check a configuration, or plugins: prints one line for each finding.

    Exit code 0: no problem, with or without warnings. Exit code 2: at least one problem; its line says how to fix it.
    """
    if online and path is None:
        raise click.UsageError("--online reads from configured sources; name their --config")
    if plugin is not None and path is not None:
        raise click.UsageError("give --config or --plugin, not both")
    if path is not None:
        found = _check_configuration(path, online, appointment_id)
    else:
        found = _check_plugins([plugin] if plugin else discovery.installed())
    for finding in found:
        show(str(finding))
    count = findings.count_problems(found)
    if count:
        show(f"facade: problems: {count}", err=True)
        sys.exit(2)
    show("OK")


def _check_configuration(path: Path, online: bool, appointment_id: str | None) -> list[Finding]:
    facade = assemble(path)
    found = _check_plugins(sorted({source.plugin.name for source in facade.sources.values()}))
    fitting = [s.name for s in facade.sources.values() if re.fullmatch(s.plugin.id_pattern, appointment_id or "")]
    if appointment_id is not None and not fitting:
        raise click.UsageError(f"--id {appointment_id} fits the id pattern of no configured source")
    found += ledger_findings.check_ledger(facade)
    found += permissions.check_permissions(facade, path)
    for source in facade.sources.values():
        found += findings.check_source(source)
        if online:
            found.append(findings.check_online(source, appointment_id if source.name in fitting else None))
    return found


def _check_plugins(names: list[str]) -> list[Finding]:
    found: list[Finding] = []
    for name in names:
        try:
            found += findings.check_plugin(load_plugin(name))
        except ConfigurationError as error:
            found += findings.unusable_plugin(name, error)
    return found
