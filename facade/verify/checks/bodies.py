"""Checks of what a request may be: formats, sizes, JSON that means one thing, an Appointment."""

import json
from collections.abc import Callable
from typing import Any

from facade.verify.check import Check, Findings, answered, check, differs
from facade.verify.runner import Run
from facade.verify.target import CANCEL, with_reason

MAX_BODY = 64 * 1024
MAX_MEMBERS = 100  # of one array
_FRAME = '{"resourceType": "Appointment", "status": "cancelled", "x-verify": %s}'


def _refusal(name: str, promise: str, status: int, *bodies: Callable[[str], bytes]) -> Check:
    """A check that each of these bodies, made for an appointment's id, gets this status and goes nowhere."""

    def prove(run: Run) -> Findings:
        appointment_id = run.sandbox.fresh()
        for number, body in enumerate(bodies, start=1):
            answer = run.facade.cancel(appointment_id, body(appointment_id))
            yield from answered(f"{answer.request} with body {number} of {len(bodies)}", str(status), answer)
        yield from differs("native requests for a body that is refused", 0, len(run.sandbox.log(appointment_id)))

    return Check(name=name, promise=promise, prove=prove)


def _raw(*texts: bytes | str) -> list[Callable[[str], bytes]]:
    def fixed(text: bytes | str) -> Callable[[str], bytes]:
        return lambda _: text if isinstance(text, bytes) else text.encode()

    return [fixed(text) for text in texts]


def _json(*values: Any) -> list[Callable[[str], bytes]]:
    return _raw(*(json.dumps(value) for value in values))


REFUSALS = (
    _refusal(
        "body-not-utf-8",
        "A body that is not UTF-8 is 400.",
        400,
        *_raw((_FRAME % '"\xe9"').encode("latin-1"), json.dumps(CANCEL).encode("utf-16")),
    ),
    _refusal(
        "body-byte-order-mark",
        "A body with a byte order mark is 400.",
        400,
        *_raw(b"\xef\xbb\xbf" + json.dumps(CANCEL).encode()),
    ),
    _refusal("body-not-json", "A body that is not JSON is 400.", 400, *_raw("", "{", json.dumps(CANCEL) + " {}")),
    _refusal("body-not-an-object", "JSON that is not an object is 400.", 400, *_json([CANCEL], "Appointment", None, 4)),
    _refusal(
        "body-duplicate-keys",
        "Duplicate keys are 400, at any depth.",
        400,
        *_raw(
            '{"resourceType": "Appointment", "status": "booked", "status": "cancelled"}', _FRAME % '{"a": 1, "a": 2}'
        ),
    ),
    _refusal("body-nan", "NaN and infinities are 400.", 400, *_raw(_FRAME % "NaN", _FRAME % "-Infinity")),
    _refusal("body-lone-surrogate", "Half of a surrogate pair is 400.", 400, *_raw(_FRAME % '"\\ud800"')),
    _refusal(
        "body-deep-nesting", "Nesting over 64 levels is 400.", 400, *_raw(_FRAME % ("[" * 64 + "]" * 64), "[" * 60_000)
    ),
    _refusal(
        "body-big-integer", "Integers over 64 digits are 400.", 400, *_raw(_FRAME % ("9" * 65), _FRAME % ("9" * 5000))
    ),
    _refusal(
        "body-not-an-appointment",
        "A body that is not an Appointment is 400.",
        400,
        *_json({}, {"status": "cancelled"}, {**CANCEL, "resourceType": "Patient"}),
    ),
    _refusal(
        "body-of-another-id",
        "An id in the body that differs from the path's is 400.",
        400,
        lambda raw_id: json.dumps({**CANCEL, "id": f"{raw_id}1"}).encode(),
    ),
    _refusal("status-absent", "An absent status is 422.", 422, *_json({"resourceType": "Appointment"})),
    _refusal(
        "status-not-a-code",
        "A status that is no R4 code is 422.",
        422,
        *_json(*({**CANCEL, "status": status} for status in ("canceled", "Cancelled", ""))),
    ),
    _refusal(
        "element-of-a-wrong-type",
        "A wrong JSON type of a known element is 422.",
        422,
        *_json(
            {**CANCEL, "status": 4},
            {**CANCEL, "comment": 4},
            {**CANCEL, "cancelationReason": "pat"},
            {**CANCEL, "cancelationReason": {"coding": [{"code": 5}]}},
            {**CANCEL, "participant": {}},
        ),
    ),
)


