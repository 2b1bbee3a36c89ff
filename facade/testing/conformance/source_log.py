"""Find requests in a simulator's log that are neither reads nor cancels."""

from facade.testing.conformance.recording_adapter import Record
from facade.testing.simulator import BareSimulator, LogEntry, Simulator
from facade.testing.text_search import mentions

_HARMLESS = {"GET", "HEAD"}


def other_requests(simulator: BareSimulator) -> list[LogEntry]:
    """Return the requests that are neither a read nor a cancel, nor harmless by their HTTP method."""
    harmless = _HARMLESS if isinstance(simulator, Simulator) else set()
    return [entry for entry in simulator.log.entries() if entry.operation is None and entry.method not in harmless]


def other_writes(simulator: BareSimulator, record: Record, appointment_id: str) -> list[str]:
    """Return the methods of the requests that are writes besides one appointment's cancel.

    A request counts if it changed the source, if it names the appointment, or if it followed the permit and no request
    of its kind was sent before the permit. A token request therefore does not count.
    """
    first_permit = min((number for call in record.of("cancel") for number in call.numbers), default=None)
    usual = {_kind(entry) for entry in simulator.log.entries() if first_permit is None or entry.number <= first_permit}
    is_http = isinstance(simulator, Simulator)  # on another transport, a request that names it may be a query
    return [
        str(entry.method)
        for entry in other_requests(simulator)
        if entry.changed
        or (is_http and mentions(appointment_id, [entry.path, entry.body]))
        or (first_permit is not None and entry.number > first_permit and _kind(entry) not in usual)
    ]


def _kind(entry: LogEntry) -> tuple[str | None, str | None]:
    return entry.method, entry.path
