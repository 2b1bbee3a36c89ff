"""The base of the kit's test classes: what the author defines, the fixtures, and how a test fails or skips."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, NoReturn
from unittest.mock import patch

import pytest

from facade.errors import ConfigurationError, FacadeError, SourceError
from facade.plugin.contract import Appointment, CancelRequest, SourcePlugin, Support
from facade.plugin.discovery import load_plugin
from facade.testing.conformance import fault_runs
from facade.testing.conformance.harness import HL7_CODE, TIME_LIMIT, Harness, Trial
from facade.testing.conformance.readme import find
from facade.testing.simulator import BareSimulator
from facade.testing.simulator.faults import FAULTS, Timings
from facade.testing.simulator.host import is_servable, serve

TIMINGS = Timings(silence=5.0, drip=0.05, late_commit=0.8)
"""The timings of faults in the kit's runs; ``serve(simulator)`` of a source that is not HTTP uses them."""

_HARNESS = pytest.StashKey[Harness]()
_RUNS = pytest.StashKey[dict[str, fault_runs.FaultRun]]()


def must(condition: object, sentence: str) -> None:
    """Fail with this sentence unless the condition is true."""
    if not condition:
        fail(sentence)


def fail(sentence: str) -> NoReturn:
    """Fail with this sentence, which names the thing and the next step."""
    # The sentence says everything; pytest would add the chain of exceptions.
    raise pytest.fail.Exception(sentence, pytrace=False) from None


def not_supported(what: str) -> NoReturn:
    """Skip a test because the source has no such feature."""
    pytest.skip(f"not supported: {what}")


def not_implemented(what: str) -> NoReturn:
    """Skip a test because the plugin does not use the source's feature."""
    pytest.skip(f"not implemented: {what}")


def only_if_readable(system: SourcePlugin) -> None:
    """Skip a test for a source that is not read."""
    if system.capabilities.read is Support.NONE:
        not_supported("reads (Capabilities.read)")
    if system.capabilities.read is Support.NOT_IMPLEMENTED:
        not_implemented("reads (Capabilities.read)")


def prepare(trial: Trial, appointment_id: str, hl7_code: str = HL7_CODE) -> tuple[CancelRequest, Appointment | None]:
    """Return what the use case would pass to the adapter: the request and the current appointment."""
    try:
        return trial.prepared(appointment_id, hl7_code)
    except SourceError as error:
        fail(f"an ordinary read raises {type(error).__name__} ({error}); make it work first")


def response_to(act: Callable[[str], Appointment], appointment_id: str) -> Appointment:
    """Return the facade's response to an ordinary cancel or read."""
    try:
        return act(appointment_id)
    except FacadeError as error:
        fail(f"an ordinary request ends in {type(error).__name__}; make it work first")


def eventually(happened: Callable[[], object], otherwise: str) -> None:
    """Wait until ``happened`` returns a true value, or fail with this sentence."""
    pause, ends_at = threading.Event(), time.monotonic() + TIME_LIMIT
    while not happened():
        must(time.monotonic() < ends_at, otherwise)
        pause.wait(0.01)


class Kit:
    """What the author defines or overrides; the docstring of SourceConformance lists it."""

    plugin: str = ""
    secrets: ClassVar[Mapping[str, str]] = {}
    files: ClassVar[Mapping[str, str]] = {}

    def settings(self, url: str) -> dict[str, Any]:
        """Return the source's table in the configuration, without ``plugin``. ``url`` is the simulator's address."""
        raise NotImplementedError(f"{type(self).__name__} has no settings; write settings(self, url)")

    def source_plugin(self) -> SourcePlugin:
        """Return the declaration under test: the installed plugin's."""
        try:
            return load_plugin(self.plugin).declaration
        except ConfigurationError as error:
            fail("; and ".join(error.problems))

    @contextmanager
    def serve(self, simulator: BareSimulator) -> Iterator[str]:
        """Serve the simulator with TIMINGS. The block gets its address in the form that ``settings`` takes."""
        if not is_servable(simulator):
            fail("the simulator is not HTTP and has no listener; write BareSimulator.listener, or override serve")
        with serve({self.plugin: simulator}, timings=TIMINGS) as host:
            yield host.source_url(self.plugin)

    def readme(self) -> str:
        """Return the plugin's README.md, found beside its module, beside its setup file or in its distribution."""
        return find(self.plugin)

    @pytest.fixture
    def harness(self, request: pytest.FixtureRequest) -> Iterator[Harness]:
        """Serve the simulator while this class's tests run, with the secrets in the environment."""
        owner = _class_of(request)
        # Set for each test: other tests in the process may change the environment.
        with patch.dict(os.environ, self.secrets):
            if _HARNESS not in owner.stash:
                try:
                    owner.stash[_HARNESS] = Harness(self)
                except ConfigurationError as error:
                    fail(str(error))
                owner.stash[_RUNS] = {}
                owner.addfinalizer(owner.stash[_HARNESS].close)
            yield owner.stash[_HARNESS]

    @pytest.fixture
    def trial(self, harness: Harness) -> Iterator[Trial]:
        """Reset the simulator, and create a facade for this test."""
        try:
            with harness.trial() as trial:
                yield trial
        except ConfigurationError as error:
            fail(str(error))

    @pytest.fixture
    def fault_run(self, harness: Harness, request: pytest.FixtureRequest) -> "FaultRuns":
        """Return the result of a cancel under a fault, by the fault's name. Each fault runs once for all tests."""
        return FaultRuns(harness, _class_of(request).stash[_RUNS])


def _class_of(request: pytest.FixtureRequest) -> pytest.Class:
    owner: pytest.Class = request.node.getparent(pytest.Class)
    return owner


class FaultRuns:
    """Runs a cancel under each fault when a test first asks for it, and keeps the result."""

    def __init__(self, harness: Harness, finished: dict[str, fault_runs.FaultRun]) -> None:
        self._harness = harness
        self._finished = finished

    @property
    def simulator(self) -> BareSimulator:
        """The source's simulator."""
        return self._harness.simulator

    def __call__(self, name: str) -> fault_runs.FaultRun:
        """Return the run under this fault. Skips the test if the simulator cannot show the fault."""
        fault = FAULTS[name]
        if not self.possible(name):
            not_supported(f"the transport cannot show a source that {fault.behaviour.value} (Simulator.behaviours)")
        if fault.operation == "read":
            only_if_readable(self._harness.plugin)
        if name not in self._finished:
            try:
                self._finished[name] = fault_runs.run_fault(self._harness, name)
            except ConfigurationError as error:
                fail(str(error))
        return self._finished[name]

    def possible(self, name: str) -> bool:
        """Return whether the simulator's transport can show this fault."""
        return FAULTS[name].behaviour in self._harness.simulator.behaviours

    def every(self) -> list[fault_runs.FaultRun]:
        """Return the runs under every fault that the simulator can show."""
        readable = self._harness.plugin.capabilities.read is Support.FULL
        return [
            self(name)
            for name, fault in FAULTS.items()
            if self.possible(name) and (readable or fault.operation == "cancel")
        ]
