"""How all the answers of a run are judged, one after the other, when everything has been asked."""

from collections.abc import Callable, Iterator
from typing import Any

from facade.verify.check import Check, Findings, check
from facade.verify.http import WireResponse
from facade.verify.runner import Run

Judge = Callable[[WireResponse], Findings]


def judged(run: Run, judge: Judge, *, appointments: bool = False) -> Findings:
    """What is found of every answer, or of every 200 with an Appointment."""
    for answer in list(run.facade.answers):
        if answer.is_appointment or not appointments:
            for finding in judge(answer):
                yield f"{answer.request} ({answer.verdict}): {finding}"


def of_every_answer(promise: str) -> Callable[[Judge], Check]:
    """Make a Check of what one answer is judged by, under its name with hyphens."""
    return _made(promise, appointments=False)


def of_every_appointment(promise: str) -> Callable[[Judge], Check]:
    """The same for every 200 with an Appointment."""
    return _made(promise, appointments=True)


def _made(promise: str, *, appointments: bool) -> Callable[[Judge], Check]:
    def made(judge: Judge) -> Check:
        def prove(run: Run) -> Findings:
            return judged(run, judge, appointments=appointments)

        prove.__name__ = judge.__name__
        return check(promise, end=True)(prove)

    return made


def issues(outcome: dict[str, Any], codes: frozenset[str]) -> Iterator[str]:
    """What is wrong with an OperationOutcome's issues; ``codes`` are the ones that fit."""
    for issue in outcome.get("issue") or [{}]:
        if issue.get("code") not in codes:
            yield f"expected an issue code like {min(codes)}, saw {issue.get('code')}"
        if not (issue.get("details", {}).get("text") or issue.get("diagnostics")):
            yield "expected an issue with a readable text, saw none"
