"""What ``facade sandbox`` prints when it serves: the addresses, and commands to paste."""

import json
from collections.abc import Mapping

from facade.app import Facade
from facade.cli.common.terminal import show
from facade.testing.simulator.host import SimulatorHost

_BODY = {
    "resourceType": "Appointment",
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


def explain(host: SimulatorHost) -> None:
    """Print the address of each simulator and of the control API."""
    for name in host.simulators:
        show(f"{name:<12}{host.source_url(name)}")
    show(f"{'control':<12}{host.url}/_control")


def explain_facade(url: str, facade: Facade, host: SimulatorHost, served: Mapping[str, str]) -> None:
    """Print a cancel to paste. ``served``: a configured source → the name of its simulator."""
    source, name = next(iter(served.items()))
    simulator = host.simulators[name]
    seeded = simulator.seeds(simulator.clock.now())
    appointment_id = next(one for one in (simulator.fault_id.format(1), *seeded) if one in seeded)
    show(f"{'facade':<12}{url}{facade.config.base_path}", "", "Cancel an appointment:", "")
    show(f"curl -sS {url}{facade.config.base_path}/Appointment/{source}/{appointment_id} \\")
    for header, value in facade.authenticator.example_headers.items():
        show(f'  -H "{header}: {value}" \\')
    show("  -H 'Content-Type: application/fhir+json' \\")
    show(f"  -d '{json.dumps({**_BODY, 'id': appointment_id})}'", "")


def explain_faults(host: SimulatorHost, served: Mapping[str, str], url: str) -> None:
    """Print the fault of each id, and commands that show what happened."""
    (_, name), *others = served.items()
    show("Each of these ids fails in its own way. The response comes within 8 seconds, with the status shown:", "")
    for appointment_id, fault in host.simulators[name].shown_faults().items():
        show(f"  {appointment_id:<32}{fault.ends_in:<11}{fault.description}")
    show("", f"Requests that the source received: curl -sS {host.url}/_control/{name}/log")
    for source, other in others:
        fault_ids = host.simulators[other].fault_id.format("…")
        show(f"The same for {source}: {fault_ids}, and curl -sS {host.url}/_control/{other}/log")
    for source, simulator in served.items():
        named = f"--source {source}" if source == simulator else f"--source {source} --simulator {simulator}"
        show(f"Verify the facade: facade verify --url {url} {named} --sandbox {host.url}")
    show("Ctrl-C stops both.")
