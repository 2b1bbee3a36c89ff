"""What a simulator's log shows besides reads and cancels."""

from facade.testing.conformance.recording_adapter import Record
from facade.testing.simulator import BareSimulator, LogEntry, Simulator
from facade.testing.text_search import mentions

_HARMLESS = {"GET", "HEAD"}


def other_requests(simulator: BareSimulator) -> list[LogEntry]:
    """What the source received that is neither read nor cancel, nor harmless by its HTTP method."""
    harmless = _HARMLESS if isinstance(simulator, Simulator) else set()
    return [entry for entry in simulator.log.entries() if entry.operation is None and entry.method not in harmless]


def other_writes(simulator: BareSimulator, record: Record, appointment_id: str) -> list[str]:
    """The methods of what was sent besides one appointment's cancel, and is more than a token's request.

    That is what changed the source, what names the appointment, and what followed the permit although nothing of the
    kind had been sent before it.
    """
    begun = min((number for call in record.of("cancel") for number in call.numbers), default=None)
    usual = {_kind(entry) for entry in simulator.log.entries() if begun is None or entry.number <= begun}
    is_http = isinstance(simulator, Simulator)  # elsewhere, what names it may ask for it
    return [
        str(entry.method)
        for entry in other_requests(simulator)
        if entry.changed
        or (is_http and mentions(appointment_id, [entry.path, entry.body]))
        or (begun is not None and entry.number > begun and _kind(entry) not in usual)
    ]


def _kind(entry: LogEntry) -> tuple[str | None, str | None]:
    return entry.method, entry.path
