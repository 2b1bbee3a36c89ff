"""The type of a check: a promise, and a function that finds where a facade breaks it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from facade.verify.http import WireResponse

if TYPE_CHECKING:
    from facade.verify.runner import Run

Findings = Iterator[str]
"""One sentence for each broken promise: what was expected and what was seen. Empty if the promise is kept."""


class Skipped(Exception):
    """Raised by a check that does not apply to this facade; the text states the reason."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One promise under a stable name, in words for a tester, and the function that checks it.

    ``slow`` checks wait for a source that fails, so they begin first. An ``alone`` check compares the source's log
    before and after, so no other check runs at the same time. An ``end`` check inspects the responses to all others.
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
    """Turn a function into a Check, under the function's name with hyphens."""

    def decorate(prove: Callable[["Run"], Findings]) -> Check:
        name = prove.__name__.replace("_", "-")
        return Check(name=name, promise=promise, prove=prove, slow=slow, alone=alone, end=end)

    return decorate


def expect_result(what: str, expected: str, response: WireResponse) -> Findings:
    """Yield a finding unless the response has this result: the HTTP status, and an Appointment's status."""
    if response.result != expected:
        yield f"{what}: expected {expected}, saw {response.description}"


def expect_equal(what: str, expected: object, seen: object) -> Findings:
    """Yield a finding unless both are equal."""
    if expected != seen:
        yield f"{what}: expected {expected}, saw {seen}"
