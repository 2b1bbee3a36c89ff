"""Checks of ids that mean harm: they are 404, and not one byte of them reaches the source."""

from facade.testing.text_search import mentions
from facade.verify.check import Findings, answered, check
from facade.verify.hl7 import encoded
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL

_DOTS = (".", "..", "%2e", "%2e%2e", "%2E%2E", ".%2e")
# Around the id of an appointment that exists; as they stand in the path.
_SLASHED = (
    "{0}%2Fx",
    "{0}%2fx",
    "{0}%2F",
    "%2F{0}",
    "..%2F{0}",
    "%2e%2e%2f%2e%2e%2f{0}",
    "x%2F..%2F{0}",
    "{0}%2F..%2F{0}",
)
_CONTROLS = ("{0}%00", "{0}%0a", "{0}%0d%0aX:%20y", "%00{0}", "{0}%7F", "{0}%1b")


def _asked(run: Run) -> tuple[str, list[WireResponse], list[str]]:
    """The victim's id, the answers to all hostile requests, and what the source saw of them."""

    def make() -> tuple[str, list[WireResponse], list[str]]:
        victim = run.sandbox.fresh()
        hostile = [*_DOTS, *(pattern.format(victim) for pattern in (*_SLASHED, *_CONTROLS))]
        # The encoded form of a raw id that holds a slash, dots before one, or a control character.
        hostile += ["x-." + _hexadecimal(raw) for raw in (f"../{victim}", f"{victim}/x", f"{victim}\x00")]
        seen = max((entry["number"] for entry in run.sandbox.log()), default=0)
        answers = []
        for path in hostile:
            target = f"/Appointment/{run.facade.source}/{path}"
            answers += [run.facade.request("POST", target, body=CANCEL), run.facade.request("GET", target)]
        reached = []
        for entry in run.sandbox.log():
            # A facade may meanwhile look at appointments of its own; those have ordinary ids.
            foreign = entry["appointment"] is None or not entry["appointment"].strip(".")
            about = mentions(victim, [entry["path"], entry["appointment"]])
            if entry["number"] > seen and (foreign or about):
                reached.append(f"{entry['method']} {entry['path']}")
        return victim, answers, reached

    return run.once("hostile ids", make)


def _hexadecimal(raw: str) -> str:
    return "".join(char if char.isalnum() or char == "-" else f".{ord(char):02x}" for char in raw)


@check("Ids of dots, with an encoded slash or a control character in the raw path, are 404.", alone=True)
def hostile_ids_are_not_found(run: Run) -> Findings:
    """Question 5 of docs/reference/errors.md, *Which status*."""
    for answer in _asked(run)[1]:
        yield from answered(answer.request, "404", answer)


@check("Hostile ids send no byte to the source.", alone=True)
def hostile_ids_stay_outside(run: Run) -> Findings:
    """By the source's own log."""
    for request in dict.fromkeys(_asked(run)[2]):
        yield f"a hostile id: expected no byte to the source, saw it receive {request}"


@check("An id whose encoded form is longer than 64 characters is 404.")
def ids_too_long(run: Run) -> Findings:
    """FHIR has no id for it."""
    for raw_id in ("_" * 25, "a" * 65):
        for path in (raw_id, encoded(raw_id)):
            answer = run.facade.request("POST", f"/Appointment/{run.facade.source}/{path}", body=CANCEL)
            yield from answered(answer.request, "404", answer)
