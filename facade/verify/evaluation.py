"""Checks that inspect all responses of a run, after every other check."""

from collections.abc import Callable, Iterator
from typing import Any

from facade.verify.check import Check, Findings, check
from facade.verify.http import WireResponse
from facade.verify.runner import Run

Inspect = Callable[[WireResponse], Findings]
"""Finds what is wrong with one response."""


def check_responses(run: Run, inspect: Inspect, *, appointments: bool = False) -> Findings:
    """Inspect every response of the run, or every 200 with an Appointment."""
    for response in list(run.facade.responses):
        if response.is_appointment or not appointments:
            for finding in inspect(response):
                yield f"{response.request} ({response.result}): {finding}"


def every_response(promise: str) -> Callable[[Inspect], Check]:
    """Turn a function that inspects one response into a Check of every response."""
    return _decorator(promise, appointments=False)


def every_appointment(promise: str) -> Callable[[Inspect], Check]:
    """Turn a function that inspects one response into a Check of every 200 with an Appointment."""
    return _decorator(promise, appointments=True)


def _decorator(promise: str, *, appointments: bool) -> Callable[[Inspect], Check]:
    def decorate(inspect: Inspect) -> Check:
        def prove(run: Run) -> Findings:
            return check_responses(run, inspect, appointments=appointments)

        prove.__name__ = inspect.__name__
        return check(promise, end=True)(prove)

    return decorate


def issues(outcome: dict[str, Any], codes: frozenset[str]) -> Iterator[str]:
    """Yield what is wrong with an OperationOutcome's issues. ``codes``: the allowed issue codes."""
    for issue in outcome.get("issue") or [{}]:
        if issue.get("code") not in codes:
            yield f"expected an issue code like {min(codes)}, saw {issue.get('code')}"
        if not (issue.get("details", {}).get("text") or issue.get("diagnostics")):
            yield "expected an issue with a readable text, saw none"
