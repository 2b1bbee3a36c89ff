"""The option ``--config`` of the commands that also work without a configuration."""

from pathlib import Path

import click

config_option = click.option(
    "--config",
    "path",
    type=click.Path(path_type=Path),
    help="The configuration file. Without it, the command reports what is installed.",
)
