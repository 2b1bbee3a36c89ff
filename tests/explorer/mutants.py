"""The real code with one guard taken away: what the exploration must notice."""

import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from unittest import mock

from facade.cancellation.attempt import Attempt
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.reconciler import Reconciler
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.service import CancellationService
from facade.cancellation.write_permit import LedgerWritePermit
from tests.explorer.memory import MemoryLedger


@dataclass(frozen=True)
class Mutant:
    """In the source of a method, ``old`` becomes ``new``; ``setup`` is where it does harm, which takes about ``runs``
    random runs to find.
    """

    owner: type
    method: str
    old: str
    new: str
    setup: str
    runs: int = 1000

    @contextmanager
    def alive(self) -> Iterator[None]:
        """While it lasts, the method is the mutant's."""
        original = inspect.getattr_static(self.owner, self.method)
        source = textwrap.dedent(inspect.getsource(original))
        if source.count(self.old) != 1:
            raise AssertionError(f"{self.old!r} is {source.count(self.old)} times in {self.method}; fix the mutant")
        found: dict[str, Any] = {}
        exec(source.replace(self.old, self.new), original.__globals__, found)
        with mock.patch.object(self.owner, self.method, found[self.method]):
            yield


MUTANTS = {
    "sending is not flushed": Mutant(
        CancellationRepository,
        "_transition_owned",
        "changed, entry)",
        "changed, entry, flushed=False)",
        "a power cut of the store",
    ),
    "outcomes are not flushed": Mutant(
        CancellationRepository,
        "_compare_and_set",
        "entry, audit)",
        "entry, audit, flushed=False)",
        "a power cut of the store",
    ),
    "a repeat's audit is not flushed": Mutant(
        MemoryLedger, "append", "flushed=True", "flushed=False", "a power cut of the store"
    ),
    "a claim ignores the state that was seen": Mutant(
        MemoryLedger,
        "claim",
        "(there.state, there.attempt_number) != (seen.state, seen.attempt_number)",
        "there.attempt_number != seen.attempt_number",
        "a reader is first",
        runs=10_000,
    ),
    "sending ignores the state": Mutant(
        CancellationRepository,
        "_transition_owned",
        '{"state": owned.state, "attempt_number": owned.attempt_number}',
        '{"attempt_number": owned.attempt_number}',
        "a reader is first",
        runs=10_000,
    ),
    "a retry ignores the state": Mutant(
        CancellationRepository,
        "_transition_owned",
        '{"state": owned.state, "attempt_number": owned.attempt_number}',
        '{"attempt_number": owned.attempt_number}',
        "a stale version and a reader",
    ),
    "an outcome ignores the state": Mutant(
        CancellationRepository,
        "_transition",
        '{"state": row.state, "attempt_number": row.attempt_number}',
        '{"attempt_number": row.attempt_number}',
        "a reader is first",
    ),
    "an outcome ignores the attempt": Mutant(
        CancellationRepository,
        "_transition",
        "row.attempt_number == seen.attempt_number or not fenced",
        "True",
        "a frozen owner",
    ),
    "a failed read counts as a negative one": Mutant(
        InDoubtResolver,
        "_record_probe_without_evidence",
        "negative = error is None",
        "negative = True",
        "reads that fail",
    ),
    "the settle window is not waited for": Mutant(
        InDoubtResolver,
        "_record_probe_without_evidence",
        " and observed >= source.settle_window",
        "",
        "a late write",
        runs=10_000,
    ),
    "a 404 to the write counts as not executed": Mutant(
        Attempt, "_send", "isinstance(error, AppointmentNotFound) and current is None", "True", "doubt"
    ),
    "an unanswered write counts as not executed": Mutant(
        Attempt, "_send", "return self._in_doubt(doubt, current)", "return self._after_refusal(doubt, current)", "doubt"
    ),
    "a claim is abandoned at once": Mutant(
        Reconciler,
        "_end_silent_attempts",
        "row.state == State.CLAIMED and self._repository.lease_expired(row)",
        "row.state == State.CLAIMED",
        "nothing goes wrong",
    ),
    "a claim is taken over at once": Mutant(
        CancellationService, "_may_claim", "self._repository.lease_expired(row)", "True", "nothing goes wrong"
    ),
    "an owner that was frozen writes": Mutant(
        LedgerWritePermit, "__call__", "> self._guard", "> 1e9", "an owner frozen for long", runs=10_000
    ),
    "purge deletes what it found, whatever became of it": Mutant(
        MemoryLedger, "still", "old(self.store.rows.get(key))", "True", "purge", runs=10_000
    ),
    "a claim of a store that outlives no one is not flushed": Mutant(
        MemoryLedger, "claim", "flushed=not store.one_host", "flushed=False", "a power cut of the store"
    ),
    "a resolution is for whatever attempt there is": Mutant(
        CancellationRepository,
        "record_resolution",
        "(row.attempt_number, row.sending_at) == (seen.attempt_number, seen.sending_at)",
        "True",
        "two resolutions",
        runs=10_000,
    ),
    "a resolution is undone though it was reported": Mutant(
        CancellationRepository, "undo_resolution", ', "by_operator": True}', "}", "a resolution and its undoing"
    ),
    "a resolution is reported and can be undone": Mutant(
        CancellationRepository,
        "recorded_result",
        "row.by_operator and row.state == State.CANCELLED",
        "False",
        "a source without reads",
    ),
    "a repeat is answered without an audit": Mutant(
        CancellationService,
        "_repeat",
        "self._repository.record_reply(row, requester, result.outcome, result.cause, repeat=codes)",
        "pass",
        "doubt",
    ),
    "whoever was outrun is answered without an audit": Mutant(
        Attempt,
        "_record",
        "self._repository.record_reply(self._row, self._requester, result.outcome, result.cause)",
        "pass",
        "doubt",
    ),
}
