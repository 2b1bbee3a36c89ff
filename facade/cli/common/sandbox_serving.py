"""What ``facade sandbox`` serves: the simulators, their control API and, if asked, a facade before them."""

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
from marshmallow import ValidationError

from facade import config as configuration
from facade.app import Facade, assemble
from facade.cli.common.permissions import SANDBOX
from facade.cli.common.sandbox_hints import explain, explain_facade, explain_faults
from facade.cli.common.terminal import show
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
_ENDED = "the facade ended; its own message states the reason"
_STOPS = (signal.SIGTERM, signal.SIGHUP)


def serve_sandbox(
    port: int,
    config: Path | None,
    serve_port: int,
    *,
    chaos: float,
    seed: int,
    listen: Sequence[str],
    origins: Sequence[str],
) -> None:
    """Serve every installed simulator until a stop signal, and a facade of this configuration, if there is one."""
    facade = assemble(config) if config is not None else None
    allowed = _allowed(origins) | (facade.config.allowed_origins if facade is not None else frozenset())
    for stop in _STOPS:
        signal.signal(stop, _stop)
    plugins = _plugins()
    simulators = _simulators(plugins)
    ports = _ports(listen, simulators)
    for simulator in simulators.values():
        simulator.faults.chance = Chance(seed, chaos, simulator.behaviours) if chaos else None
    capabilities = {plugin.name: plugin.capabilities for plugin in plugins}
    try:
        with serve(
            simulators, host=_HOST, port=port, ports=ports, capabilities=capabilities, allowed_origins=allowed
        ) as host:
            explain(host)
            if config is None or facade is None:
                host.wait()
            else:
                _serve_facade(facade, config, serve_port, host)
    except KeyboardInterrupt:
        show()


def _allowed(origins: Iterable[str]) -> frozenset[str]:
    try:
        return frozenset(Origin().deserialize(origin) for origin in origins)
    except ValidationError as error:
        raise click.UsageError(f"--allowed-origin {error.messages[0]}") from None


def _serve_facade(facade: Facade, config: Path, port: int, host: SimulatorHost) -> None:
    served = _served_sources(config, host)
    url = f"http://{_HOST}:{port}"
    with _facade_process(config, port, url) as (process, store):
        explain_facade(url, facade, host, served)
        show(f"The facade's records: facade ledger list --store {store}", "")
        explain_faults(host, served, f"{url}{facade.config.base_path}")
        process.wait()
        raise ConfigurationError(_ENDED)


def _stop(*_: object) -> NoReturn:
    """Handle a stop signal: end the command, and with it the facade; ignore a second signal meanwhile."""
    for stop in _STOPS:
        signal.signal(stop, signal.SIG_IGN)
    sys.exit(0)


def _plugins() -> list[SourcePlugin]:
    plugins: list[SourcePlugin] = []
    for name in discovery.installed():
        try:
            plugins.append(discovery.load_plugin(name).declaration)
        except ConfigurationError as error:
            # A broken plugin must not keep the others from being served. A configuration that uses it is rejected.
            for problem in error.problems:
                show(f"not served: {problem}", err=True)
    return plugins


def _simulators(plugins: Sequence[SourcePlugin]) -> dict[str, BareSimulator]:
    """Return the simulators that can be served, by plugin name; print the reason for each other one."""
    found: dict[str, BareSimulator] = {}
    for plugin in plugins:
        if plugin.simulator is None:
            show(f'not served: plugin "{plugin.name}" declares no simulator', err=True)
        elif is_servable(simulator := plugin.simulator()):
            found[plugin.name] = simulator
        else:
            show(
                f'not served: the simulator of plugin "{plugin.name}" is not HTTP and has no listener; '
                "write BareSimulator.listener",
                err=True,
            )
    return found


def _ports(listen: Sequence[str], simulators: Mapping[str, BareSimulator]) -> dict[str, int]:
    not_http = [name for name, simulator in simulators.items() if not isinstance(simulator, Simulator)]
    ports: dict[str, int] = {}
    for given in listen:
        name, _, number = given.partition("=")
        if name not in not_http:
            known = ", ".join(not_http) or "there is none"
            raise click.UsageError(f"--listen {given}: name a source system that is not HTTP ({known})")
        if not (number.isascii() and number.isdecimal() and int(number) <= 65535):
            raise click.UsageError(f"--listen {given}: the port is 0 to 65535, for example {name}=2575")
        ports[name] = int(number)
    return ports


def _served_sources(config: Path, host: SimulatorHost) -> dict[str, str]:
    """Return the configured sources that this sandbox serves, each with its simulator's name."""
    urls = {host.source_url(name): name for name in host.simulators}
    tables = configuration.read(config)["sources"].items()
    served = {source: name for source, table in tables for url, name in urls.items() if _points_at(table, url)}
    if not served:
        raise ConfigurationError(
            f"{config} has no source with the base_url {' or '.join(urls)}; set it, or serve "
            "the sandbox at the port of its sources with --port"
        )
    return served


def _points_at(table: Mapping[str, object], url: str) -> bool:
    """Return whether a source's settings name this address: in one text, or as a host and a port."""
    texts = {value.rstrip("/") for value in table.values() if isinstance(value, str)}
    host, _, port = url.rpartition(":")
    return url in texts or (host in texts and any(str(value) == port for value in table.values()))


@contextmanager
def _facade_process(config: Path, port: int, url: str) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """Run a facade for the length of the block; gives its process, once it responds, and its ledger's store."""
    with socket.socket() as connection:
        if connection.connect_ex((_HOST, port)) == 0:
            raise ConfigurationError(f"port {port} is in use; choose another for the facade with --serve-port")
    with tempfile.TemporaryDirectory(prefix="facade-sandbox-") as folder:
        # Every sandbox begins with seeded simulators, so the facade begins with an empty ledger.
        store = f"sqlite:///{folder}/ledger.db"
        command = [sys.executable, "-m", "facade", "serve", "--config", str(config), "--port", str(port)]
        # The sandbox's keys protect nothing, so every user may read them.
        env = {**os.environ, SANDBOX: "1"}
        process = subprocess.Popen([*command, "--store", store], env=env)  # noqa: S603 - our own command
        try:
            while not _is_live(url):
                if process.poll() is not None:
                    raise ConfigurationError(_ENDED)
                time.sleep(0.05)
            yield process, store
        finally:
            process.terminate()
            process.wait()


def _is_live(url: str) -> bool:
    try:
        with deadline(1.0):
            return HttpClient(url).get("/health/live").status == 200
    except SourceError:
        return False
