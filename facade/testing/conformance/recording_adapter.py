"""What passes between the facade and an adapter, call by call, without the adapter's knowing."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from facade.plugin.contract import Appointment, CancelRequest, SourceAdapter, SourceConfig, SourcePlugin, WritePermit
from facade.testing.simulator import BareSimulator
from facade.testing.simulator.faults import Operation


@dataclass
class Call:
    """One call of an adapter: what it gave or raised, and how long it took, in seconds.

    ``permits`` has a number for each time the permit was asked for: how many cancels of this appointment the
    source had received since the call began. ``logged`` has one likewise: how many entries about this appointment
    the source's log then held, and ``numbers`` the number of the newest entry about anything.
    """

    operation: Operation
    appointment_id: str
    result: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    permits: list[int] = field(default_factory=list)
    logged: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def _nothing(_: Call) -> None:
    """Where a test may let something happen between the permit and the write."""


@dataclass
class Record:
    """The calls of one adapter, oldest first; ``after_permit`` is called when one has taken its permit."""

    calls: list[Call] = field(default_factory=list)
    after_permit: Callable[[Call], None] = _nothing

    def of(self, operation: Operation) -> list[Call]:
        """The calls of one kind."""
        return [call for call in self.calls if call.operation == operation]


class Recorder(SourceAdapter):
    """Stands before an adapter and writes down what happens."""

    def __init__(self, adapter: SourceAdapter, simulator: BareSimulator, record: Record) -> None:
        self._adapter = adapter
        self._simulator = simulator
        self._record = record

    def read(self, appointment_id: str) -> Appointment:
        """As the adapter does."""
        return self._noted(Call("read", appointment_id), lambda: self._adapter.read(appointment_id))

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """As the adapter does, its permit watched."""
        call = Call("cancel", request.appointment_id)
        before = self._simulator.log.count("cancel", request.appointment_id)

        def watched() -> None:
            call.permits.append(self._simulator.log.count("cancel", request.appointment_id) - before)
            call.logged.append(len(self._simulator.log.entries(request.appointment_id)))
            call.numbers.append(self._simulator.log.last)
            permit()
            self._record.after_permit(call)

        return self._noted(call, lambda: self._adapter.cancel(request, current, watched))

    def _noted(self, call: Call, act: Callable[[], Appointment]) -> Appointment:
        begun = time.monotonic()
        try:
            given = act()
        except BaseException as error:
            call.error = error
            raise
        else:
            call.result = given
            return given
        finally:
            call.seconds = time.monotonic() - begun
            self._record.calls.append(call)


def recorded(system: SourcePlugin, simulator: BareSimulator, record: Record) -> SourcePlugin:
    """The same source system with recorded adapters."""

    def build(config: SourceConfig) -> SourceAdapter:
        adapter = system.adapter(config)
        # What is no adapter is for the registry to refuse.
        return Recorder(adapter, simulator, record) if isinstance(adapter, SourceAdapter) else adapter

    return replace(system, adapter=build)
