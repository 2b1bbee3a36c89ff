"""Lists every setting from its declaration: path, type, default, meaning.

The reference tables, the READMEs of plugins and the comments of ``config/facade.toml`` are generated from it or
asserted against it.
"""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from marshmallow import Schema, fields, missing, validate

from facade.config_tables import AuthTable, ClientTable, FacadeTable
from facade.plugin.contract import SourcePlugin
from facade.plugin.settings import HttpSourceSettings, SourceSettings, WebhookSettings

_CORE = (("facade", FacadeTable), ("auth", AuthTable), ("clients.NAME", ClientTable))
_TYPES: tuple[tuple[type[fields.Field[Any]], str], ...] = (
    (fields.Integer, "whole number"),
    (fields.Float, "number"),
    (fields.Boolean, "`true` or `false`"),
    (fields.Dict, "table"),
    (fields.String, "string"),
)


@dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting, as its field declares it. ``type``, ``default`` and ``description`` are Markdown."""

    path: str
    type: str
    is_required: bool
    default: str
    """The default as TOML, or in words; empty where there is none."""
    description: str
    """The meaning, one sentence."""
    example: Any
    """A value to show in a configuration: the example that is declared, or the default; None without either."""

    @property
    def name(self) -> str:
        """The last part of the path."""
        return self.path.rpartition(".")[2]

    @property
    def comment(self) -> str:
        """The meaning, with the values that are allowed, as a comment of a configuration file."""
        allowed = re.search(r'[\d.]+ to [\d.]+$|"[^"]+"`? or .*', self.type)
        limits = f" ({allowed[0]})" if allowed and allowed[0].replace("`", "") not in self.description else ""
        return re.sub(r"[`*]", "", f"{self.description.rstrip('.')}{limits}.")


def core_settings() -> Iterator[Setting]:
    """Yield the settings of the tables ``[facade]``, ``[auth]`` and ``[clients.NAME]``."""
    for path, schema in _CORE:
        yield from _of(path, schema._declared_fields)


def shared_settings() -> Iterator[Setting]:
    """Yield the settings that sources share: of every source, of sources over HTTP, of sources with webhooks."""
    seen: dict[str, fields.Field[Any]] = {}
    for schema in (SourceSettings, HttpSourceSettings, WebhookSettings):
        seen |= schema._declared_fields
    yield from _of("sources.NAME", seen)


def plugin_settings(plugin: SourcePlugin) -> Iterator[Setting]:
    """Yield the settings that a plugin declares itself, without those that it shares with other sources."""
    yield from _of("sources.NAME", _own(plugin.settings))


def setting_names(plugin: SourcePlugin) -> tuple[frozenset[str], frozenset[str]]:
    """Return the names of all settings that a plugin's sources take, and of those that the plugin declares itself."""
    return frozenset(plugin.settings._declared_fields), frozenset(_own(plugin.settings))


def table(settings: Iterable[Setting], *, with_path: bool = True) -> str:
    """Return a Markdown table of settings, by their paths or only by their names."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for setting in settings:
        default = "required" if setting.is_required else setting.default
        cells = (f"`{setting.path if with_path else setting.name}`", setting.type, default, setting.description)
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |".replace("|  |", "| |"))
    return "\n".join(rows) + "\n"


def toml(value: Any) -> str:
    """Return a value as TOML: text, number, boolean, array, or inline table."""
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name} = {toml(member)}' for name, member in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _own(schema: type[Schema]) -> dict[str, fields.Field[Any]]:
    """Return the fields that are not inherited unchanged from a schema of the facade."""
    shared = [
        field
        for base in schema.__mro__
        if base.__module__.startswith("facade.") and issubclass(base, Schema)
        for field in base._declared_fields.values()
    ]
    return {
        name: field for name, field in schema._declared_fields.items() if not any(field is other for other in shared)
    }


def _of(path: str, declared: dict[str, fields.Field[Any]]) -> Iterator[Setting]:
    for name, field in declared.items():
        metadata = field.metadata
        default = metadata.get("default") or _default(field)
        example = metadata.get("example")
        if example is None and isinstance(field.load_default, str | int | float | list):
            example = field.load_default
        yield Setting(
            path=f"{path}.{name}",
            type=_type(field),
            is_required=field.required,
            default=default,
            description=metadata.get("description", ""),
            example=example,
        )


def _default(field: fields.Field[Any]) -> str:
    value = field.load_default() if callable(field.load_default) else field.load_default
    if value is missing or value is None or value == {} or not isinstance(value, str | int | float | list | dict):
        return ""
    return f"`{toml(value)}`"


def _type(field: fields.Field[Any]) -> str:
    named = field.metadata.get("type_name") or getattr(field, "type_name", "")
    if named:
        return re.sub(r'"[^"]*"', r"`\g<0>`", named)
    if isinstance(field, fields.List):
        return f"array: {_type(field.inner)}"
    if one := getattr(field, "one", None):
        return f"{_type(one)}, or an array of them"
    name = next((name for kind, name in _TYPES if isinstance(field, kind)), "string")
    limits = [one for one in field.validators if isinstance(one, validate.Range)]
    return f"{name}, {limits[0].min:g} to {limits[0].max:g}" if limits else name
