"""Checks of hostile ids: they are 404, and none of their bytes reaches the source."""

from facade.testing.text_search import mentions
from facade.verify.check import Findings, check, expect_result
from facade.verify.hl7 import encoded
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL

_DOTS = (".", "..", "%2e", "%2e%2e", "%2E%2E", ".%2e")
# Around the id of an appointment that exists; sent in the path without any change.
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


def _hostile_requests(run: Run) -> tuple[str, list[WireResponse], list[str]]:
    """Send the hostile requests. Returns the victim's id, the responses, and what the source received of them."""

    def make() -> tuple[str, list[WireResponse], list[str]]:
        victim = run.sandbox.create()
        hostile = [*_DOTS, *(pattern.format(victim) for pattern in (*_SLASHED, *_CONTROLS))]
        # The encoded form of a raw id that contains a slash, dots before a slash, or a control character.
        hostile += ["x-." + _hexadecimal(raw) for raw in (f"../{victim}", f"{victim}/x", f"{victim}\x00")]
        seen = max((entry["number"] for entry in run.sandbox.log()), default=0)
        responses = []
        for path in hostile:
            target = f"/Appointment/{run.facade.source}/{path}"
            responses += [run.facade.request("POST", target, body=CANCEL), run.facade.request("GET", target)]
        reached = []
        for entry in run.sandbox.log():
            # Meanwhile a facade may probe its own appointments, which have ordinary ids.
            foreign = entry["appointment"] is None or not entry["appointment"].strip(".")
            about = mentions(victim, [entry["path"], entry["appointment"]])
            if entry["number"] > seen and (foreign or about):
                reached.append(f"{entry['method']} {entry['path']}")
        return victim, responses, reached

    return run.once("hostile ids", make)


def _hexadecimal(raw: str) -> str:
    return "".join(char if char.isalnum() or char == "-" else f".{ord(char):02x}" for char in raw)


@check("Ids of dots, with an encoded slash or a control character in the raw path, are 404.", alone=True)
def hostile_ids_are_not_found(run: Run) -> Findings:
    """Question 5 of docs/reference/errors.md, *Which status*."""
    for response in _hostile_requests(run)[1]:
        yield from expect_result(response.request, "404", response)


@check("Hostile ids send no byte to the source.", alone=True)
def hostile_ids_stay_outside(run: Run) -> Findings:
    """The source's own log shows it."""
    for request in dict.fromkeys(_hostile_requests(run)[2]):
        yield f"a hostile id: expected no byte to the source, saw it receive {request}"


@check("An id whose encoded form is longer than 64 characters is 404.")
def ids_too_long(run: Run) -> Findings:
    """FHIR allows no such id."""
    for raw_id in ("_" * 25, "a" * 65):
        for path in (raw_id, encoded(raw_id)):
            response = run.facade.request("POST", f"/Appointment/{run.facade.source}/{path}", body=CANCEL)
            yield from expect_result(response.request, "404", response)
