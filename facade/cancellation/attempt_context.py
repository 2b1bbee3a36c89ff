"""What every attempt of a process works with."""

from dataclasses import dataclass

from facade.cancellation.budget import Budget
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.timers import Timers


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """Shared by all attempts. ``explain`` adds an OperationOutcome to a proposed response."""

    budget: Budget
    timers: Timers
    repository: CancellationRepository
    explain: bool = True
