"""A source's simulator being served, and facades before it: the real use case on a real ledger."""

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
from facade.testing.conformance.log_capture import hearing
from facade.testing.conformance.recording_adapter import Record, recorded
from facade.testing.simulator import BareSimulator, LogEntry
from facade.testing.simulator.faults import Behaviour

SOURCE_SYSTEM = "urn:fhir-facade:source-system"
HL7_CODE = "pat-mv"
SAID = "CANARY: she told us so"
ROOM = 10.0  # seconds for what ought to take none: a machine may be slow

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
# Nothing may expire while a slow machine thinks; only what follows doubt is quick.
_TIMERS = Timers(lease=120.0, sending=120.0, send_guard=60.0, reads=(0.05,), hint=0.0, poll=0.01, hold=0.0, tick=0.05)


@dataclass(frozen=True)
class Shares(Budget):
    """A budget whose parts are given one by one, so that the one that meets a silence can be short."""

    answer_within: float = 4 * ROOM
    work: float = 4 * ROOM
    read: float = ROOM
    write: float = ROOM
    probe: float = ROOM


class Author(Protocol):
    """What the author of a source gives."""

    plugin: str
    files: ClassVar[Mapping[str, str]]

    def settings(self, url: str) -> dict[str, Any]:
        """The source's table in the configuration."""

    def source_system(self) -> SourcePlugin:
        """The declaration under test."""

    def serve(self, simulator: BareSimulator) -> AbstractContextManager[str]:
        """Serve the simulator; where it is reached."""


@dataclass
class Trial:
    """One facade before the source as seeded, for the length of a block; ``lines`` are complete after it."""

    bench: "Bench"
    facade: Facade
    source: ConfiguredSource
    record: Record
    lines: list[str] = field(default_factory=list)

    @property
    def simulator(self) -> BareSimulator:
        """The source's stand-in."""
        return self.bench.simulator

    @property
    def readable(self) -> bool:
        """Whether the source is declared to be."""
        return self.source.readable

    def appointment(self, number: int = 0) -> str:
        """The id of an appointment that can be cancelled, without a fault; each number is another one."""
        # The faults of reads have the ones to spare; the one that is silent stays as it is.
        faults = self.simulator.fault_ids().items()
        found = [one for one, fault in faults if fault.operation == "read" and fault.behaviour is not Behaviour.SILENCE]
        self.simulator.faults.disarm(found[number])
        return found[number]

    def faulty(self, name: str) -> str:
        """The id of the appointment that is armed with this fault."""
        return next(found for found, fault in self.simulator.fault_ids().items() if fault.name == name)

    def same(self, found: Any, appointment_id: str) -> bool:
        """Whether this is the appointment's id, in any spelling that the source takes for it."""
        return same_id(self.source, found, appointment_id)

    def request(self, appointment_id: str, hl7_code: str = HL7_CODE) -> CancelRequest:
        """A wish to cancel, as the web layer makes one."""
        return CancelRequest(appointment_id=appointment_id, codings=(Coding(SYSTEM, hl7_code),), text=SAID, note=SAID)

    def cancel(self, appointment_id: str) -> Appointment:
        """The facade's answer to a cancel. Raises NotFound, Unavailable."""
        requester = Requester("conformance")
        return self.facade.cancellations.cancel(self.source, self.request(appointment_id), requester).appointment

    def outcome(self, appointment_id: str) -> str:
        """What a requester is told about a cancel, in a word or two."""
        try:
            return str(self.cancel(appointment_id)["status"])
        except NotFound:
            return "not found"
        except Unavailable:
            return "unavailable"

    def read(self, appointment_id: str) -> Appointment:
        """The facade's answer to a read. Raises NotFound, Unavailable."""
        return self.facade.cancellations.read(self.source, appointment_id).appointment

    def read_directly(self, appointment_id: str, seconds: float = ROOM) -> Any:
        """What the adapter itself gives or raises; what is no SourceError is OutcomeUnknown, as the use case has it."""
        return _direct(seconds, lambda: self.source.adapter.read(appointment_id))

    def cancel_directly(
        self, request: CancelRequest, current: Appointment | None, permit: WritePermit, seconds: float = ROOM
    ) -> Any:
        """What the adapter itself gives or raises, likewise; what the permit raises comes through."""
        return _direct(seconds, lambda: self.source.adapter.cancel(request, current, permit))

    def prepared(self, appointment_id: str, hl7_code: str = HL7_CODE) -> tuple[CancelRequest, Appointment | None]:
        """What the use case would hand to the adapter: the request with its native reason, and the current state."""
        request, mapping = self.request(appointment_id, hl7_code), self.source.mapping
        if mapping is not None:
            request = replace(request, native_reason=mapping.choose(request.codings))
        return request, self.read_directly(appointment_id) if self.readable else None

    def cancel_by_another(self, appointment_id: str) -> str:
        """Have somebody else cancel it, past this facade; what they were told. The source's log is empty then."""
        facade, source = self.bench.facade(Record())
        told = replace(self, facade=facade, source=source).outcome(appointment_id)
        self.simulator.log.clear()
        return told

    def entries(self, appointment_id: str | None = None) -> list[LogEntry]:
        """What the source has received, about one appointment or at all."""
        return self.simulator.log.entries(appointment_id)

    def writes(self, appointment_id: str) -> int:
        """How many cancels of one appointment the source has received."""
        return self.simulator.log.count("cancel", appointment_id)

    def other_requests(self) -> list[LogEntry]:
        """What the source received that is neither read nor cancel, nor harmless by its HTTP method."""
        return source_log.other_requests(self.simulator)

    def other_writes(self, appointment_id: str) -> list[str]:
        """The methods of what was sent besides one appointment's cancel, and is more than a token's request."""
        return source_log.other_writes(self.simulator, self.record, appointment_id)


