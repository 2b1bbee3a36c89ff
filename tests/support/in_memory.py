"""A facade without HTTP and without a store: the real cancellations over a ledger in memory, and a scripted source."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from facade.cancellation.attempt_context import AttemptContext
from facade.cancellation.budget import Budget
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.reconciler import Reconciler
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.service import CancellationService
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.clock import Clock
from facade.fhir.appointment import Identity
from facade.ledger.tables import ROW_DEFAULTS, Row
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import CancelRequest, Capabilities, SourceAdapter
from tests.explorer.memory import MemoryLedger, Store
from tests.explorer.source import declared

KEY = ("heim", "1")
FIRST = {
    "source": "heim",
    "appointment_id": "1",
    "format": 1,
    "attempt_number": 7,
    "cancel_request": {},
    "changed_at": 900.0,
}
_SEEN: dict[str, Any] = {
    **ROW_DEFAULTS,
    **FIRST,
    "read_before": False,
    "state": "in-doubt",
    "sending_at": 890.0,
    "version": 1,
}
SEEN = Row(**_SEEN)
"""A row in doubt, as somebody saw it."""
BOOKED = {"id": "1", "status": "booked"}
CANCELLED = {"id": "1", "status": "cancelled"}

Step = Callable[[], Any] | Exception | dict[str, Any]


class Settable(Clock):
    """Both clocks, together, at the time that they are set to."""

    at = 1000.0

    def now(self) -> float:
        return self.at

    def monotonic(self) -> float:
        return self.at


class Scripted(SourceAdapter):
    """Reads what ``native`` is; its write takes the permit, and does what ``write`` says.

    Either may be an appointment, an error to raise, or a function to call.
    """

    def __init__(self) -> None:
        self.native: Step = BOOKED
        self.write: Step = self.done
        self.before_permit: Step = dict
        self.reads, self.writes = 0, 0

    def read(self, appointment_id: str) -> Any:
        self.reads += 1
        return _done(self.native)

    def cancel(self, request: CancelRequest, current: Any, permit: Any) -> Any:
        _done(self.before_permit)
        permit()
        self.writes += 1
        return _done(self.write)

    def done(self) -> Any:
        self.native = CANCELLED
        return CANCELLED


def _done(step: Step) -> Any:
    if isinstance(step, Exception):
        raise step
    return step() if callable(step) else step


class InMemoryFacade:
    """One process; ``calls`` are all that it sends to its source."""

    def __init__(self, *, answer_within: float = 8.0, **capabilities: Any) -> None:
        self.clock = Settable()
        self.timers = Timers.for_response_within(8.0)
        self.ledger: Any = MemoryLedger(Store(), self.clock)
        self.repository = CancellationRepository(self.ledger, self.timers, self.clock)  # type: ignore[arg-type]  # a double, or known to be there
        self.calls = Scripted()
        budget = Budget(answer_within)
        self.resolver = InDoubtResolver(self.repository, self.timers, self.clock)
        self.cancellations = CancellationService(
            AttemptContext(budget=budget, timers=self.timers, repository=self.repository, explain=False), self.resolver
        )
        self.source = ConfiguredSource(
            name=KEY[0],
            plugin=declared(Capabilities(**capabilities), "errors"),
            adapter=self.calls,
            identity=Identity(source="heim", source_system="urn:s", native_system="urn:s:".__add__),
            mapping=None,
            settings={"settle_window": 900.0},
        )
        self.reconciler = Reconciler([self.source], self.repository, self.resolver, self.timers, budget)

    def cancel(self, **request: Any) -> Any:
        """The answer to one more request."""
        return self.cancellations.cancel(self.source, CancelRequest(appointment_id="1", **request), Requester("x", "r"))

    def put(self, **values: Any) -> Row:
        """This row is in the ledger now, flushed."""
        row = replace(SEEN, **values)
        self.ledger.store.rows[row.key] = row
        self.ledger.store.flush()
        return row

    @property
    def row(self) -> Any:
        return self.ledger.store.rows.get(KEY)

    @property
    def events(self) -> list[str]:
        return [str(entry.event) for _, entry in self.ledger.store.journal]

    @property
    def audits(self) -> list[str]:
        return [done.outcome for _, done in self.ledger.store.audits]
