"""Checks of the same wish again: one after the other, all at once, in other words, from outside."""

import threading
from concurrent.futures import ThreadPoolExecutor

from facade.verify.check import Findings, answered, check, differs
from facade.verify.hl7 import encoded
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL, with_reason

AT_ONCE = 6


def _repeated(run: Run) -> tuple[str, WireResponse, WireResponse, WireResponse]:
    """An appointment's id, and the answers to its first cancel, the same again, and one with another reason."""

    def make() -> tuple[str, WireResponse, WireResponse, WireResponse]:
        raw_id = run.sandbox.fresh()
        first, again = (run.facade.cancel(raw_id, with_reason("prov")) for _ in range(2))
        return raw_id, first, again, run.facade.cancel(raw_id, with_reason("pat-mv"))

    return run.once("repeats", make)


@check("A repeat is 200 with the recorded answer: the same body, the same ETag.")
def repeats_get_the_same_answer(run: Run) -> Findings:
    """Never 409, never another answer."""
    _, first, again, _ = _repeated(run)
    yield from _same(first, again, "a repeat")


@check("A repeat sends no native cancel.")
def repeats_send_nothing(run: Run) -> Findings:
    """By the source's own log."""
    raw_id, first, _, _ = _repeated(run)
    yield from differs(f"native cancels for three times {first.request}", 1, run.sandbox.cancels(raw_id))


@check("A different reason on a repeat changes nothing.")
def other_reasons_change_nothing(run: Run) -> Findings:
    """What happened once has one reason."""
    _, first, _, other = _repeated(run)
    yield from _same(first, other, "a repeat with another reason")


@check("Another status for what is cancelled gets the recorded answer: cancelled never becomes anything else.")
def other_statuses_change_nothing(run: Run) -> Findings:
    """Nor does an encoded id."""
    raw_id, first, _, _ = _repeated(run)
    path = f"/Appointment/{run.facade.source}/{encoded(raw_id)}"
    other = run.facade.request("POST", path, body={**CANCEL, "status": "booked"}, about=raw_id)
    yield from answered(f"{other.request} of what is cancelled, with another status", first.verdict, other)


@check("Once cancelled, always cancelled: also when the source has forgotten the appointment or cannot be read.")
def cancelled_stays_cancelled(run: Run) -> Findings:
    """For a cancel and for a read."""
    forgotten = run.sandbox.fresh()
    run.facade.cancel(forgotten)
    run.sandbox.remove(forgotten)
    cancelled = [(forgotten, "that the source forgot")]
    if run.sandbox.readable:
        silent = run.sandbox.fresh()
        run.facade.cancel(silent)
        run.sandbox.arm(silent, run.sandbox.one_of("read-500", "read-reset", "read-timeout"))
        cancelled.append((silent, "that the source does not show"))
    for raw_id, why in cancelled:
        for answer in (run.facade.cancel(raw_id), run.facade.read(raw_id)):
            yield from answered(f"{answer.request}, cancelled, {why}", "200 cancelled", answer)


def _same(first: WireResponse, other: WireResponse, what: str) -> Findings:
    if other.status != 200:
        yield f"{what}: expected 200, saw {other.verdict}"
    elif other.body != first.body:
        yield f"{what}: expected the first answer's bytes, saw others"
    elif other.headers.get("ETag") != first.headers.get("ETag"):
        yield f"{what}: expected the ETag {first.headers.get('ETag')}, saw {other.headers.get('ETag')}"


# At once


def _at_once(run: Run) -> list[tuple[str, str, list[WireResponse]]]:
    """How the source behaved, the appointment, and the answers: for one that answers, and one that falls silent."""

    def ask(raw_id: str) -> list[WireResponse]:
        start = threading.Barrier(AT_ONCE, timeout=60)

        def one(number: int) -> WireResponse:
            start.wait()
            return run.facade.cancel(raw_id, with_reason("pat-mv" if number % 2 else "prov"))

        with ThreadPoolExecutor(AT_ONCE) as pool:
            return list(pool.map(one, range(AT_ONCE)))

    def make() -> list[tuple[str, str, list[WireResponse]]]:
        quick = run.sandbox.fresh()
        asked = [("a source that answers", quick, ask(quick))]
        if run.sandbox.shows("timeout-after-commit"):
            slow = run.sandbox.fresh("timeout-after-commit")
            asked.append(("a source that falls silent", slow, ask(slow)))
        return asked

    return run.once("at once", make)


@check(f"{AT_ONCE} cancels at once make one native cancel.", slow=True)
def at_once_one_native_cancel(run: Run) -> Findings:
    """By the source's own log."""
    for source, raw_id, _ in _at_once(run):
        yield from differs(f"native cancels for {AT_ONCE} at once, {source}", 1, run.sandbox.cancels(raw_id))


@check(f"{AT_ONCE} cancels at once are all 200: those that wait for another's attempt are never told 409.", slow=True)
def at_once_never_a_conflict(run: Run) -> Findings:
    """The platform repeats a POST by itself."""
    for source, _, answers in _at_once(run):
        others = sorted({str(answer.status) for answer in answers if answer.status != 200})
        if others:
            yield f"{AT_ONCE} at once, {source}: expected 200 for all, saw {', '.join(others)} too"


@check(f"{AT_ONCE} cancels at once all get the same answer.", slow=True)
def at_once_the_same_answer(run: Run) -> Findings:
    """Of those that get an Appointment."""
    # What fell silent and cannot be read stays in doubt, for each that asks.
    for source, _, answers in _at_once(run)[: None if run.sandbox.readable else 1]:
        bodies = {answer.body for answer in answers if answer.status == 200}
        verdicts = sorted({answer.verdict for answer in answers if answer.status == 200})
        if len(bodies) > 1 or verdicts not in ([], ["200 cancelled"]):
            seen = f"{len(bodies)}: {', '.join(verdicts)}"
            yield f"{AT_ONCE} at once, {source}: expected one answer, 200 cancelled, saw {seen}"


# Somebody else was first


@check("An appointment that somebody else cancelled is 200 cancelled, and nothing is sent.")
def cancelled_by_another(run: Run) -> Findings:
    """Before the facade ever heard of it."""
    run.sandbox.only_if_readable()
    raw_id = run.sandbox.fresh(like=_cancelled_natively(run))
    answer = run.facade.cancel(raw_id)
    yield from answered(f"{answer.request} of what another has cancelled", "200 cancelled", answer)
    yield from differs("native cancels of what another has cancelled", 0, run.sandbox.cancels(raw_id))


@check("Doubt is settled by reading: cancelled once the source shows it, whoever cancelled, and nothing is sent again.")
def doubt_ends_when_another_cancels(run: Run) -> Findings:
    """After a cancel whose answer was lost and that was not applied."""
    run.sandbox.only_if_readable()
    raw_id = run.sandbox.fresh(run.sandbox.one_of("reset-before-commit", "500-before-commit", "timeout-before-commit"))
    run.facade.cancel(raw_id)
    run.sandbox.replace(raw_id, like=_cancelled_natively(run))
    answer = run.facade.cancel(raw_id)
    yield from answered(f"{answer.request} in doubt, cancelled by another", "200 cancelled", answer)
    yield from differs("native cancels in all", 1, run.sandbox.cancels(raw_id))


def _cancelled_natively(run: Run) -> str:
    """An appointment that the source itself shows as cancelled."""
    return run.cancelled()[0]
