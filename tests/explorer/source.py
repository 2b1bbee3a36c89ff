"""A source system that keeps one appointment, and on which everything can happen that happens to a write."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from facade.errors import AppointmentNotFound, Cause, NotExecuted, OutcomeUnknown, VersionConflict
from facade.plugin.contract import (
    Appointment,
    CancelRequest,
    Capabilities,
    SourceAdapter,
    SourceConfig,
    SourcePlugin,
    WritePermit,
)
from facade.plugin.settings import SourceSettings

READS = ("ok", "fails", "missing")
WRITES = ("done", "applied", "lost", "late", "refused", "not found")
"""A write is executed and answered; executed without an answer; neither; not executed yet, and never answered; refused;
executed, and answered by 404.
"""
SETTLE_WINDOW = 20.0
"""Seconds after which a write that has not arrived never will."""


def declared(capabilities: Capabilities, repeat: Any) -> SourcePlugin:
    """The declaration of a source that can do these things."""
    return SourcePlugin(
        api="1.0",
        name="s",
        adapter=_not_built,
        settings=SourceSettings,
        id_pattern="[0-9]",
        repeat=repeat,
        capabilities=capabilities,
    )


def _not_built(_: SourceConfig) -> SourceAdapter:
    raise NotImplementedError


@dataclass
class Write:
    """One native write: when it left, and whether it is executed, will never be, or may yet be (None)."""

    at: float
    version: int
    executed: bool | None


class SourceModel:
    """``step`` is called before everything that takes time; it says what happens."""

    def __init__(
        self,
        step: Callable[[str, tuple[str, ...]], str],
        saw: Callable[[Any], None],
        before_write: Callable[[], None],
    ) -> None:
        self.time = 0.0
        self.cancelled = False
        self.version = 1
        self.writes: list[Write] = []
        self._step, self._saw, self._before_write = step, saw, before_write

    # What a facade sees of it

    def read(self) -> Appointment:
        happens = self._step("read appointment", READS)
        if happens == "missing":
            raise AppointmentNotFound(str(Cause.UNPROVEN))
        if happens != "ok":
            raise OutcomeUnknown(Cause.TIMEOUT)
        found = {
            "resourceType": "Appointment",
            "id": "1",
            "status": "cancelled" if self.cancelled else "booked",
            "meta": {"versionId": str(self.version)},
        }
        self._saw(found)
        return found

    def cancel(self, version: int | None) -> Appointment:
        """``version`` is the one that the write names, if the source takes that."""
        happens = self._step("write", WRITES)
        self._before_write()
        write = Write(self.time, version or 0, None)
        self.writes.append(write)
        stale = self._is_stale(write)
        if happens == "late":
            pass
        elif happens in {"lost", "refused"} or stale:
            write.executed = False
        else:
            self._execute(write)
        # The answer is on its way, or there will be none.
        self._step("answer", ("ok",))
        if happens in {"applied", "lost", "late"}:
            raise OutcomeUnknown(Cause.TIMEOUT)
        if stale:
            raise VersionConflict(str(Cause.CONFLICT))
        if happens == "refused":
            raise NotExecuted(Cause.REFUSED)
        if happens == "not found":
            raise AppointmentNotFound(str(Cause.UNPROVEN))
        return {"resourceType": "Appointment", "id": "1", "status": "cancelled"}

    def _is_stale(self, write: Write) -> bool:
        return bool(write.version) and write.version != self.version

    def _execute(self, write: Write) -> None:
        write.executed = True
        self.cancelled = True
        self.version += 1

    # What happens to it

    def late(self) -> tuple[str, ...]:
        """What may become of a write that is on its way."""
        return ("arrives", "is lost") if self.pending() else ()

    def pending(self) -> list[Write]:
        """The writes that may yet arrive."""
        return [write for write in self.writes if write.executed is None]

    def arrives(self, how: str) -> None:
        """The first write that is on its way."""
        write = self.pending()[0]
        if how == "arrives" and not self._is_stale(write):
            self._execute(write)
        else:
            write.executed = False

    def may_pass_until(self, time: float) -> bool:
        """Whether no write would be later than a write can be."""
        return all(time <= write.at + SETTLE_WINDOW for write in self.pending())

    def forget_late(self, time: float) -> None:
        """What has not arrived by then is lost."""
        for write in self.pending():
            write.executed = False if time > write.at + SETTLE_WINDOW else None

    def changed_outside(self, *, cancelled: bool) -> None:
        """Somebody else has changed the appointment, or cancelled it."""
        self.version += 1
        self.cancelled |= cancelled

    # What is true of it

    def may_be_executed(self) -> bool:
        """Whether a write that has left was executed or may yet be."""
        return any(write.executed is not False for write in self.writes)

    @property
    def executed_ours(self) -> bool:
        return any(write.executed for write in self.writes)

    def key(self) -> Any:
        return self.cancelled, self.version, tuple((w.at, w.version, w.executed) for w in self.writes)


class ModelAdapter(SourceAdapter):
    """Reads and cancels as every adapter does."""

    def __init__(self, source: SourceModel, *, versioned: bool) -> None:
        self._source = source
        self._versioned = versioned

    def read(self, appointment_id: str) -> Appointment:
        return self._source.read()

    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        permit()
        return self._source.cancel(
            int(current["meta"]["versionId"]) if self._versioned and current is not None else None
        )
