"""The harness of the conformance kit: a served simulator, and facades before it, on a real ledger."""

import itertools
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

from facade.app import Facade, compose
from facade.cancellation.budget import Budget
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.config import Config, absolute
from facade.deadline import deadline
from facade.errors import Cause, ConfigurationError, NotFound, OutcomeUnknown, SourceError, Unavailable
from facade.fhir.reasons import SYSTEM
from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.ledger.store import Ledger
from facade.plugin import registry
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment, CancelRequest, Coding, SourcePlugin, WritePermit
from facade.plugin.discovery import InstalledPlugin
from facade.testing.conformance import source_log
from facade.testing.conformance.log_capture import log_capture
from facade.testing.conformance.recording_adapter import Record, recorded
from facade.testing.simulator import BareSimulator, LogEntry
from facade.testing.simulator.faults import Behaviour

SOURCE_SYSTEM = "urn:fhir-facade:source-system"
HL7_CODE = "pat-mv"
NOTE = "CANARY: a note of the patient"
TIME_LIMIT = 10.0  # seconds for what should take almost no time, because the machine may be slow

_CONFIG = Config(
    base_path="",
    answer_within=8.0,
    default_source=None,
    source_identifier_system=SOURCE_SYSTEM,
    explain_proposed=True,
    store="",
    auth_mode="none",
    clients=(),
)
# Leases and windows are long, so that none expires on a slow machine; only the reads in doubt follow quickly.
_TIMERS = Timers(lease=120.0, sending=120.0, send_guard=60.0, reads=(0.05,), hint=0.0, poll=0.01, hold=0.0, tick=0.05)


@dataclass(frozen=True)
class Shares(Budget):
    """A budget with independent parts, so that only the part that meets a silent source is short."""

    answer_within: float = 4 * TIME_LIMIT
    work: float = 4 * TIME_LIMIT
    read: float = TIME_LIMIT
    write: float = TIME_LIMIT
    probe: float = TIME_LIMIT


class Author(Protocol):
    """What the author of a plugin defines."""

    plugin: str
    files: ClassVar[Mapping[str, str]]

    def settings(self, url: str) -> dict[str, Any]:
        """Return the source's table in the configuration."""

    def source_plugin(self) -> SourcePlugin:
        """Return the declaration under test."""

    def serve(self, simulator: BareSimulator) -> AbstractContextManager[str]:
        """Serve the simulator; the block gets its address."""


@dataclass
class Trial:
    """One facade before a simulator that was reset, for the length of a block.

    ``lines`` contains what was logged and printed, and is complete after the block.
    """

    harness: "Harness"
    facade: Facade
    source: ConfiguredSource
    record: Record
    lines: list[str] = field(default_factory=list)

    @property
    def simulator(self) -> BareSimulator:
        """The source's simulator."""
        return self.harness.simulator

    @property
    def readable(self) -> bool:
        """Whether the plugin declares that the source is read."""
        return self.source.readable

    def appointment(self, number: int = 0) -> str:
        """Return the id of an ordinary appointment that can be cancelled; each number is another appointment."""
        # The appointments of the read faults are disarmed for this, except the silent one.
        faults = self.simulator.fault_ids().items()
        found = [one for one, fault in faults if fault.operation == "read" and fault.behaviour is not Behaviour.SILENCE]
        self.simulator.faults.disarm(found[number])
        return found[number]

    def faulty(self, name: str) -> str:
        """Return the id of the appointment for which this fault is armed."""
        return next(found for found, fault in self.simulator.fault_ids().items() if fault.name == name)

    def same(self, found: Any, appointment_id: str) -> bool:
        """Return whether this is the appointment's id, in any spelling that the source accepts."""
        return same_id(self.source, found, appointment_id)

    def request(self, appointment_id: str, hl7_code: str = HL7_CODE) -> CancelRequest:
        """Return a cancel request as the web layer creates it."""
        return CancelRequest(appointment_id=appointment_id, codings=(Coding(SYSTEM, hl7_code),), text=NOTE, note=NOTE)

    def cancel(self, appointment_id: str) -> Appointment:
        """Return the facade's response to a cancel. Raises NotFound, Unavailable."""
        requester = Requester("conformance")
        return self.facade.cancellations.cancel(self.source, self.request(appointment_id), requester).appointment

    def outcome(self, appointment_id: str) -> str:
        """Cancel, and return the status of the response, "not found" or "unavailable"."""
        try:
            return str(self.cancel(appointment_id)["status"])
        except NotFound:
            return "not found"
        except Unavailable:
            return "unavailable"

    def read(self, appointment_id: str) -> Appointment:
        """Return the facade's response to a read. Raises NotFound, Unavailable."""
        return self.facade.cancellations.read(self.source, appointment_id).appointment

    def read_directly(self, appointment_id: str, seconds: float = TIME_LIMIT) -> Any:
        """Call the adapter's read. Any error but a SourceError becomes OutcomeUnknown, as in the use case."""
        return _direct(seconds, lambda: self.source.adapter.read(appointment_id))

    def cancel_directly(
        self, request: CancelRequest, current: Appointment | None, permit: WritePermit, seconds: float = TIME_LIMIT
    ) -> Any:
        """Call the adapter's cancel, likewise. What the permit raises is not changed."""
        return _direct(seconds, lambda: self.source.adapter.cancel(request, current, permit))

    def prepared(self, appointment_id: str, hl7_code: str = HL7_CODE) -> tuple[CancelRequest, Appointment | None]:
        """Return what the use case would pass to the adapter: the request with its native reason, the current state."""
        request, mapping = self.request(appointment_id, hl7_code), self.source.mapping
        if mapping is not None:
            request = replace(request, native_reason=mapping.choose(request.codings))
        return request, self.read_directly(appointment_id) if self.readable else None

    def cancel_by_another(self, appointment_id: str) -> str:
        """Cancel through another facade, and return the outcome. The source's log is empty afterwards."""
        facade, source = self.harness.facade(Record())
        reported = replace(self, facade=facade, source=source).outcome(appointment_id)
        self.simulator.log.clear()
        return reported

    def entries(self, appointment_id: str | None = None) -> list[LogEntry]:
        """Return the source's log, of one appointment or of all."""
        return self.simulator.log.entries(appointment_id)

    def writes(self, appointment_id: str) -> int:
        """Count the cancels of one appointment that the source has received."""
        return self.simulator.log.count("cancel", appointment_id)

    def other_requests(self) -> list[LogEntry]:
        """Return the requests that are neither a read nor a cancel, nor harmless by their HTTP method."""
        return source_log.other_requests(self.simulator)

    def other_writes(self, appointment_id: str) -> list[str]:
        """Return the methods of the requests that are writes besides one appointment's cancel."""
        return source_log.other_writes(self.simulator, self.record, appointment_id)


