"""Every function that touches bytes from outside takes linear time, whatever the bytes are.

Costs are CPU time of this thread, compared with a harmless input of the same size in the same run.
"""

import contextlib
import gc
import json
import time
import tracemalloc

import pytest
from facade_fhir_r4 import translate as fhir_translate
from facade_heim import schemas, translate
from facade_heim.settings import HeimSettings
from werkzeug.test import EnvironBuilder

from facade import HttpResponse, SourceConfig
from facade.cancellation import native
from facade.errors import RequestError, SourceError
from facade.fhir import ids
from facade.fhir import request as cancel_request
from facade.fhir.appointment import Identity, complete
from facade.strict_json import NotStrictJson, dumps, loads, loads_native
from facade.web import content_negotiation, preconditions

SMALL, LARGE = 128 * 1024, 1024 * 1024
# How much more a hostile input may cost than a harmless one of its size; a quadratic reader took 10,000 times more.
WORSE = 100
# How much more a KiB may cost in a large input than in a small one; what is quadratic costs eight times more.
STEEPER = 5
# How much more memory a hostile input may take than a harmless one of its size, or than itself: an object of two bytes
# is one of 64 in memory. What kept each value's path took 1,900 times more.
LARGER = 100
FLOOR = 0.005  # seconds of CPU below which a comparison says nothing


