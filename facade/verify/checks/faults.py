"""Checks of every fault by name: the status of the response, the number of native cancels, and later requests."""

import json
import time

from facade.testing.simulator.faults import FAULTS, Behaviour, Commit, Fault
from facade.verify.check import Check, Findings, Skipped, check, expect_equal, expect_result
from facade.verify.runner import Run

# In the source's own error shape: certainly not executed. Every other cancel that is not applied leaves doubt.
_REFUSALS = {Behaviour.UNAUTHORIZED, Behaviour.REFUSED, Behaviour.THROTTLED, Behaviour.THROTTLED_FOR}
_SLOW = {Behaviour.SILENCE, Behaviour.SLOW_DRIP, Behaviour.ENDLESS}
_PATIENCE = 60.0  # seconds, for a source that applies a cancel late


def _fault(fault: Fault) -> Check:
    cancels = 1 if fault.operation == "cancel" else 0
    sends = "exactly one native cancel" if cancels else "no native cancel"

    def prove(run: Run) -> Findings:
        raw_id, response = run.cancel_under(fault.name)
        # A successful read, so that the facade does not treat the failures as one long outage of the source.
        run.facade.read(run.cancelled()[0])
        what = f"{response.request} when the source {fault.behaviour.value}"
        if run.sandbox.readable or fault.ends_in == "proposed" or response.result != "200 proposed":
            # A cancel that was applied may stay in doubt if the source is not read.
            yield from expect_result(what, f"200 {fault.ends_in}", response)
        yield from expect_equal(
            f"native cancels when the source {fault.behaviour.value}", cancels, run.sandbox.cancels(raw_id)
        )

    promise = f"{fault.description} A cancel ends in 200 {fault.ends_in}, with {sends}."
    return Check(name=f"fault-{fault.name}", promise=promise, prove=prove, slow=fault.behaviour in _SLOW)


EVERY_FAULT = tuple(_fault(fault) for fault in FAULTS.values())


@check('In doubt, no second cancel is sent: one read that shows "not cancelled" proves nothing.')
def doubt_sends_nothing(run: Run) -> Findings:
    """A second request after every fault that leaves doubt."""
    doubtful = [
        name
        for name, fault in FAULTS.items()
        if fault.operation == "cancel" and fault.commit is Commit.NO and fault.behaviour not in _REFUSALS
    ]
    run.sandbox.one_of(*doubtful)
    for name in filter(run.sandbox.shows, doubtful):
        raw_id, _ = run.cancel_under(name)
        second = run.facade.cancel(raw_id)
        yield from expect_result(f"a second cancel after {name}", "200 proposed", second)
        yield from expect_equal(f"native cancels after {name} and two requests", 1, run.sandbox.cancels(raw_id))


@check("After a cancel that the source refused in its own error shape, a new request is a new attempt.")
def refusals_may_be_retried(run: Run) -> Findings:
    """The refused cancel was certainly not executed."""
    raw_id = run.sandbox.create("refused", times=1)
    first, second = run.facade.cancel(raw_id), run.facade.cancel(raw_id)
    yield from expect_equal(
        "a cancel that the source refuses, and a second one",
        "200 proposed, 200 cancelled",
        f"{first.result}, {second.result}",
    )


@check(
    "A cancel that the source applies late is found: cancelled on a later request, with one native cancel.", slow=True
)
def late_cancels_are_found(run: Run) -> Findings:
    """The first response is proposed; see fault-late-commit."""
    run.sandbox.only_if_readable()
    raw_id, _ = run.cancel_under("late-commit")
    ends_at = time.monotonic() + _PATIENCE
    while not any(entry["operation"] == "late-commit" for entry in run.sandbox.log(raw_id)):
        if time.monotonic() > ends_at:
            yield f"the source: expected it to apply the cancel within {_PATIENCE:g} s, saw that it did not"
            return
        time.sleep(0.1)
    response = run.facade.cancel(raw_id)
    yield from expect_result("a cancel after the source applied the first", "200 cancelled", response)
    yield from expect_equal("native cancels in all", 1, run.sandbox.cancels(raw_id))


@check("A read before the cancel that names another id is not used: 200 proposed, and nothing is sent.")
def reads_of_another_id(run: Run) -> Findings:
    """The source responds with another appointment."""
    run.sandbox.only_if_readable()
    raw_id, other = run.sandbox.create(), run.sandbox.create()
    run.sandbox.put(raw_id, run.sandbox.record(other))
    if other not in json.dumps(run.sandbox.record(raw_id)):
        raise Skipped("the sandbox's source returns every record with the requested id")
    response = run.facade.cancel(raw_id)
    yield from expect_result(f"{response.request}, which the source shows as {other}", "200 proposed", response)
    for appointment_id in (raw_id, other):
        yield from expect_equal(f"native cancels of {appointment_id}", 0, run.sandbox.cancels(appointment_id))


@check("Not found, for an appointment that was read before, is 200 proposed and not 404.")
def not_found_after_it_was_seen(run: Run) -> Findings:
    """An appointment that existed cannot become unknown."""
    run.sandbox.only_if_readable()
    raw_id = run.sandbox.create(run.sandbox.one_of("refused", "throttled"), times=1)
    run.facade.cancel(raw_id)
    run.sandbox.remove(raw_id)
    response = run.facade.cancel(raw_id)
    yield from expect_result(f"{response.request}, which was removed from the source", "200 proposed", response)


@check("A GET is 503 with Retry-After if the read from the source fails.")
def reads_that_fail(run: Run) -> Findings:
    """The facade does not guess."""
    faults = ("read-500", "read-html-404", "read-unauthorized")
    run.sandbox.one_of(*faults)
    for fault in filter(run.sandbox.shows, faults):
        response = run.facade.read(run.sandbox.create(fault))
        yield from expect_result(f"{response.request} under {fault}", "503", response)
        if response.status == 503 and not response.headers.get("Retry-After"):
            yield f"{response.request} under {fault}: expected Retry-After beside 503, saw none"
