"""``facade sandbox``: a stand-in for every installed source system, with faults on demand."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from facade import registry
from facade.errors import ConfigurationError
from facade.testing.host import SimulatorHost, serve
from facade.testing.simulator import Simulator

_HOST, _FACADE = "127.0.0.1", "http://127.0.0.1:8080"
_BODY = {
    "resourceType": "Appointment",
    "id": "apt_1",
    "status": "cancelled",
    "cancelationReason": {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason",
                "code": "pat-mv",
            }
        ]
    },
}


@click.command()
@click.option("--port", default=8081, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option("--serve", "config", type=click.Path(path_type=Path), help="Also serve a facade: its configuration file.")
def sandbox(port: int, config: Path | None) -> None:
    """Serve a stand-in for every installed source system, seeded, on loopback.

    Each keeps state and its own log, and fails on demand: an appointment whose id holds a fault's name fails
    that way, and the control API under /_control arms any fault for any appointment.
    """
    # A stop from outside must stop the facade too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with serve(_simulators(), host=_HOST, port=port) as host:
        _explain(host)
        try:
            if config is None:
                host.wait()
            else:
                with _facade(config) as process:
                    _explain_facade(host)
                    process.wait()
                    raise ConfigurationError("the facade ended; its own message says why")
        except KeyboardInterrupt:
            click.echo()


def _simulators() -> dict[str, Simulator]:
    systems = [registry.load_plugin(name).system for name in registry.installed()]
    return {system.name: system.simulator() for system in systems if system.simulator is not None}


@contextmanager
def _facade(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen([sys.executable, "-m", "facade", "serve", "--config", str(config)])
    try:
        yield process
    finally:
        process.terminate()
        process.wait()


def _explain(host: SimulatorHost) -> None:
    for name in host.simulators:
        click.echo(f"{name:<12}{host.source_url(name)}")
    click.echo(f"{'control':<12}{host.url}/_control")


def _explain_facade(host: SimulatorHost) -> None:
    name, simulator = next(iter(host.simulators.items()))
    click.echo(f"{'facade':<12}{_FACADE}\n\nCancel an appointment:\n")
    click.echo(f"curl -sS {_FACADE}/Appointment/{name}/apt_1 \\")
    click.echo("  -H 'Content-Type: application/fhir+json' \\")
    click.echo(f"  -d '{json.dumps(_BODY)}'\n")
    click.echo("Other ids fail as they say; the answer comes within 8 seconds and ends as shown:\n")
    for appointment_id, fault in simulator.fault_ids().items():
        click.echo(f"  {appointment_id:<28}{fault.ends_in:<11}{fault.description}")
    click.echo(f"\nWhat the source saw: curl -sS {host.url}/_control/{name}/log\nCtrl-C stops both.")
