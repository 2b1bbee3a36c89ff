"""Mutants of what reads bytes from outside: ids and JSON."""

from tests.mutants.mutant import of

HOSTILE = "tests/integration/test_hostile_requests.py"
IDS = f"{HOSTILE}::test_ids_are_encoded_reversibly_and_only_where_they_must_be"
RAW = f"{HOSTILE}::test_what_encode_would_not_have_written_is_a_raw_id"
NO_ID = f"{HOSTILE}::test_an_id_the_source_cannot_have_is_not_found"
JSON = "tests/unit/test_strict_json.py"

READERS = [
    *of(
        "facade/fhir/ids.py",
        ("a raw id that resembles an encoded one stays", " and not raw.startswith(MARK)", "", IDS),
        ("an id with a legal beginning is legal", "if _LEGAL.fullmatch(raw)", "if _LEGAL.match(raw)", IDS),
        (
            "what encode would not have written is decoded",
            "return raw if encode(raw) == text else text",
            "return raw",
            RAW,
        ),
        (
            "bytes that are no UTF-8 are an error",
            "    except UnicodeDecodeError:\n        return text\n",
            "    except ZeroDivisionError:\n        return text\n",
            RAW,
        ),
        (
            "an id with a fitting beginning fits the pattern",
            "not re.fullmatch(pattern, raw)",
            "not re.match(pattern, raw)",
            NO_ID,
        ),
        ("dots alone are an id", "if dots_alone or not re", "if not re", NO_ID),
        (
            "an id of any length is an id",
            " or len(encode(raw)) > MAX_LENGTH",
            "",
            f"{HOSTILE}::test_an_encoded_form_over_64_characters_is_not_found",
        ),
    ),
    *of(
        "facade/strict_json.py",
        ("the same member twice is the last one", "    if len(members) != len(pairs):\n", "    if False:\n", JSON),
        ("a byte order mark is skipped", '    if body.startswith(b"\\xef\\xbb\\xbf"):\n', "    if False:\n", JSON),
        (
            "NaN is a number",
            '    raise NotStrictJson("NaN and infinities are not JSON")',
            '    return float("nan")',
            JSON,
        ),
        ("any depth is parsed", "    if _is_deeper(body, MAX_DEPTH):\n", "    if False:\n", JSON),
        (
            "a source's document may be of any depth",
            "    if _is_deeper(body, MAX_NATIVE_DEPTH):\n",
            "    if False:\n",
            JSON,
        ),
        ("65 levels are parsed", "initial=0)) > limit", "initial=0)) > limit + 1", JSON),
        (
            "brackets in a text are levels",
            'brackets = b"".join(_UP_TO_BRACKET.findall(body))',
            "brackets = bytes(byte for byte in body if byte in _STEP)",
            JSON,
        ),
        (
            "an integer may have any number of digits",
            '    if len(digits.lstrip("-")) > MAX_DIGITS:\n',
            "    if False:\n",
            JSON,
        ),
        ("a fraction may have any number of digits", "    if len(digits) > MAX_DIGITS:\n", "    if False:\n", JSON),
        ("a number may be infinite", '    if number in (float("inf"), float("-inf")):\n', "    if False:\n", JSON),
        ("half of a surrogate pair is a text", '        if "\\\\u" in text:\n', "        if False:\n", JSON),
        (
            "an array may have any number of members",
            "if isinstance(found, list) and len(found) > members:",
            "if False:",
            JSON,
        ),
        ("a document may have any number of values", "        if left < 0:\n", "        if False:\n", JSON),
        (
            "NaN is written back",
            "json.dumps(value, allow_nan=False, default=_marked)",
            "json.dumps(value, default=_marked)",
            JSON,
        ),
        (
            "NaN is written back as null",
            "parse_constant=_no_constant if exact else lambda _: None",
            "parse_constant=lambda _: None",
            JSON,
        ),
    ),
]
