"""Makes a failing history smaller: leaves out events as long as it still fails."""

from dataclasses import replace
from typing import Any

TRIES = 3  # timing is not the seed's: a history that fails seldom is played more than once


def shrink(job: Any, result: Any, variant: str) -> Any:
    """The smallest history found that violates the same invariant."""
    broken = {violation[0] for violation in result.violations} - {" "}

    def fails(history: Any) -> bool:
        plays = (job.play(history, variant).violations for _ in range(TRIES))
        return any(broken & {violation[0] for violation in violations} for violations in plays)

    small = result.history
    for event in reversed(result.history.events):
        fewer = replace(small, events=tuple(other for other in small.events if other is not event))
        if fewer.events and fails(fewer):
            small = fewer
    return small
