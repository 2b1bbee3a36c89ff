"""Write every setting, from the schemas that validate a configuration."""

import json
from collections.abc import Iterator
from typing import Any

import marshmallow
from marshmallow import Schema, fields

import facade
from facade import config
from generated.markdown import table
from generated.plugins import own_plugins

_TYPES: list[tuple[type, str]] = [
    (facade.SecretFromEnv, "name of an environment variable"),
    (facade.SecretTextFromFile, "path of a file"),
    (facade.SecretFromFile, "path of a file"),
    (facade.BaseUrl, "URL"),
    (fields.Boolean, "boolean"),
    (fields.Integer, "integer"),
    (fields.Float, "number"),
    (fields.List, "array"),
    (fields.Dict, "table"),
    (fields.String, "string"),
]


def settings_of_the_facade() -> Iterator[str]:
    """The tables that every configuration has."""
    for name, field in config._FileSchema().fields.items():
        if isinstance(field, fields.Nested):
            yield from _settings(f"[{name}]", name, field.schema)
        elif isinstance(field, fields.Dict) and isinstance(field.value_field, fields.Nested):
            yield from _settings(f"[{name}.NAME]", f"{name}.NAME", field.value_field.schema)


def settings_of_the_plugins() -> Iterator[str]:
    """The settings of a source, for every plugin in this distribution."""
    for plugin in own_plugins():
        yield from _settings(f"Plugin {plugin.name}", "sources.NAME", plugin.settings())


def _settings(title: str, prefix: str, schema: Schema) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield from table(
        ("Key", "Type", "Default", "Meaning", "Accepted"),
        (
            (f"`{prefix}.{name}`", _type(field), _default(field), _meaning(field), _accepted(field))
            for name, field in schema.fields.items()
        ),
    )


def _type(field: fields.Field[Any]) -> str:
    return next((words for kind, words in _TYPES if isinstance(field, kind)), type(field).__name__)


def _default(field: fields.Field[Any]) -> str:
    if field.required:
        return "required"
    default = field.load_default() if callable(field.load_default) else field.load_default
    if default is marshmallow.missing or default is None:
        return "none"
    default = getattr(default, "expression", default)  # a JMESPath expression
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _meaning(field: fields.Field[Any]) -> str:
    return str(field.metadata.get("description", ""))


def _accepted(field: fields.Field[Any]) -> str:
    errors = (str(getattr(validator, "error", None) or "") for validator in field.validators)
    return "; ".join(error.removeprefix("must be ") for error in errors if error.startswith("must be "))