@check("A body of exactly 64 KiB is read, one byte more is 413 and goes nowhere.")
def body_size(run: Run) -> Findings:
    """The limit is this facade's own: neither FHIR nor the scheduler's API guide has one."""
    for size, expected in ((MAX_BODY + 1, "413"), (MAX_BODY, "200 cancelled")):
        appointment_id = run.sandbox.fresh()
        frame = json.dumps({**CANCEL, "x-verify": ""})
        answer = run.facade.cancel(appointment_id, frame.replace('""', f'"{"x" * (size - len(frame))}"').encode())
        yield from answered(f"{answer.request} with {size} bytes", expected, answer)
        if expected == "413":
            yield from differs("native requests for a body too large", 0, len(run.sandbox.log(appointment_id)))


@check(
    "A body with more than 100 members in an array, or 2,000 values in all, is 422 and goes nowhere; "
    "100 members are read."
)
def body_members(run: Run) -> Findings:
    """What takes long to look at is not looked at; a request that is meant as one has a few members."""
    appointment_id = run.sandbox.fresh()
    many = [{"system": "urn:verify:elsewhere", "code": f"c{number}"} for number in range(MAX_MEMBERS + 1)]
    for what, body in (
        (f"{len(many)} codings", {**CANCEL, "cancelationReason": {"coding": many}}),
        (f"{len(many)} participants", {**CANCEL, "participant": [1] * len(many)}),
        ("2,100 values in all", {**CANCEL, "x-verify": [[0] * 70] * 30}),
    ):
        answer = run.facade.cancel(appointment_id, body)
        yield from answered(f"{answer.request} with {what}", "422", answer)
    yield from differs("native requests for a body with too many members", 0, len(run.sandbox.log(appointment_id)))
    answer = run.facade.cancel(appointment_id, {**CANCEL, "cancelationReason": {"coding": many[:MAX_MEMBERS]}})
    yield from answered(f"{answer.request} with {MAX_MEMBERS} codings", "200 cancelled", answer)


@check("Unknown elements are ignored, and an id in the body may be absent.")
def unknown_elements_are_ignored(run: Run) -> Findings:
    """A partial Appointment with more in it than the facade knows."""
    answer = run.facade.cancel(run.sandbox.fresh(), with_reason("pat", **{"x-verify": {"deep": [1, None, 2.5]}}))
    yield from answered(answer.request, "200 cancelled", answer)


@check("application/json is read too, in any spelling that HTTP allows.")
def plain_json_is_read(run: Run) -> Findings:
    """As schedulers send it."""
    for content_type in ("Application/JSON", "application/fhir+json; fhirVersion=4.0; charset=UTF-8"):
        answer = run.facade.cancel(run.sandbox.fresh(), headers={"Content-Type": content_type})
        yield from answered(f"{answer.request} as {content_type}", "200 cancelled", answer)


@check("A body in another format or another FHIR version is 415 and goes nowhere.")
def unsupported_media_types(run: Run) -> Findings:
    """Decided before anything else happens."""
    appointment_id = run.sandbox.fresh()
    for content_type in ("application/fhir+xml", "text/plain", "application/fhir+json; fhirVersion=3.0", None):
        answer = run.facade.cancel(appointment_id, headers={"Content-Type": content_type})
        yield from answered(f"{answer.request} as {content_type}", "415", answer)
    yield from differs("native requests for a body of another type", 0, len(run.sandbox.log(appointment_id)))


@check("An answer asked for in XML, an unknown format or another FHIR version is 406, and nothing is sent.")
def formats_that_are_not_written(run: Run) -> Findings:
    """By Accept and by _format."""
    appointment_id = run.sandbox.fresh()
    for query, accept in (
        ("", "application/fhir+xml"),
        ("", "application/fhir+json; fhirVersion=3.0"),
        ("?_format=xml", None),
        ("?_format=application/fhir%2Bxml", "application/fhir+json"),
    ):
        answer = run.facade.request(
            "POST",
            run.facade.path(appointment_id) + query,
            body=CANCEL,
            headers={"Accept": accept},
            about=appointment_id,
        )
        yield from answered(f"{answer.request} with Accept {accept}", "406", answer)
    yield from differs("native requests for a format that is not written", 0, len(run.sandbox.log(appointment_id)))


@check("_format wins over Accept, and application/json is answered to who asks for it.")
def formats_that_are_written(run: Run) -> Findings:
    """Reads, so that nothing is cancelled over it."""
    appointment_id = run.cancelled()[0]
    for query, accept, media_type in (
        ("?_format=json", "application/fhir+xml", "application/fhir+json"),
        ("", "application/json", "application/json"),
        ("", "text/html, */*;q=0.1", "application/fhir+json"),
    ):
        path = run.facade.path(appointment_id) + query
        answer = run.facade.request("GET", path, headers={"Accept": accept}, about=appointment_id)
        seen = f"{answer.status} {answer.headers.get('Content-Type', '').partition(';')[0]}"
        yield from differs(f"{answer.request} with Accept {accept}", f"200 {media_type}", seen)
