"""What every theme of the conformance kit stands on: what an author gives, and the fixtures made of it."""

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
from facade.testing.conformance.harness import HL7_CODE, ROOM, Bench, Trial
from facade.testing.conformance.readme import find
from facade.testing.simulator import BareSimulator
from facade.testing.simulator.faults import FAULTS, Timings
from facade.testing.simulator.host import is_servable, serve

TIMINGS = Timings(silence=5.0, drip=0.05, late_commit=0.8)

_BENCH = pytest.StashKey[Bench]()
_RUNS = pytest.StashKey[dict[str, fault_runs.Run]]()


def must(condition: object, sentence: str) -> None:
    """Fail with this sentence unless the condition holds."""
    if not condition:
        fail(sentence)


def fail(sentence: str) -> NoReturn:
    """Fail with this sentence, which names the thing and the next step."""
    # Of what led here pytest would print a chain, and the sentence says it.
    raise pytest.fail.Exception(sentence, pytrace=False) from None


def cannot(what: str) -> NoReturn:
    """Switch a test off: the source has no such thing."""
    pytest.skip(f"cannot: {what}")


def not_yet(what: str) -> NoReturn:
    """Switch a test off: the source has it, and the plugin does not use it."""
    pytest.skip(f"not yet: {what}")


def only_if_readable(system: SourcePlugin) -> None:
    """Switch a test off for a source that is not read, and say which kind of not."""
    if system.capabilities.read is Support.NONE:
        cannot("this source has no read (Capabilities.read)")
    if system.capabilities.read is Support.NOT_IMPLEMENTED:
        not_yet("this plugin does not read (Capabilities.read)")


def prepare(trial: Trial, appointment_id: str, hl7_code: str = HL7_CODE) -> tuple[CancelRequest, Appointment | None]:
    """What the use case would hand to the adapter."""
    try:
        return trial.prepared(appointment_id, hl7_code)
    except SourceError as error:
        fail(f"an ordinary read raises {type(error).__name__} ({error}); make it work first")


def answered(act: Callable[[str], Appointment], appointment_id: str) -> Appointment:
    """The facade's answer to an ordinary cancel or read."""
    try:
        return act(appointment_id)
    except FacadeError as error:
        fail(f"an ordinary request ends in {type(error).__name__}; make it work first")


def eventually(happened: Callable[[], object], otherwise: str) -> None:
    """Wait until it has happened, or fail with this sentence."""
    pause, ends_at = threading.Event(), time.monotonic() + ROOM
    while not happened():
        must(time.monotonic() < ends_at, otherwise)
        pause.wait(0.01)


class Kit:
    """What the author gives; SourceConformance says what must, may and must never be overridden."""

    plugin: str = ""
    secrets: ClassVar[Mapping[str, str]] = {}
    files: ClassVar[Mapping[str, str]] = {}

    def settings(self, url: str) -> dict[str, Any]:
        """The source's table in the configuration, without ``plugin``; ``url`` is where the simulator is reached."""
        raise NotImplementedError(f"{type(self).__name__} has no settings; write settings(self, url)")

    def source_system(self) -> SourcePlugin:
        """The declaration under test: the installed plugin's."""
        try:
            return load_plugin(self.plugin).declaration
        except ConfigurationError as error:
            fail("; and ".join(error.problems))

    @contextmanager
    def serve(self, simulator: BareSimulator) -> Iterator[str]:
        """Serve the simulator with the timings of TIMINGS; where it is reached, as ``settings`` takes it."""
        if not is_servable(simulator):
            fail("the simulator is not HTTP and has no listener; write BareSimulator.listener, or override serve")
        with serve({self.plugin: simulator}, timings=TIMINGS) as host:
            yield host.source_url(self.plugin)

    def readme(self) -> str:
        """The text of the plugin's README.md: beside its module, beside its setup, or in its distribution."""
        return find(self.plugin)

    @pytest.fixture
    def bench(self, request: pytest.FixtureRequest) -> Iterator[Bench]:
        """The simulator, served as long as this class's tests run, and the secrets in their places."""
        owner = _class_of(request)
        # For each test anew: whatever else sets variables, these are the ones in force.
        with patch.dict(os.environ, self.secrets):
            if _BENCH not in owner.stash:
                try:
                    owner.stash[_BENCH] = Bench(self)
                except ConfigurationError as error:
                    fail(str(error))
                owner.stash[_RUNS] = {}
                owner.addfinalizer(owner.stash[_BENCH].close)
            yield owner.stash[_BENCH]

    @pytest.fixture
    def trial(self, bench: Bench) -> Iterator[Trial]:
        """The source as seeded, and a facade of its own before it."""
        try:
            with bench.trial() as trial:
                yield trial
        except ConfigurationError as error:
            fail(str(error))

    @pytest.fixture
    def under(self, bench: Bench, request: pytest.FixtureRequest) -> "Under":
        """What came of a cancel under a fault, by the fault's name; each is tried once for all tests."""
        return Under(bench, _class_of(request).stash[_RUNS])


def _class_of(request: pytest.FixtureRequest) -> pytest.Class:
    owner: pytest.Class = request.node.getparent(pytest.Class)
    return owner


class Under:
    """The runs under faults that were made so far, and those that are still to be made."""

    def __init__(self, bench: Bench, made: dict[str, fault_runs.Run]) -> None:
        self._bench = bench
        self._made = made

    @property
    def simulator(self) -> BareSimulator:
        """The source's stand-in."""
        return self._bench.simulator

    def __call__(self, name: str) -> fault_runs.Run:
        """The run under this fault. Skips the test where the fault cannot be."""
        fault = FAULTS[name]
        if not self.possible(name):
            cannot(f"its transport shows no source that {fault.behaviour.value} (Simulator.behaviours)")
        if fault.operation == "read":
            only_if_readable(self._bench.plugin)
        if name not in self._made:
            try:
                self._made[name] = fault_runs.run(self._bench, name)
            except ConfigurationError as error:
                fail(str(error))
        return self._made[name]

    def possible(self, name: str) -> bool:
        """Whether the simulator's transport can show this fault."""
        return FAULTS[name].behaviour in self._bench.simulator.behaviours

    def every(self) -> list[fault_runs.Run]:
        """The runs under every fault that there can be."""
        readable = self._bench.plugin.capabilities.read is Support.FULL
        return [
            self(name)
            for name, fault in FAULTS.items()
            if self.possible(name) and (readable or fault.operation == "cancel")
        ]
