"""What a check is: a promise of the contract, and a function that finds where a facade does not keep it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facade.verify.http import WireResponse

if TYPE_CHECKING:
    from facade.verify.runner import Run

Findings = Iterator[str]
"""One sentence for each broken promise, what was expected and what was seen; none where it is kept."""


class Skipped(Exception):
    """This check does not apply here; the text says why."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise under a stable name, its words as a tester reads them, and how it is proven.

    ``slow`` checks wait for a source that misbehaves; they begin first. A check of ``alone`` compares what the
    source saw before and after, so nothing else runs beside it; one at the ``end`` judges the answers to all others.
    """

    name: str
    promise: str
    prove: Callable[["Run"], Findings]
    slow: bool = False
    alone: bool = False
    end: bool = False


def check(
    promise: str, *, slow: bool = False, alone: bool = False, end: bool = False
) -> Callable[[Callable[["Run"], Findings]], Check]:
    """Make a Check of a function, under the function's name with hyphens."""

    def made(prove: Callable[["Run"], Findings]) -> Check:
        name = prove.__name__.replace("_", "-")
        return Check(name=name, promise=promise, prove=prove, slow=slow, alone=alone, end=end)

    return made


def answered(what: str, expected: str, answer: WireResponse) -> Findings:
    """A finding unless the answer has this verdict: the HTTP status, and an Appointment's own."""
    if answer.verdict != expected:
        yield f"{what}: expected {expected}, saw {answer.told}"


def differs(what: str, expected: object, seen: object) -> Findings:
    """A finding unless both are equal."""
    if expected != seen:
        yield f"{what}: expected {expected}, saw {seen}"