def filled(start, unit, end=b""):
    """A document of about this size: the unit as often as it fits."""
    return lambda size: start + unit * ((size - len(start) - len(end)) // len(unit)) + end


def harmless(size):
    """Many small members, as JSON mostly is."""
    members = {f"member-{number:06}": "all is well" for number in range(size // 34)}
    return json.dumps({"resourceType": "Appointment", "id": "1", "metadata": members}).encode()


def named_at_length(start, unit, end):
    """A document of about this size: a few units, and a member's name that is as long as the rest."""
    return lambda size: start.replace(b"NAME", b"A" * (size - len(start) - len(unit) - len(end))) + unit + end


def names_in_names(size):
    """Sixty objects in each other, whose names are as long as there is room, and fewer values than any limit."""
    members = ",".join(f'"{number}":{{}}' for number in range(1_800))
    opened = '{"' + "A" * ((size - len(members)) // 60 - 5) + '":'
    return (opened * 60 + "{" + members + "}" * 61).encode()


SHAPES = {
    "quotes that are escaped": filled(b'{"x":', b'"\\'),
    "quotes": filled(b'{"x":', b'"'),
    "backslashes": filled(b'{"x":"', b"\\"),
    "escaped quotes in one text": filled(b'{"x":"', b'\\"', b'"}'),
    "an unterminated text": filled(b'{"x":"', b"x"),
    "open brackets": filled(b"", b"["),
    "open braces": filled(b"", b'{"x":'),
    "closed brackets": filled(b"", b"]"),
    "brackets in a text": filled(b'{"x":"', b"[{", b'"}'),
    "empty arrays": filled(b'{"x":[', b"[],", b"[]]}"),
    "empty objects": filled(b'{"participant":[', b"{},", b"{}]}"),
    "ones": filled(b'{"participant":[', b"1,", b"1]}"),
    "codings that are ones": filled(b'{"resourceType":"Appointment","cancelationReason":{"coding":[', b"1,", b"1]}}"),
    "codings that are empty": filled(
        b'{"resourceType":"Appointment","cancelationReason":{"coding":[', b"{},", b"{}]}}"
    ),
    "participants that are empty": filled(b'{"resourceType":"Appointment","participant":[', b"{},", b"{}]}"),
    "identifiers that are texts": filled(b'{"resourceType":"Appointment","identifier":[', b'"x",', b'"x"]}'),
    "extensions without a value": filled(
        b'{"resourceType":"Appointment","extension":[', b'{"url":"x"},', b'{"url":"x"}]}'
    ),
    "contained resources that are none": filled(b'{"resourceType":"Appointment","contained":[', b"{},", b"{}]}"),
    "a long number": filled(b'{"x":', b"7", b"}"),
    "a long fraction": filled(b'{"x":0.', b"7", b"}"),
    "a long exponent": filled(b'{"x":1e', b"7", b"}"),
    "numbers": filled(b'{"x":[', b"1e5,", b"1]}"),
    "the same member again": filled(b"{", b'"x":1,', b'"x":1}'),
    "surrogates": filled(b'{"x":"', b"\\ud83d\\ude00", b'"}'),
    "halves of surrogates": filled(b'{"x":"', b"\\ud800", b'"}'),
    "controls": filled(b'{"x":"', b"\\u0000", b'"}'),
    "line breaks before the error": filled(b"{", b"\n", b"x"),
    "bytes that are no UTF-8": filled(b'{"x":"', b"\xff", b'"}'),
    "spaces": filled(b"", b" "),
    "references": filled(b'{"resourceType":"Appointment","slot":[{"reference":"Slot/', b"/_history/1", b'"}]}'),
    "references one after another": filled(
        b'{"resourceType":"Appointment","slot":[', b'{"reference":"Slot/_"},', b"{}]}"
    ),
    "a narrative": filled(
        b'{"resourceType":"Appointment","text":{"status":"generated","div":"<div xmlns=\'http://www.w3.org/1999/xhtml\'>',
        b"<b>",
        b'"}}',
    ),
    "comments in a narrative": filled(
        b'{"resourceType":"Appointment","text":{"status":"generated","div":"<div xmlns=\'http://www.w3.org/1999/xhtml\'>',
        b"<!--",
        b'"}}',
    ),
    "periods": filled(b'{"resourceType":"Appointment","requestedPeriod":[', b'{"start":"2","end":"1"},', b"{}]}"),
    "contained resources of one id": filled(
        b'{"resourceType":"Appointment","contained":[', b'{"resourceType":"Patient","id":"p","meta":7},', b"{}]}"
    ),
    # Fewer values than any limit, so that nothing but their names' length is too much.
    "a long name": named_at_length(
        b'{"resourceType":"Appointment","NAME":{', b",".join(b'"%d":1' % number for number in range(1_900)), b"}}"
    ),
    "a long name of arrays": named_at_length(
        b'{"resourceType":"Appointment","NAME":[', b",".join([b"[" + b"[]," * 17 + b"[]]"] * 90), b"]}"
    ),
    "long names in each other": names_in_names,
}


HOSTILE_HEADERS = {
    "tags": filled(b"", b'"a",'),
    "tags and spaces": filled(b'"a"', b" ", b"x"),
    "tags, spaces and commas": filled(b"", b'"a"   ,   ', b"x"),
    "types": filled(b"", b"a/b,"),
    "options": filled(b"a/b", b';c="d"'),
    "options that do not end": filled(b"a/b", b';c="'),
    "options that are escaped": filled(b'a/b;c="', b'\\"'),
    "semicolons": filled(b"a/b", b"; "),
}


@pytest.fixture(scope="module")
def heim():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HEIM_KEY", "test_key")
        settings = HeimSettings().load({"plugin": "heim", "api_key_env": "HEIM_KEY", "environment": "test"})
    return SourceConfig(plugin="heim", name="heim", settings=settings)


def identity():
    return Identity(source="x", source_system="urn:x", native_system=lambda kind: f"urn:x:{kind}")


def as_document(body):
    """What a tolerant reader makes of it; the bytes as a text where it makes nothing."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        found = {"comment": body.decode("latin-1")}
    return found if isinstance(found, dict) else {"comment": found}


def client_request(headers):
    return EnvironBuilder(method="POST", headers=headers).get_request()


# Each function that reads what came from outside: as bytes, as parsed JSON, as a header.


BYTES = {
    "loads": loads,
    "loads_native": loads_native,
    "loads_native exactly": lambda body: loads_native(body, exact=True),
    "dumps": lambda body: dumps(loads_native(body, exact=True)),
    "an answer": lambda body: HttpResponse(200, {}, body).json(),
    "an id": lambda body: ids.parse(body.decode("latin-1"), r"[A-Za-z0-9_.-]{1,64}"),
}
DOCUMENTS = {
    "a cancel request": lambda document, heim: cancel_request.parse({**document, "status": "cancelled"}, "1"),
    "an appointment of Heim": lambda document, heim: translate.to_fhir(
        schemas.parse(document, heim.settings["places"]), heim
    ),
    "a webhook of Heim": lambda document, heim: schemas.webhook_appointment(document, heim.settings),
    "an error of Heim": lambda document, heim: heim.settings["own_error"].search(document),
    "an appointment of a FHIR server": lambda document, heim: fhir_translate.to_fhir(
        {**document, "resourceType": "Appointment", "id": "1"}, "", "1"
    ),
    "what an adapter gives": lambda document, heim: native.checked({**document, "id": "1"}, "1"),
    "an Appointment to send": lambda document, heim: complete(
        native.checked({**document, "id": "1"}, "1"), identity=identity(), appointment_id="1", status="booked"
    ),
}
HEADERS = {
    "If-Match": lambda value: preconditions.if_match(client_request({"If-Match": value})),
    "Accept": lambda value: content_negotiation.response_type(client_request({"Accept": value})),
    "Content-Type": lambda value: content_negotiation.check_content_type(client_request({"Content-Type": value})),
}


def header(body):
    """What of it fits into a header; a server takes 8 KiB of one."""
    return "".join(c if " " <= c <= "~" else "x" for c in body[:8190].decode("latin-1"))


@pytest.fixture(autouse=True)
def _without_collection():
    """How often the garbage collector comes along depends on what else this process holds."""
    gc.disable()
    yield
    gc.enable()


def cost(act, *given, allowed=0.0):
    """Seconds of CPU, and again, at most twice, while they are more than is allowed: the least of them."""
    found = []
    while not found or (min(found) > allowed and len(found) < 3 and min(found) < 2.0):
        found.append(_once(act, given))
    return max(FLOOR, min(found))


def _once(act, given):
    began = time.thread_time()
    with contextlib.suppress(NotStrictJson, RequestError, SourceError):
        act(*given)
    return time.thread_time() - began


def assert_linear(name, act, shape, allowed, *given):
    """A large input costs no more than is allowed, and a KiB of it not much more than a KiB of a small one."""
    large = cost(act, shape(LARGE), *given, allowed=allowed)
    assert large <= allowed, f"{name} costs {large:.3f} s, allowed are {allowed:.3f} s"
    small = cost(act, shape(SMALL), *given)
    steep = STEEPER * small / SMALL * LARGE
    if large > max(FLOOR * 4, steep):
        large = cost(act, shape(LARGE), *given, allowed=steep)
        assert large <= steep, f"{name} costs more a KiB the larger it is: {small:.3f} s and {large:.3f} s"


@pytest.mark.parametrize("reader", BYTES)
def test_hostile_bytes_cost_about_what_harmless_ones_do(reader):
    act = BYTES[reader]
    allowed = WORSE * cost(act, harmless(LARGE))
    for name, shape in SHAPES.items():
        assert_linear(f"{reader}: {name}", act, shape, allowed)


@pytest.mark.parametrize("reader", DOCUMENTS)
def test_a_hostile_document_costs_no_more_than_a_harmless_one(heim, reader):
    act = DOCUMENTS[reader]
    allowed = WORSE * cost(act, as_document(harmless(LARGE)), heim)
    for name, shape in SHAPES.items():
        assert_linear(f"{reader}: {name}", act, lambda size, shape=shape: as_document(shape(size)), allowed, heim)


@pytest.mark.parametrize("reader", HEADERS)
def test_a_hostile_header_costs_about_what_a_harmless_one_does(reader):
    act = HEADERS[reader]
    allowed = WORSE * cost(act, "x" * 8190)
    for name, shape in {**SHAPES, **HOSTILE_HEADERS}.items():
        spent = cost(act, header(shape(SMALL)), allowed=allowed)
        assert spent <= allowed, f"{reader}: {name} costs {spent:.3f} s, allowed are {allowed:.3f} s"


def memory(act, *given):
    """The most bytes that were taken at one time while it ran."""
    tracemalloc.start()
    try:
        _once(act, given)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("reader", [*BYTES, *DOCUMENTS, *HEADERS])
def test_a_hostile_input_takes_no_more_memory_than_another(heim, reader):
    as_read = {**dict.fromkeys(BYTES, bytes), **dict.fromkeys(DOCUMENTS, as_document), **dict.fromkeys(HEADERS, header)}
    act, more = {**BYTES, **DOCUMENTS, **HEADERS}[reader], (heim,) if reader in DOCUMENTS else ()
    memory(act, as_read[reader](harmless(SMALL)), *more)  # what is loaded at the first use only
    allowed = LARGER * max(memory(act, as_read[reader](harmless(SMALL)), *more), SMALL)
    for name, shape in SHAPES.items():
        taken = memory(act, as_read[reader](shape(SMALL)), *more)
        assert taken <= allowed, f"{reader}: {name} takes {taken} bytes, allowed are {allowed}"
