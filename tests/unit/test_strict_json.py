"""JSON that means one thing only: what each of the two readers refuses, what it bears, and what is written back."""

import pytest

from facade.strict_json import (
    MAX_DEPTH,
    MAX_DIGITS,
    MAX_NATIVE_DEPTH,
    NotStrictJson,
    TooMany,
    check_size,
    dumps,
    loads,
    loads_native,
)


def nested(depth):
    return b"[" * depth + b"]" * depth


@pytest.mark.parametrize(
    ("body", "word"),
    [
        (b"\xef\xbb\xbf{}", "byte order mark"),
        ("{}".encode("utf-16"), "not UTF-8"),
        (b"{", "line 1, column 2"),
        (b'{"a": 1, "a": 1}', "twice"),
        (b'[{"b": {"a": 1, "a": 2}}]', "twice"),
        (b"NaN", "NaN"),
        (b"[-Infinity]", "NaN"),
        (b"1e999", "too large"),
        (b"-1e999", "too large"),
        (b"9" * (MAX_DIGITS + 1), "digits"),
        (b"-" + b"9" * (MAX_DIGITS + 1), "digits"),
        (b"0." + b"9" * MAX_DIGITS, "digits"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00": 1}', "surrogate"),
        (nested(MAX_DEPTH + 1), "levels"),
        (nested(100_000), "levels"),
    ],
)
def test_what_means_two_things_or_ends_the_parser_is_refused(body, word):
    with pytest.raises(NotStrictJson, match=word):
        loads(body)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b"9" * MAX_DIGITS, int("9" * MAX_DIGITS)),
        (b"1e308", 1e308),
        (b'"\\ud83d\\ude00"', "😀"),
        (b'"' + b"[{" * 500 + b'"', "[{" * 500),
        (b'"' + b'\\"[' * 500 + b'"', '"[' * 500),
        (b"[" + b"[]," * 500 + b"[]]", [[]] * 501),
    ],
)
def test_what_only_seems_so_is_read(body, value):
    assert loads(body) == loads_native(body) == value


def test_a_sign_is_no_digit():
    assert loads(b"-" + b"9" * MAX_DIGITS) == -int("9" * MAX_DIGITS)


@pytest.mark.parametrize(("read", "most"), [(loads, MAX_DEPTH), (loads_native, MAX_NATIVE_DEPTH)])
def test_each_reader_has_its_depth(read, most):
    read(nested(most))
    with pytest.raises(NotStrictJson, match=f"more than {most} levels"):
        read(nested(most + 1))


def test_a_source_may_write_nothing_ambiguous():
    assert loads_native(b"\xef\xbb\xbf[NaN, -Infinity, 1e999]") == [None, None, float("inf")]
    assert loads_native(b"9" * 100) == float("9" * 100)
    for body, word in ((b'{"a": 1, "a": 1}', "twice"), (b"\xff", "not JSON in UTF-8"), (b"[", "not JSON")):
        with pytest.raises(NotStrictJson, match=word):
            loads_native(body)


def test_what_is_written_back_is_what_was_read():
    for text in ("1.10", "1e2", "9" * 100, "-0", "0.30000000000000004"):
        assert dumps(loads_native(text.encode(), exact=True)) == text
    for body in (b"NaN", b"[Infinity]"):
        with pytest.raises(NotStrictJson, match="NaN and infinities"):
            loads_native(body, exact=True)
    with pytest.raises(ValueError, match="not JSON compliant"):
        dumps(float("nan"))
    with pytest.raises(TypeError, match="set is not JSON"):
        dumps({1})


def test_a_document_has_a_bound_of_members_and_of_values():
    assert check_size({"a": [1, 2], "b": {}}, members=2, values=4) == 4
    with pytest.raises(TooMany) as raised:
        check_size({"a": [{"b": [1, 2, 3]}]}, members=2, values=100)
    assert raised.value.path == "a[0].b"
    with pytest.raises(TooMany) as raised:
        check_size({"a": [1, 2], "b": {}}, members=2, values=3)
    assert raised.value.path == ""


@pytest.mark.parametrize("depth", [1, 40])
def test_a_long_name_is_cut_in_the_path_of_what_is_too_much(depth):
    found = [1, 2, 3]
    for _ in range(depth):
        found = {"A" * 60_000: found}
    with pytest.raises(TooMany) as raised:
        check_size(found, members=2, values=100)
    assert raised.value.path == ".".join(["A" * 64 + "…"] * depth)
