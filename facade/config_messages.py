"""Messages about a configuration: the setting's path, what is wrong, the next step. They contain no values."""

import difflib
import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from marshmallow import Schema, ValidationError, fields

# marshmallow's messages are for programmers; these are for operators who edit a TOML file.
_MISSING = "Missing data for required field."
_WORDING = {
    _MISSING: "is required; set it",
    "Not a valid string.": "must be a string, in quotes",
    "Not a valid number.": "must be a number",
    "Not a valid integer.": "must be a whole number",
    "Not a valid boolean.": "must be true or false",
    "Not a valid list.": "must be an array, in square brackets",
    "Not a valid mapping type.": "must be a table",
    "Invalid input type.": "must be a table",
    "Special numeric values (nan or infinity) are not permitted.": "must be a finite number",
}


def sentences(error: ValidationError, schema: Schema, path: str = "") -> list[str]:
    """Return one message for each problem that ``schema`` found in the table at ``path``."""
    return list(_walk(error.messages, schema, path))


def setting(path: str, name: str) -> str:
    """Return the path of the setting ``name`` in the table at ``path``."""
    name = name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name)
    return f"{path}.{name}" if path else name


def nearest(word: str, known: Iterable[str]) -> str:
    """Suggest the known word that is most similar, or list the known words."""
    known = list(known)
    near = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {near[0]}?" if near else f"known are {', '.join(known) or 'none'}"


def in_one_line(error: BaseException) -> str:
    """Return an exception's type and text in one line. Use it only where the text cannot hold a secret."""
    return ": ".join(filter(None, [type(error).__name__, " ".join(str(error).split())]))


def _walk(messages: Any, field: Schema | fields.Field[Any] | None, path: str) -> Iterator[str]:
    if isinstance(field, fields.Nested):
        field = field.schema
    if not isinstance(messages, dict):
        for message in messages:
            yield f"{path}: {_WORDING.get(message, message)}{_meaning(field) if message == _MISSING else ''}"
        return
    for name, inner in messages.items():
        below = setting(path, str(name))
        if name == "_schema":
            yield from _walk(inner, None, path)
        elif isinstance(field, Schema) and inner == ["Unknown field."]:
            yield f"{below}: unknown key; {nearest(str(name), field.fields)}"
        elif isinstance(field, fields.Dict) and isinstance(inner, dict):
            # For each of the operator's own names, marshmallow reports problems of the name and of the value.
            yield from _walk(inner.get("key", []), None, below)
            yield from _walk(inner.get("value", []), field.value_field, below)
        else:
            yield from _walk(inner, field.fields.get(name) if isinstance(field, Schema) else None, below)


def _meaning(field: Schema | fields.Field[Any] | None) -> str:
    """Return what a setting means, as a hint in brackets; empty where its declaration does not say it."""
    meaning = field.metadata.get("description") if isinstance(field, fields.Field) else None
    return f" ({meaning.rstrip('.')})" if isinstance(meaning, str) else ""
