"""``facade sandbox``: serve the simulators, or control a sandbox that is served; one module for each subcommand."""

from pathlib import Path

import click
from click.core import ParameterSource

from facade.cli.common.lazy_group import LazyGroup

_COMMANDS = {
    "arm": "facade.cli.sandbox.arm:arm",
    "disarm": "facade.cli.sandbox.disarm:disarm",
    "faults": "facade.cli.sandbox.faults:faults",
    "log": "facade.cli.sandbox.log:log",
    "move": "facade.cli.sandbox.move:move",
    "new": "facade.cli.sandbox.new:new",
    "reset": "facade.cli.sandbox.reset:reset",
    "time": "facade.cli.sandbox.time:time",
}


@click.group(cls=LazyGroup, lazy_commands=_COMMANDS, invoke_without_command=True)
@click.option("--port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option("--serve", "config", type=click.Path(path_type=Path), help="Also serve a facade: its configuration file.")
@click.option(
    "--serve-port", default=8080, show_default=True, type=click.IntRange(1, 65535), help="The port of that facade."
)
@click.option(
    "--chaos",
    default=0.0,
    show_default=True,
    type=click.FloatRange(0, 1),
    help="The share of requests that fail by chance.",
)
@click.option(
    "--seed", default=1, show_default=True, help="Decides which requests fail: the same seed, the same failures."
)
@click.option(
    "--listen",
    metavar="NAME=PORT",
    multiple=True,
    help="The port of a simulator that is not HTTP, by its plugin's name. By default any free port. May be repeated.",
)
@click.option(
    "--allowed-origin", "origins", multiple=True, help="Also serve pages of this origin, like http://host:3000."
)
@click.pass_context
def sandbox(
    context: click.Context,
    port: int,
    config: Path | None,
    serve_port: int,
    chaos: float,
    seed: int,
    listen: tuple[str, ...],
    origins: tuple[str, ...],
) -> None:
    """Serve a simulator for every installed source system on loopback, with seeded appointments.

    A simulator that is not HTTP listens on a port of its own. For each simulator that cannot be served, the command
    prints the reason.

    Each simulator keeps state and logs its requests. An appointment whose id contains the name of a fault always fails
    that way, and the control API under /_control arms any fault for any appointment. The subcommands below control a
    sandbox that is being served.
    """
    if context.invoked_subcommand is not None:
        params = context.command.params
        given = [o.opts[0] for o in params if context.get_parameter_source(o.name or "") is ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"{', '.join(given)}: only for serving; `{context.invoked_subcommand}` takes --url")
        return
    # Imported here: the subcommands need neither Flask nor the plugins.
    from facade.cli.common.sandbox_serving import serve_sandbox

    serve_sandbox(port, config, serve_port, chaos=chaos, seed=seed, listen=listen, origins=origins)
