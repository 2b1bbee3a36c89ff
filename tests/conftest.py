"""What the tests share: a behaving Heim, a facade in front of it, and the hooks of the run."""

import json
import signal
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from facade_heim.simulator import HeimSimulator
from flask import Flask
from flask.testing import FlaskClient

from facade.app import Facade, assemble, compose
from facade.cancellation.budget import Budget
from facade.cancellation.timers import Timers
from facade.ledger import engine as engines
from facade.testing.simulator.faults import Timings
from facade.testing.simulator.host import SimulatorHost, serve
from facade.web import create_app
from tests.support import markers, parallel, run_speed
from tests.support.hang_detection import PATIENT, give_up_only_what_hangs
from tests.support.node import node
from tests.support.recording_fhir_server import BY_TOKEN, SOURCE, TOKEN, WatchedFhir
from tests.support.validated_responses import EveryAnswer, Resource, remember, validated
from tests.support.waiting import Gate
from tests.support.watchdog import Watchdog

KEY = "key-of-the-scheduler-CANARY"
HEIM_KEY = "test_CANARY-heim-key"

CONFIG = """
[facade]
{facade}
[auth]
mode = "api-key"
[clients.scheduler]
key_env = "FACADE_KEY_SCHEDULER"
sources = ["*"]
{clients}
[sources.heim]
plugin = "heim"
base_url = "{heim}"
api_key_env = "HEIM_API_KEY"
environment = "test"
max_concurrent = 64
{settings}
{more}
"""

SEED = textwrap.dedent("""\
    {
      "resourceType": "Appointment",
      "id": "1839594",
      "status": "cancelled",
      "cancelationReason" : {
        "coding" : [
          {
            "system" : "http://terminology.hl7.org/CodeSystem/appointment-cancellation-reason",
            "code" : "pat-mv"
          }
        ]
      }
    }""")
"""The scheduler guide's own example."""


def pytest_configure(config: pytest.Config) -> None:
    run_speed.keep_bytecode()
    run_speed.validate_each_map_once()
    config.pluginmanager.register(EveryAnswer())
    config.pluginmanager.register(Watchdog())
    config.pluginmanager.register(markers.NoProcesses())
    # In the background of a shell SIGINT is ignored, and every process that a test starts would inherit that.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(tryfirst=True)  # before -m selects by the marks
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    markers.mark(items)
    parallel.longest_first(items)


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    return parallel.processes(config.args)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> parallel.ByFile:
    return parallel.ByFile(config, log)


@pytest.fixture(autouse=True)
def _patient_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engines, "LOCK_WAIT", PATIENT)


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FACADE_KEY_SCHEDULER", KEY)
    monkeypatch.setenv("HEIM_API_KEY", HEIM_KEY)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate that is open at the latest when the test ends."""
    with Gate() as found:
        yield found


@pytest.fixture(scope="session")
def _hosts() -> list[SimulatorHost]:
    """Every host that serves a simulator for the whole session."""
    return []


@pytest.fixture(scope="session")
def _host(_hosts: list[SimulatorHost]) -> Iterator[SimulatorHost]:
    with serve({"heim": HeimSimulator()}, timings=Timings(late_commit=0.1)) as host:
        _hosts.append(host)
        yield host


@pytest.fixture
def heim(_host: SimulatorHost) -> SimulatorHost:
    """The simulators' host, as seeded."""
    _host.clock.back_to_real_time()
    _host.reset()
    return _host


@pytest.fixture
def simulator(heim: SimulatorHost) -> HeimSimulator:
    found = heim.simulators["heim"]
    assert isinstance(found, HeimSimulator)
    return found


class FacadeClient:
    """A scheduler: sends requests to a facade in this process and keeps every answer."""

    def __init__(self, app: Flask, facade: Facade) -> None:
        self.facade = facade
        self.app = app
        self._client: FlaskClient = app.test_client()

    def request(self, method: str, path: str, *, key: str | None = KEY, **kwargs: Any) -> Any:
        headers = {"Content-Type": "application/fhir+json", **kwargs.pop("headers", {})}
        if key is not None:
            headers.setdefault("Authorization", f"Bearer {key}")
        response = self._client.open(path, method=method, headers=headers, **kwargs)
        if response.is_json and response.data and "resourceType" in (response.json or {}):
            remember(response.get_json())
        return response

    def cancel(self, appointment_id: str, body: Any = None, source: str = "heim", **kwargs: Any) -> Any:
        if body is None:
            body = {"resourceType": "Appointment", "status": "cancelled"}
        data = body if isinstance(body, (str, bytes)) else json.dumps(body)
        return self.request("POST", f"/Appointment/{source}/{appointment_id}", data=data, **kwargs)

    def read(self, appointment_id: str, source: str = "heim", **kwargs: Any) -> Any:
        return self.request("GET", f"/Appointment/{source}/{appointment_id}", **kwargs)


MakeFacade = Callable[..., FacadeClient]


@pytest.fixture
def make(
    heim: SimulatorHost,
    tmp_path: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    _hosts: list[SimulatorHost],
) -> MakeFacade:
    """Build a facade in front of the simulators from pieces of configuration.

    It has far more time than any machine needs; what hangs is given up at once.
    """
    give_up_only_what_hangs(monkeypatch, _hosts)

    def build(
        *,
        facade: str = "",
        clients: str = "",
        settings: str = "",
        more: str = "",
        base_url: str = "",
        answer_within: float = PATIENT,
        **edits: str,
    ) -> FacadeClient:
        text = CONFIG.format(
            facade=facade, clients=clients, settings=settings, more=more, heim=base_url or heim.source_url("heim")
        )
        for old, new in edits.items():
            text = text.replace(old, new)
        path = tmp_path / "facade.toml"
        path.write_text(text, "utf-8")
        built = assemble(path)
        timers = replace(Timers.for_response_within(answer_within), send_guard=PATIENT)
        built = compose(built.config, built.sources, built.ledger, timers, Budget(answer_within))
        built.open_store()
        request.addfinalizer(built.ledger.engine.dispose)
        return FacadeClient(create_app(built), built)

    return build


@pytest.fixture
def client(make: MakeFacade) -> FacadeClient:
    """A facade as the sandbox has it, but for its patience."""
    return make()


@pytest.fixture(scope="session")
def _fhir_host(_hosts: list[SimulatorHost]) -> Iterator[SimulatorHost]:
    with serve({"fhir_r4": WatchedFhir()}, timings=Timings(late_commit=0.1)) as host:
        _hosts.append(host)
        yield host


@pytest.fixture
def fhir(_fhir_host: SimulatorHost, monkeypatch: pytest.MonkeyPatch) -> WatchedFhir:
    """A FHIR R4 server, as seeded."""
    monkeypatch.setenv("FHIR_TOKEN", TOKEN)
    server = _fhir_host.simulators["fhir_r4"]
    assert isinstance(server, WatchedFhir)
    server.url = _fhir_host.source_url("fhir_r4")
    _fhir_host.reset()
    return server


@pytest.fixture
def fhir_facade(make: MakeFacade, fhir: WatchedFhir) -> MakeFacade:
    """Build a facade in front of it, as the source ``fhir``, from settings of that source."""

    def build(settings: str = "", access: str = BY_TOKEN) -> FacadeClient:
        return make(more=SOURCE.format(url=fhir.url, settings=access + settings))

    return build


@pytest.fixture(scope="session")
def validate() -> Callable[[list[Resource]], list[list[str]]]:
    """An independent R4 validator: for each resource, what is wrong with it."""
    return partial(validated, node())