def same_id(source: ConfiguredSource, found: Any, appointment_id: str) -> bool:
    """Whether two ids are spellings of one; what is no id of the source is another one."""
    try:
        return isinstance(found, str) and source.canonical(found) in (appointment_id, source.canonical(appointment_id))
    except Exception:  # noqa: BLE001 - a plugin's form may fail over what is no id of its source
        return False


def _direct(seconds: float, act: Callable[[], Any]) -> Any:
    try:
        with deadline(seconds):
            return act()
    except (SourceError, Unavailable):
        raise
    except Exception as error:
        raise OutcomeUnknown(Cause.INTERNAL, type(error).__name__) from error


class Bench:
    """The simulator of one source system, served until closed, and facades built before it."""

    def __init__(self, author: Author) -> None:
        self._author = author
        self._stack = ExitStack()
        self.plugin = author.source_system()
        if self.plugin.simulator is None:
            raise ConfigurationError("there is no simulator; name one in the declaration: SourcePlugin(simulator=…)")
        self.simulator = self.plugin.simulator()
        self._numbers = itertools.count(1)
        self._folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="facade-conformance-")))
        for name, text in author.files.items():
            (self._folder / name).write_text(text, "utf-8")
        # A file: SQLite in memory belongs to one connection, and threads have one each.
        self._ledger = Ledger(connect(f"sqlite:///{self._folder / 'ledger.db'}"))
        migrate.upgrade(self._ledger.engine)
        self._stack.callback(self._ledger.engine.dispose)
        self.url = self._stack.enter_context(author.serve(self.simulator))

    def close(self) -> None:
        """Stop serving."""
        self._stack.close()

    def gone(self) -> str:
        """Where a simulator was served and is no more."""
        if self.plugin.simulator is None:
            raise AssertionError("the bench has one")
        with self._author.serve(self.plugin.simulator()) as url:
            return url

    def build(self, *, url: str | None = None, record: Record | None = None, **settings: Any) -> ConfiguredSource:
        """The source as configured. Raises ConfigurationError."""
        table = {"plugin": self._author.plugin, **self._author.settings(url or self.url), **settings}
        return self.build_table(table, record or Record())

    def build_table(self, table: Mapping[str, Any], record: Record) -> ConfiguredSource:
        """The source that a table of a configuration describes, by a new name. Raises ConfigurationError."""
        name = f"{self._author.plugin}-{next(self._numbers)}"
        plugin = recorded(self.plugin, self.simulator, record)
        table = absolute(table, self._folder)
        return registry.build(
            {name: table}, SOURCE_SYSTEM, lambda _: InstalledPlugin(plugin, "the plugin under test", "")
        )[name]

    def facade(
        self, record: Record, *, url: str | None = None, budget: Budget | None = None
    ) -> tuple[Facade, ConfiguredSource]:
        """A facade with an adapter of its own. All share the ledger, where each has its source's name to itself."""
        source = self.build(url=url, record=record)
        return compose(_CONFIG, {source.name: source}, self._ledger, _TIMERS, budget or Shares()), source

    @contextmanager
    def trial(self, *, url: str | None = None, budget: Budget | None = None) -> Iterator[Trial]:
        """Everything as seeded, and a new facade; what is said meanwhile is heard."""
        self.simulator.reset()
        record, lines = Record(), list[str]()
        with hearing() as heard:
            yield Trial(self, *self.facade(record, url=url, budget=budget), record, lines)
        lines += heard.lines
