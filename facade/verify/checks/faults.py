"""Checks of every fault by name: what a cancel ends in, how many native cancels there were, and what comes later."""

import json
import time

from facade.testing.simulator.faults import FAULTS, Behaviour, Commit, Fault
from facade.verify.check import Check, Findings, Skipped, answered, check, differs
from facade.verify.runner import Run

# In the source's own error shape: surely not done. Everything else that is not applied leaves doubt.
_REFUSALS = {Behaviour.UNAUTHORIZED, Behaviour.REFUSED, Behaviour.THROTTLED, Behaviour.THROTTLED_FOR}
_SLOW = {Behaviour.SILENCE, Behaviour.SLOW_DRIP, Behaviour.ENDLESS}
_PATIENCE = 60.0  # seconds, for a source that applies a cancel late


def _fault(fault: Fault) -> Check:
    cancels = 1 if fault.operation == "cancel" else 0
    sends = "exactly one native cancel" if cancels else "no native cancel"

    def prove(run: Run) -> Findings:
        raw_id, answer = run.meet(fault.name)
        # A read that keeps this source's failures from being taken for one long outage.
        run.facade.read(run.cancelled()[0])
        what = f"{answer.request} when the source {fault.behaviour.value}"
        if run.sandbox.readable or fault.ends_in == "proposed" or answer.verdict != "200 proposed":
            # What is applied and cannot be read may stay in doubt.
            yield from answered(what, f"200 {fault.ends_in}", answer)
        yield from differs(
            f"native cancels when the source {fault.behaviour.value}", cancels, run.sandbox.cancels(raw_id)
        )

    promise = f"{fault.description} A cancel ends in 200 {fault.ends_in}, with {sends}."
    return Check(name=f"fault-{fault.name}", promise=promise, prove=prove, slow=fault.behaviour in _SLOW)


EVERY_FAULT = tuple(_fault(fault) for fault in FAULTS.values())


@check('In doubt, nothing is sent again: one read that says "not cancelled" proves nothing.')
def doubt_sends_nothing_again(run: Run) -> Findings:
    """A second request after every fault that leaves doubt."""
    doubtful = [
        name
        for name, fault in FAULTS.items()
        if fault.operation == "cancel" and fault.commit is Commit.NO and fault.behaviour not in _REFUSALS
    ]
    run.sandbox.one_of(*doubtful)
    for name in filter(run.sandbox.shows, doubtful):
        raw_id, _ = run.meet(name)
        again = run.facade.cancel(raw_id)
        yield from answered(f"a second cancel after {name}", "200 proposed", again)
        yield from differs(f"native cancels after {name}, asked twice", 1, run.sandbox.cancels(raw_id))


@check("After a cancel that the source refused in its own words, a new request is a new attempt.")
def refusals_may_be_asked_again(run: Run) -> Findings:
    """It was surely not executed."""
    raw_id = run.sandbox.fresh("refused", times=1)
    first, second = run.facade.cancel(raw_id), run.facade.cancel(raw_id)
    yield from differs(
        "a cancel that the source refuses, and another",
        "200 proposed, 200 cancelled",
        f"{first.verdict}, {second.verdict}",
    )


@check(
    "A cancel that the source applies late is found: cancelled on a later request, with one native cancel.", slow=True
)
def late_cancels_are_found(run: Run) -> Findings:
    """Proposed first; see fault-late-commit."""
    run.sandbox.only_if_readable()
    raw_id, _ = run.meet("late-commit")
    ends_at = time.monotonic() + _PATIENCE
    while not any(entry["operation"] == "late-commit" for entry in run.sandbox.log(raw_id)):
        if time.monotonic() > ends_at:
            yield f"the source: expected it to apply the cancel within {_PATIENCE:g} s, saw that it did not"
            return
        time.sleep(0.1)
    answer = run.facade.cancel(raw_id)
    yield from answered("a cancel after the source applied the first", "200 cancelled", answer)
    yield from differs("native cancels in all", 1, run.sandbox.cancels(raw_id))


@check("A read before the cancel that names another id is not used: 200 proposed, and nothing is sent.")
def reads_of_another_id(run: Run) -> Findings:
    """A source that answers about another appointment."""
    run.sandbox.only_if_readable()
    raw_id, other = run.sandbox.fresh(), run.sandbox.fresh()
    run.sandbox.put(raw_id, run.sandbox.record(other))
    if other not in json.dumps(run.sandbox.record(raw_id)):
        raise Skipped("the sandbox's source gives every record the id that it is asked for")
    answer = run.facade.cancel(raw_id)
    yield from answered(f"{answer.request}, which the source shows as {other}", "200 proposed", answer)
    for asked in (raw_id, other):
        yield from differs(f"native cancels of {asked}", 0, run.sandbox.cancels(asked))


@check("Not found, for an appointment that was read before, is 200 proposed and not 404.")
def not_found_after_it_was_seen(run: Run) -> Findings:
    """What was known once cannot become unknown."""
    run.sandbox.only_if_readable()
    raw_id = run.sandbox.fresh(run.sandbox.one_of("refused", "throttled"), times=1)
    run.facade.cancel(raw_id)
    run.sandbox.remove(raw_id)
    answer = run.facade.cancel(raw_id)
    yield from answered(f"{answer.request}, which the source has forgotten", "200 proposed", answer)


@check("A GET that the source does not answer is 503 with Retry-After.")
def reads_that_fail(run: Run) -> Findings:
    """Never a guess."""
    faults = ("read-500", "read-html-404", "read-unauthorized")
    run.sandbox.one_of(*faults)
    for fault in filter(run.sandbox.shows, faults):
        answer = run.facade.read(run.sandbox.fresh(fault))
        yield from answered(f"{answer.request} under {fault}", "503", answer)
        if answer.status == 503 and not answer.headers.get("Retry-After"):
            yield f"{answer.request} under {fault}: expected Retry-After beside 503, saw none"
