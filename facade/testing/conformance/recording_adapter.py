"""Record the calls between the facade and an adapter."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from facade.plugin.contract import Appointment, CancelRequest, SourceAdapter, SourceConfig, SourcePlugin, WritePermit
from facade.testing.simulator import BareSimulator
from facade.testing.simulator.faults import Operation


@dataclass
class Call:
    """One call of an adapter: what it returned or raised, and its duration in seconds.

    ``permits``, ``logged`` and ``numbers`` have one number for each time the adapter took the permit. ``permits``: how
    many cancels of this appointment the source had received since the call began. ``logged``: how many entries about
    this appointment the source's log contained. ``numbers``: the number of the log's newest entry.
    """

    operation: Operation
    appointment_id: str
    result: Any = None
    error: BaseException | None = None
    seconds: float = 0.0
    permits: list[int] = field(default_factory=list)
    logged: list[int] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)


def _do_nothing(_: Call) -> None:
    """The default of ``Record.after_permit``."""


@dataclass
class Record:
    """The calls of one adapter, oldest first. ``after_permit`` is called between a permit and its write."""

    calls: list[Call] = field(default_factory=list)
    after_permit: Callable[[Call], None] = _do_nothing

    def of(self, operation: Operation) -> list[Call]:
        """Return the calls of one operation."""
        return [call for call in self.calls if call.operation == operation]


class RecordingAdapter(SourceAdapter):
    """Calls another adapter and records what happens."""

    def __init__(self, adapter: SourceAdapter, simulator: BareSimulator, record: Record) -> None:
        self._adapter = adapter
        self._simulator = simulator
        self._record = record

    def read(self, appointment_id: str) -> Appointment:
        """Call the adapter's read."""
        return self._recorded(Call("read", appointment_id), lambda: self._adapter.read(appointment_id))

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """Call the adapter's cancel with a permit that records when it is taken."""
        call = Call("cancel", request.appointment_id)
        before = self._simulator.log.count("cancel", request.appointment_id)

        def recording_permit() -> None:
            call.permits.append(self._simulator.log.count("cancel", request.appointment_id) - before)
            call.logged.append(len(self._simulator.log.entries(request.appointment_id)))
            call.numbers.append(self._simulator.log.last)
            permit()
            self._record.after_permit(call)

        return self._recorded(call, lambda: self._adapter.cancel(request, current, recording_permit))

    def _recorded(self, call: Call, act: Callable[[], Appointment]) -> Appointment:
        started = time.monotonic()
        try:
            result = act()
        except BaseException as error:
            call.error = error
            raise
        else:
            call.result = result
            return result
        finally:
            call.seconds = time.monotonic() - started
            self._record.calls.append(call)


def recorded(plugin: SourcePlugin, simulator: BareSimulator, record: Record) -> SourcePlugin:
    """Return the same declaration with recording adapters."""

    def build(config: SourceConfig) -> SourceAdapter:
        adapter = plugin.adapter(config)
        # Anything else is passed on, because the registry rejects what is not an adapter.
        return RecordingAdapter(adapter, simulator, record) if isinstance(adapter, SourceAdapter) else adapter

    return replace(plugin, adapter=build)
