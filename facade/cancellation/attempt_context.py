"""The budget, the timers and the repository that all attempts of a process share."""

from dataclasses import dataclass

from facade.cancellation.budget import Budget
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.timers import Timers


@dataclass(frozen=True, kw_only=True)
class AttemptContext:
    """Read-only. ``explain`` adds an OperationOutcome to a proposed response."""

    budget: Budget
    timers: Timers
    repository: CancellationRepository
    explain: bool = True
