"""Requests that mean harm, or two things at once: a clear refusal, and no byte to the source."""

import json

import pytest

from facade import strict_json
from facade.errors import NotFound
from facade.fhir import ids

FRAME = '{"resourceType": "Appointment", "status": "cancelled", "comment": %s}'


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"resourceType": "Appointment", "status": "cancelled"} {}', "not JSON"),
        (b"\xef\xbb\xbf" + (FRAME % '"x"').encode(), "byte order mark"),
        ((FRAME % '"x"').encode("utf-16"), "not UTF-8"),
        ((FRAME % '"\xe9"').encode("latin-1"), "not UTF-8"),
        (b'{"resourceType": "Appointment", "status": "booked", "status": "cancelled"}', "twice"),
        ((FRAME % '{"a": {"b": 1, "b": 2}}').encode(), "twice"),
        ((FRAME % "NaN").encode(), "NaN"),
        ((FRAME % "-Infinity").encode(), "NaN"),
        ((FRAME % "1e400").encode(), "too large"),
        ((FRAME % ("9" * 5000)).encode(), "64 digits"),
        ((FRAME % ("9" * 65)).encode(), "64 digits"),
        ((FRAME % ("0." + "9" * 65)).encode(), "64 digits"),
        ((FRAME % '"\\ud800"').encode(), "surrogate"),
        ((FRAME % '"\\udc00\\ud800"').encode(), "surrogate"),
        (b"[" * 60_000, "nested"),
        (b'{"a":' * 65 + b"1" + b"}" * 65, "nested"),
        ((FRAME % ("[" * 64 + "]" * 64)).encode(), "nested"),
    ],
)
def test_json_that_is_ambiguous_malformed_or_monstrous_is_400(client, simulator, body, word):
    response = client.cancel("apt_1", body)
    assert response.status_code == 400
    assert word in response.json["issue"][0]["details"]["text"]
    assert simulator.log.entries() == []


@pytest.mark.parametrize(
    "comment",
    [
        '"a \\"quoted\\" [[[ {{{ bracket"',
        '"' + "[" * 500 + '"',
        '"\\\\"',
        '"\\ud83d\\ude00"',
        "null",
        '"\\u0000\\u0007"',
    ],
)
def test_json_that_only_seems_monstrous_is_read(client, comment):
    assert client.cancel("apt_1", FRAME % comment).json["status"] == "cancelled"


@pytest.mark.parametrize("depth", [64, 65])
def test_nesting_is_counted_from_the_outside(depth):
    body = b"[" * depth + b"]" * depth
    if depth <= strict_json.MAX_DEPTH:
        strict_json.loads(body)
    else:
        with pytest.raises(strict_json.NotStrictJson):
            strict_json.loads(body)


def test_a_number_of_64_digits_is_read():
    assert strict_json.loads(b"9" * 64) == int("9" * 64)


HOSTILE_IDS = ["..", ".", "...", "a b", "a\\b", "a\x00b", "a\r\nX", "a%b", "é", "a;b", "a?b", "a#b", "x" * 65, ""]


@pytest.mark.parametrize("raw", HOSTILE_IDS)
def test_an_id_the_source_cannot_have_is_not_found(raw):
    with pytest.raises(NotFound):
        ids.parse(raw, r"[A-Za-z0-9_.-]{1,64}")
    with pytest.raises(NotFound):
        ids.parse(ids.encode(raw), r"[A-Za-z0-9_.-]{1,64}")


@pytest.mark.parametrize("path", ["..", "%2e%2e", "a%00b", "a%0d%0aX", "x" * 65, "%252e%252e", "a%5Cb", "a b", "x-."])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_hostile_id_is_404_and_no_byte_reaches_the_source(client, simulator, path, method):
    body = json.dumps({"resourceType": "Appointment", "status": "cancelled"})
    response = client.request(method, f"/Appointment/heim/{path}", data=body if method == "POST" else None)
    assert response.status_code == 404
    assert response.json["resourceType"] == "OperationOutcome"
    assert simulator.log.entries() == []


@pytest.mark.parametrize("path", ["/Appointment/heim%2Fapt_1", "/Appointment/heim/a%2Fb", "/Appointment/heim/apt_1%2f"])
def test_an_encoded_slash_is_404_and_no_other_route(client, simulator, path):
    assert client.request("POST", path, data=json.dumps({})).status_code == 404
    assert simulator.log.entries() == []


@pytest.mark.parametrize(
    "path", ["//Appointment/heim/apt_1", "/Appointment//apt_1", "/Appointment/heim/apt_1/", "/Appointment"]
)
def test_a_path_like_a_route_is_404_and_never_a_redirect(client, simulator, path):
    body = json.dumps({"resourceType": "Appointment", "status": "cancelled"})
    assert client.request("POST", path, data=body).status_code == 404
    assert simulator.log.entries() == []


def test_ids_are_encoded_reversibly_and_only_where_they_must_be():
    for raw in ["1839594", "a.b-C", "p_1", "x-.y", "x-", "é_ß", "a b", "😀", "_", "x-.x-.2e", "..a"]:
        encoded = ids.encode(raw)
        assert ids.decode(encoded) == raw
        assert (encoded == raw) == (set(raw) <= set("abcCx1839594-.") and not raw.startswith("x-."))
    assert ids.encode("p_1") == "x-.p.5f1"
    assert ids.encode("é.") == "x-..c3.a9.2e"


@pytest.mark.parametrize("text", ["x-.abc", "x-.p.5F1", "x-.p.5", "x-..ff", "x-.a_b"])
def test_what_encode_would_not_have_written_is_a_raw_id(text):
    assert ids.decode(text) == text


def test_an_encoded_form_over_64_characters_is_not_found():
    raw = "_" * 21
    assert len(ids.encode(raw)) == 66
    with pytest.raises(NotFound):
        ids.parse(raw, ".*")
    assert ids.parse("_" * 20, ".*") == "_" * 20
