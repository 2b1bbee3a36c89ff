"""``facade sandbox``: a stand-in for every installed source system, with faults on demand."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import click
from click.core import ParameterSource
from marshmallow import ValidationError

from facade import config as configuration
from facade.app import Facade, assemble
from facade.cli.permissions import SANDBOX
from facade.cli.sandbox_control import COMMANDS
from facade.cli.sandbox_hints import explain, explain_facade, explain_faults
from facade.cli.terminal import show
from facade.deadline import deadline
from facade.errors import ConfigurationError, SourceError
from facade.http_client import HttpClient
from facade.plugin import discovery
from facade.plugin.contract import SourcePlugin
from facade.setting_fields import Origin
from facade.testing.simulator import BareSimulator, Simulator
from facade.testing.simulator.faults import Chance
from facade.testing.simulator.host import SimulatorHost, is_servable, serve

_HOST = "127.0.0.1"
_ENDED = "the facade ended; its own message says why"
_STOPS = (signal.SIGTERM, signal.SIGHUP)


@click.group(invoke_without_command=True)
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
    help="Share of requests that fail by chance.",
)
@click.option("--seed", default=1, show_default=True, help="Decides which; the same seed, the same failures.")
@click.option(
    "--listen",
    metavar="NAME=PORT",
    multiple=True,
    help="The port of a source system that is not HTTP, by its plugin's name; else any free one. May be repeated.",
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
    """Serve a stand-in for every installed source system, seeded, on loopback.

    One that is not HTTP listens on a port of its own. What cannot be served is named, with the reason.

    Each keeps state and its own log, and fails on demand: an appointment whose id holds a fault's name fails
    that way, and the control API under /_control arms any fault for any appointment. The commands below talk
    to a sandbox that is being served.
    """
    if context.invoked_subcommand is not None:
        params = context.command.params
        given = [o.opts[0] for o in params if context.get_parameter_source(o.name or "") is ParameterSource.COMMANDLINE]
        if given:
            raise click.UsageError(f"{', '.join(given)}: only for serving; `{context.invoked_subcommand}` takes --url")
        return
    facade = assemble(config) if config is not None else None
    allowed = _allowed(origins) | (facade.config.allowed_origins if facade is not None else frozenset())
    for stop in _STOPS:
        signal.signal(stop, _stop)
    systems = _systems()
    simulators = _simulators(systems)
    ports = _ports(listen, simulators)
    for simulator in simulators.values():
        simulator.faults.chance = Chance(seed, chaos, simulator.behaviours) if chaos else None
    capabilities = {system.name: system.capabilities for system in systems}
    try:
        with serve(
            simulators, host=_HOST, port=port, ports=ports, capabilities=capabilities, allowed_origins=allowed
        ) as host:
            explain(host)
            if config is None or facade is None:
                host.wait()
            else:
                _serve_too(facade, config, serve_port, host)
    except KeyboardInterrupt:
        show()


for command in COMMANDS:
    sandbox.add_command(command)


def _allowed(origins: Iterable[str]) -> frozenset[str]:
    try:
        return frozenset(Origin().deserialize(origin) for origin in origins)
    except ValidationError as error:
        raise click.UsageError(f"--allowed-origin {error.messages[0]}") from None


def _serve_too(facade: Facade, config: Path, port: int, host: SimulatorHost) -> None:
    here = _sources_here(config, host)
    url = f"http://{_HOST}:{port}"
    with _serving(config, port, url) as (process, store):
        explain_facade(url, facade.config, host, here)
        show(f"What the facade recorded: facade ledger list --store {store}", "")
        explain_faults(host, here, f"{url}{facade.config.base_path}")
        process.wait()
        raise ConfigurationError(_ENDED)


def _stop(*_: object) -> NoReturn:
    """A stop from outside stops the facade too; a second one does not interrupt that."""
    for stop in _STOPS:
        signal.signal(stop, signal.SIG_IGN)
    sys.exit(0)


def _systems() -> list[SourcePlugin]:
    systems: list[SourcePlugin] = []
    for name in discovery.installed():
        try:
            systems.append(discovery.load_plugin(name).declaration)
        except ConfigurationError as error:
            # One author's broken plugin is no other's trouble; a configuration that uses it is refused as always.
            for problem in error.problems:
                show(f"left out: {problem}", err=True)
    return systems


def _simulators(systems: Sequence[SourcePlugin]) -> dict[str, BareSimulator]:
    """Those that can be served, by plugin; the others are named, with the reason."""
    found: dict[str, BareSimulator] = {}
    for system in systems:
        if system.simulator is None:
            show(f'left out: plugin "{system.name}" declares no simulator', err=True)
        elif is_servable(simulator := system.simulator()):
            found[system.name] = simulator
        else:
            show(
                f'left out: the simulator of plugin "{system.name}" is not HTTP and has no listener; '
                "write BareSimulator.listener",
                err=True,
            )
    return found


def _ports(listen: Sequence[str], simulators: Mapping[str, BareSimulator]) -> dict[str, int]:
    apart = [name for name, simulator in simulators.items() if not isinstance(simulator, Simulator)]
    ports: dict[str, int] = {}
    for wish in listen:
        name, _, number = wish.partition("=")
        if name not in apart:
            known = ", ".join(apart) or "there is none"
            raise click.UsageError(f"--listen {wish}: name a source system that is not HTTP ({known})")
        if not (number.isascii() and number.isdecimal() and int(number) <= 65535):
            raise click.UsageError(f"--listen {wish}: the port is 0 to 65535, for example {name}=2575")
        ports[name] = int(number)
    return ports


def _sources_here(config: Path, host: SimulatorHost) -> dict[str, str]:
    """The configured sources that this sandbox serves, each with its simulator's name."""
    urls = {host.source_url(name): name for name in host.simulators}
    tables = configuration.read(config)["sources"].items()
    here = {source: name for source, table in tables for url, name in urls.items() if _points_at(table, url)}
    if not here:
        raise ConfigurationError(
            f"{config} has no source with the base_url {' or '.join(urls)}; give it one, or serve "
            "the sandbox with --port where its sources look"
        )
    return here


def _points_at(table: Mapping[str, object], url: str) -> bool:
    """Whether a source's settings name this address: in one text, or as a host and a port."""
    texts = {value.rstrip("/") for value in table.values() if isinstance(value, str)}
    host, _, port = url.rpartition(":")
    return url in texts or (host in texts and any(str(value) == port for value in table.values()))


@contextmanager
def _serving(config: Path, port: int, url: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A facade that answers, and its ledger's store."""
    with socket.socket() as connection:
        if connection.connect_ex((_HOST, port)) == 0:
            raise ConfigurationError(f"port {port} is taken; choose another for the facade with --serve-port")
    with tempfile.TemporaryDirectory(prefix="facade-sandbox-") as folder:
        # The stand-ins begin anew with every sandbox, so what is remembered of them does too.
        store = f"sqlite:///{folder}/ledger.db"
        command = [sys.executable, "-m", "facade", "serve", "--config", str(config), "--port", str(port)]
        # Its keys open nothing, so it does not matter who reads them.
        env = {**os.environ, SANDBOX: "1"}
        process = subprocess.Popen([*command, "--store", store], env=env)  # noqa: S603 - our own command
        try:
            while not _answers(url):
                if process.poll() is not None:
                    raise ConfigurationError(_ENDED)
                time.sleep(0.05)
            yield process, store
        finally:
            process.terminate()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with deadline(1.0):
            return HttpClient(url).get("/health/live").status == 200
    except SourceError:
        return False
