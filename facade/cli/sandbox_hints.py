"""What ``facade sandbox`` prints when it serves: where everything is, and what to paste."""

import json
from collections.abc import Mapping

from facade import config as configuration
from facade.cli.terminal import show
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
    """Where each stand-in is."""
    for name in host.simulators:
        show(f"{name:<12}{host.source_url(name)}")
    show(f"{'control':<12}{host.url}/_control")


def explain_facade(url: str, config: configuration.Config, host: SimulatorHost, here: Mapping[str, str]) -> None:
    """A cancel to paste. ``here`` names the simulator behind each configured source."""
    source, name = next(iter(here.items()))
    simulator = host.simulators[name]
    seeded = simulator.seeds(simulator.clock.now())
    appointment_id = next(one for one in (simulator.fault_id.format(1), *seeded) if one in seeded)
    show(f"{'facade':<12}{url}{config.base_path}", "", "Cancel an appointment:", "")
    show(f"curl -sS {url}{config.base_path}/Appointment/{source}/{appointment_id} \\")
    if config.auth_mode == "api-key":
        show('  -H "Authorization: Bearer $FACADE_CLIENT_KEY" \\')
    show("  -H 'Content-Type: application/fhir+json' \\")
    show(f"  -d '{json.dumps({**_BODY, 'id': appointment_id})}'", "")


def explain_faults(host: SimulatorHost, here: Mapping[str, str], url: str) -> None:
    """What can go wrong, by id, and how to look at it."""
    (_, name), *others = here.items()
    show("Other ids fail as they say; the answer comes within 8 seconds and ends as shown:", "")
    for appointment_id, fault in host.simulators[name].shown_faults().items():
        show(f"  {appointment_id:<32}{fault.ends_in:<11}{fault.description}")
    show("", f"What the source saw: curl -sS {host.url}/_control/{name}/log")
    for source, other in others:
        alike = host.simulators[other].fault_id.format("…")
        show(f"The same of {source}: {alike}, and curl -sS {host.url}/_control/{other}/log")
    for source, simulator in here.items():
        named = f"--source {source}" if source == simulator else f"--source {source} --simulator {simulator}"
        show(f"Against the contract: facade verify --url {url} {named} --sandbox {host.url}")
    show("Ctrl-C stops both.")
