"""Checks of request bodies and formats: media types, sizes, unambiguous JSON, the Appointment."""

import json
from collections.abc import Callable
from typing import Any

from facade.verify.check import Check, Findings, check, expect_equal, expect_result
from facade.verify.runner import Run
from facade.verify.target import CANCEL, with_reason

MAX_BODY = 64 * 1024
MAX_MEMBERS = 100  # of one array
_FRAME = '{"resourceType": "Appointment", "status": "cancelled", "x-verify": %s}'


def _refusal(name: str, promise: str, status: int, *bodies: Callable[[str], bytes]) -> Check:
    """Create a check that each of these bodies gets this status, and that nothing is sent to the source.

    Each body is a function of the appointment's id.
    """

    def prove(run: Run) -> Findings:
        appointment_id = run.sandbox.create()
        for number, body in enumerate(bodies, start=1):
            response = run.facade.cancel(appointment_id, body(appointment_id))
            yield from expect_result(f"{response.request} with body {number} of {len(bodies)}", str(status), response)
        yield from expect_equal("native requests for a rejected body", 0, len(run.sandbox.log(appointment_id)))

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
        "A status that is not an R4 code is 422.",
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


@check("A body of exactly 64 KiB is accepted; one byte more is 413, and nothing is sent.")
def body_size(run: Run) -> Findings:
    """The limit is the facade's; neither FHIR nor the scheduler's API guide has one."""
    for size, expected in ((MAX_BODY + 1, "413"), (MAX_BODY, "200 cancelled")):
        appointment_id = run.sandbox.create()
        frame = json.dumps({**CANCEL, "x-verify": ""})
        response = run.facade.cancel(appointment_id, frame.replace('""', f'"{"x" * (size - len(frame))}"').encode())
        yield from expect_result(f"{response.request} with {size} bytes", expected, response)
        if expected == "413":
            yield from expect_equal(
                "native requests for a body that is too large", 0, len(run.sandbox.log(appointment_id))
            )


@check(
    "A body with more than 100 members in an array, or 2,000 values in all, is 422, and nothing is sent; "
    "100 members are accepted."
)
def body_members(run: Run) -> Findings:
    """A larger body would take long to validate; a real request has a few members."""
    appointment_id = run.sandbox.create()
    many = [{"system": "urn:verify:elsewhere", "code": f"c{number}"} for number in range(MAX_MEMBERS + 1)]
    for what, body in (
        (f"{len(many)} codings", {**CANCEL, "cancelationReason": {"coding": many}}),
        (f"{len(many)} participants", {**CANCEL, "participant": [1] * len(many)}),
        ("2,100 values in all", {**CANCEL, "x-verify": [[0] * 70] * 30}),
    ):
        response = run.facade.cancel(appointment_id, body)
        yield from expect_result(f"{response.request} with {what}", "422", response)
    yield from expect_equal("native requests for a body with too many members", 0, len(run.sandbox.log(appointment_id)))
    response = run.facade.cancel(appointment_id, {**CANCEL, "cancelationReason": {"coding": many[:MAX_MEMBERS]}})
    yield from expect_result(f"{response.request} with {MAX_MEMBERS} codings", "200 cancelled", response)


@check("Unknown elements are ignored, and an id in the body may be absent.")
def unknown_elements_are_ignored(run: Run) -> Findings:
    """A partial Appointment with elements that the facade does not know."""
    response = run.facade.cancel(run.sandbox.create(), with_reason("pat", **{"x-verify": {"deep": [1, None, 2.5]}}))
    yield from expect_result(response.request, "200 cancelled", response)


@check("application/json is accepted too, in any spelling that HTTP allows.")
def plain_json_is_read(run: Run) -> Findings:
    """Schedulers send it."""
    for content_type in ("Application/JSON", "application/fhir+json; fhirVersion=4.0; charset=UTF-8"):
        response = run.facade.cancel(run.sandbox.create(), headers={"Content-Type": content_type})
        yield from expect_result(f"{response.request} as {content_type}", "200 cancelled", response)


@check("A body in another format or another FHIR version is 415, and nothing is sent.")
def unsupported_media_types(run: Run) -> Findings:
    """The facade checks the format first."""
    appointment_id = run.sandbox.create()
    for content_type in ("application/fhir+xml", "text/plain", "application/fhir+json; fhirVersion=3.0", None):
        response = run.facade.cancel(appointment_id, headers={"Content-Type": content_type})
        yield from expect_result(f"{response.request} as {content_type}", "415", response)
    yield from expect_equal("native requests for a body of another type", 0, len(run.sandbox.log(appointment_id)))


@check("A request for a response in XML, an unknown format or another FHIR version is 406, and nothing is sent.")
def formats_that_are_not_written(run: Run) -> Findings:
    """With Accept and with _format."""
    appointment_id = run.sandbox.create()
    for query, accept in (
        ("", "application/fhir+xml"),
        ("", "application/fhir+json; fhirVersion=3.0"),
        ("?_format=xml", None),
        ("?_format=application/fhir%2Bxml", "application/fhir+json"),
    ):
        response = run.facade.request(
            "POST",
            run.facade.path(appointment_id) + query,
            body=CANCEL,
            headers={"Accept": accept},
            about=appointment_id,
        )
        yield from expect_result(f"{response.request} with Accept {accept}", "406", response)
    yield from expect_equal("native requests for an unsupported format", 0, len(run.sandbox.log(appointment_id)))


@check("_format has precedence over Accept, and a client that accepts application/json gets it.")
def formats_that_are_written(run: Run) -> Findings:
    """The check sends reads, which cancel nothing."""
    appointment_id = run.cancelled()[0]
    for query, accept, media_type in (
        ("?_format=json", "application/fhir+xml", "application/fhir+json"),
        ("", "application/json", "application/json"),
        ("", "text/html, */*;q=0.1", "application/fhir+json"),
    ):
        path = run.facade.path(appointment_id) + query
        response = run.facade.request("GET", path, headers={"Accept": accept}, about=appointment_id)
        seen = f"{response.status} {response.headers.get('Content-Type', '').partition(';')[0]}"
        yield from expect_equal(f"{response.request} with Accept {accept}", f"200 {media_type}", seen)