def same_id(source: ConfiguredSource, found: Any, appointment_id: str) -> bool:
    """Return whether two ids are spellings of one id. A text that is not an id of the source is another id."""
    try:
        return isinstance(found, str) and source.canonical(found) in (appointment_id, source.canonical(appointment_id))
    except Exception:  # noqa: BLE001 - a plugin's form may fail for a text that is not an id of its source
        return False


def _direct(seconds: float, act: Callable[[], Any]) -> Any:
    try:
        with deadline(seconds):
            return act()
    except (SourceError, Unavailable):
        raise
    except Exception as error:
        raise OutcomeUnknown(Cause.INTERNAL, type(error).__name__) from error


class Harness:
    """Serves the simulator of one plugin until it is closed, and builds facades before it."""

    def __init__(self, author: Author) -> None:
        self._author = author
        self._stack = ExitStack()
        self.plugin = author.source_plugin()
        if self.plugin.simulator is None:
            raise ConfigurationError("there is no simulator; name one in the declaration: SourcePlugin(simulator=…)")
        self.simulator = self.plugin.simulator()
        self._numbers = itertools.count(1)
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="facade-conformance-")))
        for name, text in author.files.items():
            (self._folder / name).write_text(text, "utf-8")
        # A file, because an in-memory SQLite database belongs to one connection, and each thread has its own.
        self._ledger = Ledger(connect(f"sqlite:///{self._folder / 'ledger.db'}"))
        migrate.upgrade(self._ledger.engine)
        self._stack.callback(self._ledger.engine.dispose)
        self.url = self._stack.enter_context(author.serve(self.simulator))

    def close(self) -> None:
        """Stop serving."""
        self._stack.close()

    def closed_url(self) -> str:
        """Return an address where a simulator was served and nothing listens any more."""
        if self.plugin.simulator is None:
            raise AssertionError("the constructor requires a simulator")
        with self._author.serve(self.plugin.simulator()) as url:
            return url

    def build(self, *, url: str | None = None, record: Record | None = None, **settings: Any) -> ConfiguredSource:
        """Build the source with the author's settings. Raises ConfigurationError."""
        table = {"plugin": self._author.plugin, **self._author.settings(url or self.url), **settings}
        return self.build_table(table, record or Record())

    def build_table(self, table: Mapping[str, Any], record: Record) -> ConfiguredSource:
        """Build the source of a configuration's table, under a new name. Raises ConfigurationError."""
        name = f"{self._author.plugin}-{next(self._numbers)}"
        plugin = recorded(self.plugin, self.simulator, record)
        table = absolute(table, self._folder)
        return registry.build(
            {name: table}, SOURCE_SYSTEM, lambda _: InstalledPlugin(plugin, "the plugin under test", "")
        )[name]

    def facade(
        self, record: Record, *, url: str | None = None, budget: Budget | None = None
    ) -> tuple[Facade, ConfiguredSource]:
        """Build a facade with its own adapter. All facades share the ledger; each has its own source name in it."""
        source = self.build(url=url, record=record)
        return compose(_CONFIG, {source.name: source}, self._ledger, _TIMERS, budget or Shares()), source

    @contextmanager
    def trial(self, *, url: str | None = None, budget: Budget | None = None) -> Iterator[Trial]:
        """Reset the simulator, build a new facade, and capture what is logged and printed."""
        self.simulator.reset()
        record, lines = Record(), list[str]()
        with log_capture() as captured:
            yield Trial(self, *self.facade(record, url=url, budget=budget), record, lines)
        lines += captured.lines
