"""Checks of repeated requests: one after another, concurrent, with another body, and after a cancel elsewhere."""

import threading
from concurrent.futures import ThreadPoolExecutor

from facade.verify.check import Findings, check, expect_equal, expect_result
from facade.verify.hl7 import encoded
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL, with_reason

AT_ONCE = 6


def _repeated(run: Run) -> tuple[str, WireResponse, WireResponse, WireResponse]:
    """Return an appointment's id, and the responses to its first cancel, a repeat, and one with another reason."""

    def make() -> tuple[str, WireResponse, WireResponse, WireResponse]:
        raw_id = run.sandbox.create()
        first, repeat = (run.facade.cancel(raw_id, with_reason("prov")) for _ in range(2))
        return raw_id, first, repeat, run.facade.cancel(raw_id, with_reason("pat-mv"))

    return run.once("repeats", make)


@check("A repeat is 200 with the recorded response: the same body, the same ETag.")
def repeats_get_the_same_response(run: Run) -> Findings:
    """Never 409, never another response."""
    _, first, repeat, _ = _repeated(run)
    yield from _same(first, repeat, "a repeat")


@check("A repeat sends no native cancel.")
def repeats_send_nothing(run: Run) -> Findings:
    """The source's own log shows it."""
    raw_id, first, _, _ = _repeated(run)
    yield from expect_equal(f"native cancels for three requests {first.request}", 1, run.sandbox.cancels(raw_id))


@check("A different reason on a repeat changes nothing.")
def other_reasons_change_nothing(run: Run) -> Findings:
    """A cancellation has one reason."""
    _, first, _, other = _repeated(run)
    yield from _same(first, other, "a repeat with another reason")


@check("Another status for a cancelled appointment gets the recorded response: cancelled is final.")
def other_statuses_change_nothing(run: Run) -> Findings:
    """The request has the encoded id."""
    raw_id, first, _, _ = _repeated(run)
    path = f"/Appointment/{run.facade.source}/{encoded(raw_id)}"
    other = run.facade.request("POST", path, body={**CANCEL, "status": "booked"}, about=raw_id)
    yield from expect_result(f"{other.request} of a cancelled appointment, with another status", first.result, other)


@check("Cancelled is final, also if the appointment is removed from the source or a read fails.")
def cancelled_stays_cancelled(run: Run) -> Findings:
    """For a cancel and for a read."""
    removed = run.sandbox.create()
    run.facade.cancel(removed)
    run.sandbox.remove(removed)
    cancelled = [(removed, "removed from the source")]
    if run.sandbox.readable:
        silent = run.sandbox.create()
        run.facade.cancel(silent)
        run.sandbox.arm(silent, run.sandbox.one_of("read-500", "read-reset", "read-timeout"))
        cancelled.append((silent, "while reads fail"))
    for raw_id, why in cancelled:
        for response in (run.facade.cancel(raw_id), run.facade.read(raw_id)):
            yield from expect_result(f"{response.request}, cancelled, {why}", "200 cancelled", response)


def _same(first: WireResponse, other: WireResponse, what: str) -> Findings:
    if other.status != 200:
        yield f"{what}: expected 200, saw {other.result}"
    elif other.body != first.body:
        yield f"{what}: expected the first response's bytes, saw others"
    elif other.headers.get("ETag") != first.headers.get("ETag"):
        yield f"{what}: expected the ETag {first.headers.get('ETag')}, saw {other.headers.get('ETag')}"


# Concurrent requests


def _at_once(run: Run) -> list[tuple[str, str, list[WireResponse]]]:
    """Send concurrent cancels: to a source that responds, and to one that falls silent.

    Returns a description of the source, the appointment, and the responses, for each of the two.
    """

    def send(raw_id: str) -> list[WireResponse]:
        start = threading.Barrier(AT_ONCE, timeout=60)

        def one(number: int) -> WireResponse:
            start.wait()
            return run.facade.cancel(raw_id, with_reason("pat-mv" if number % 2 else "prov"))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, range(AT_ONCE)))

    def make() -> list[tuple[str, str, list[WireResponse]]]:
        quick = run.sandbox.create()
        sent = [("a source that responds", quick, send(quick))]
        if run.sandbox.shows("timeout-after-commit"):
            slow = run.sandbox.create("timeout-after-commit")
            sent.append(("a source that falls silent", slow, send(slow)))
        return sent

    return run.once("at once", make)


@check(f"{AT_ONCE} concurrent cancels make one native cancel.", slow=True)
def at_once_one_native_cancel(run: Run) -> Findings:
    """The source's own log shows it."""
    for source, raw_id, _ in _at_once(run):
        yield from expect_equal(
            f"native cancels for {AT_ONCE} concurrent cancels, {source}", 1, run.sandbox.cancels(raw_id)
        )


@check(f"{AT_ONCE} concurrent cancels are all 200: a request that waits for another's attempt is never 409.", slow=True)
def at_once_never_a_conflict(run: Run) -> Findings:
    """A platform may repeat a POST by itself."""
    for source, _, responses in _at_once(run):
        others = sorted({str(response.status) for response in responses if response.status != 200})
        if others:
            yield f"{AT_ONCE} concurrent cancels, {source}: expected 200 for all, saw {', '.join(others)} too"


@check(f"{AT_ONCE} concurrent cancels all get the same response.", slow=True)
def at_once_the_same_response(run: Run) -> Findings:
    """Of those that get an Appointment."""
    # With a silent source that is not read, each request gets its own response in doubt.
    for source, _, responses in _at_once(run)[: None if run.sandbox.readable else 1]:
        bodies = {response.body for response in responses if response.status == 200}
        results = sorted({response.result for response in responses if response.status == 200})
        if len(bodies) > 1 or results not in ([], ["200 cancelled"]):
            seen = f"{len(bodies)}: {', '.join(results)}"
            yield f"{AT_ONCE} concurrent cancels, {source}: expected one response, 200 cancelled, saw {seen}"


# Cancelled elsewhere


@check("An appointment that was cancelled elsewhere is 200 cancelled, and nothing is sent.")
def cancelled_by_another(run: Run) -> Findings:
    """It was cancelled before the first request to the facade."""
    run.sandbox.only_if_readable()
    raw_id = run.sandbox.create(like=_cancelled_natively(run))
    response = run.facade.cancel(raw_id)
    yield from expect_result(f"{response.request} of an appointment cancelled elsewhere", "200 cancelled", response)
    yield from expect_equal("native cancels of an appointment cancelled elsewhere", 0, run.sandbox.cancels(raw_id))


@check("Doubt is resolved by reading: cancelled when the source shows it, whoever cancelled; nothing more is sent.")
def doubt_ends_when_another_cancels(run: Run) -> Findings:
    """After a cancel that was not applied and whose response was lost."""
    run.sandbox.only_if_readable()
    raw_id = run.sandbox.create(run.sandbox.one_of("reset-before-commit", "500-before-commit", "timeout-before-commit"))
    run.facade.cancel(raw_id)
    run.sandbox.replace(raw_id, like=_cancelled_natively(run))
    response = run.facade.cancel(raw_id)
    yield from expect_result(f"{response.request} in doubt, cancelled elsewhere", "200 cancelled", response)
    yield from expect_equal("native cancels in all", 1, run.sandbox.cancels(raw_id))


def _cancelled_natively(run: Run) -> str:
    """Return an appointment that the source shows as cancelled."""
    return run.cancelled()[0]
