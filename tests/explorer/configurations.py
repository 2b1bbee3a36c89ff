"""What is explored: each names the things that may go wrong together."""

from facade.plugin.contract import Capabilities, Support
from tests.explorer.source import WRITES
from tests.explorer.world import Setup

BLIND = Capabilities(read=Support.NONE)
VERSIONED = Capabilities(versioned_writes=Support.FULL)
DAYS = 3.5 * 86_400.0

SETUPS = {
    "a client alone": Setup(clients=1, ticks=1, passes=3, kills=1, read_faults=1, ledger_faults=1),
    "claims": Setup(clients=3, kills=1, passes=2, writes=("done", "applied", "refused")),
    "doubt": Setup(clients=2, ticks=3, kills=1, passes=3),
    "a ledger that fails": Setup(clients=2, ticks=1, ledger_faults=2, passes=2, writes=("done", "applied", "lost")),
    "reads that fail": Setup(clients=2, ticks=3, read_faults=2, passes=3, writes=("applied", "lost", "late")),
    "a power cut of the store": Setup(clients=2, ticks=1, power_cuts=1, kills=1, passes=2),
    "a power cut of the host": Setup(clients=3, power_cuts=1, one_host=True, passes=2),
    "versioned writes": Setup(clients=2, ticks=1, edits=1, outside=1, passes=2, capabilities=VERSIONED),
    "readers": Setup(clients=3, readers=2, outside=1, passes=1, ledger_faults=1, read_faults=1),
    "resolutions and readers": Setup(
        processes=1, clients=2, readers=1, operators=1, undos=1, read_faults=2, passes=0, writes=("applied",)
    ),
    "readers and a purge": Setup(clients=2, readers=2, operators=1, purges=1, passes=2, read_faults=1, outside=1),
    "operators": Setup(clients=2, operators=2, undos=1, ticks=1, passes=2, writes=("done", "applied", "late")),
    # Its 404 is its word for an appointment that there is not: it says so of none.
    "a source without reads": Setup(
        clients=3, operators=1, undos=1, readers=1, passes=2, capabilities=BLIND, writes=WRITES[:-1]
    ),
    "purge": Setup(clients=3, purges=1, passes=3, kills=1, writes=("done", "applied", "refused", "late")),
    "purge and reads that fail": Setup(clients=3, purges=2, passes=2, read_faults=2, writes=("done", "lost")),
    "a repeat that does harm": Setup(clients=2, ticks=3, passes=3, kills=1, repeat="harmful"),
    "clocks that differ": Setup(clients=2, ticks=2, passes=3, skew=(0.0, DAYS), writes=("done", "applied", "lost")),
    "a clock that is late": Setup(clients=2, ticks=2, passes=3, skew=(0.0, -DAYS), writes=("done", "applied", "lost")),
    "shorter pauses": Setup(clients=2, ticks=2, passes=6, quantum=4.1, writes=("done", "applied", "late")),
}

# Few things, so that what does harm only after a long story is found too.
NARROW = {
    "nothing goes wrong": Setup(clients=2, ticks=2, passes=0, writes=("done",)),
    "a late write": Setup(processes=1, clients=2, ticks=3, passes=4, quantum=4.1, writes=("done", "late")),
    "a frozen owner": Setup(processes=1, clients=3, ticks=2, passes=1, writes=("done", "late")),
    "a frozen owner and a purge": Setup(processes=1, clients=2, ticks=2, purges=1, passes=2, writes=("late",)),
    "an owner frozen for long": Setup(processes=1, clients=2, ticks=5, passes=5, writes=("done",)),
    "a stale version and a reader": Setup(
        clients=1, readers=1, outside=1, read_faults=1, passes=0, capabilities=VERSIONED, writes=("done",)
    ),
    "a reader is first": Setup(clients=3, readers=1, outside=1, passes=0, read_faults=1, writes=("refused",)),
    "two resolutions": Setup(processes=1, clients=3, operators=2, passes=0, writes=("lost", "late")),
    "a resolution and its undoing": Setup(
        clients=2, operators=1, undos=1, passes=0, capabilities=BLIND, writes=("applied",)
    ),
}
ALL = {**SETUPS, **NARROW}
