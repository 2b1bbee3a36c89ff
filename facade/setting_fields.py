"""The kinds of settings: secrets from the environment or from files, URLs, choices; and how each setting is described.

Every setting is declared once, as a marshmallow field: its name, type and default, and ``metadata=describe(…)`` for its
meaning. ``facade.config_reference`` makes the reference tables from these declarations.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import Schema, ValidationError, fields, validate

from facade import loopback

_PORTS = {"http": 80, "https": 443}
_VARIABLE = r"[A-Z_][A-Z0-9_]*"
_URI = r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"\x00-\x1f\x7f-\x9f]+"
_SPACE = " \t\r\n"
_UNUSUAL = re.compile(
    r"[^\S \t\r\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\u200b-\u200f\u202a-\u202e\u2060-\u2069]"
)
MOST_SECRETS = 5
"""How many secrets may be valid at once; two are enough to change from one to the next."""


def describe(meaning: str, *, default: str = "", example: Any = None, type_name: str = "") -> dict[str, Any]:
    """Return the ``metadata`` of a setting's field.

    ``meaning`` is one sentence. ``default`` is Markdown for a default that the field's ``load_default`` does not show.
    ``example`` is a value, for a setting whose default is no good example. ``type_name`` replaces the name of the type
    that follows from the field.
    """
    return {"description": meaning, "default": default, "example": example, "type_name": type_name}


def matching(pattern: str, error: str) -> validate.Regexp:
    """Return a validator of whole strings."""
    return validate.Regexp(rf"(?:{pattern})\Z", error=error)


@dataclass(frozen=True)
class Secret:
    """A secret value. No log, error or repr shows it; ``reveal()`` returns it where it is used."""

    _value: str = field(repr=False)

    def __str__(self) -> str:
        raise TypeError("a Secret is not text; call its reveal() where it is used")

    def reveal(self) -> str:
        """Return the value."""
        return self._value


class SecretFromEnv(fields.String):
    """The name of an environment variable. Loads as the Secret that the variable holds."""

    type_name = "name of an environment variable"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        # A value that does not look like a variable's name may be the secret itself, so the message omits it.
        where = f"the environment variable {name}" if re.fullmatch(_VARIABLE, name) else "the environment variable"
        secret = os.environ.get(name, "") if "\0" not in name else ""
        if not secret:
            raise ValidationError(f"{where} is not set; set it to the secret, and write only its name here")
        return _usable(secret, where)


class SecretFromFile(fields.String):
    """The path of a file. Loads as the Secret that is the file's content, without whitespace around it."""

    type_name = "path of a file"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        path = super()._deserialize(value, attr, data, **kwargs)
        try:
            # Only ASCII whitespace is removed. Other whitespace is part of the key, or an error to report.
            secret = Path(path).read_text("utf-8").strip(_SPACE)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValidationError(f"the file {path} cannot be read: {why}; write the secret into it") from None
        return self._secret(secret, f"the file {path}")

    def _secret(self, text: str, where: str) -> Secret:
        return _usable(text, where)


class SecretTextFromFile(SecretFromFile):
    """The path of a file. Loads as the Secret that is its text, which may have several lines, like a PEM key."""

    def _secret(self, text: str, where: str) -> Secret:
        if not text:
            raise ValidationError(f"{where} is empty; write the secret into it")
        if _UNUSUAL.search(text):
            raise ValidationError(f"{where} must hold text without control characters and unusual spaces")
        return Secret(text)


class OneOrSeveral(fields.Field[tuple[Any, ...]]):
    """One value, or an array of 1 to MOST_SECRETS values. Loads as a tuple."""

    def __init__(self, one: fields.Field[Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.one = one

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[Any, ...]:
        if not isinstance(value, list):
            return (self.one.deserialize(value, attr, data, **kwargs),)
        if not 1 <= len(value) <= MOST_SECRETS:
            raise ValidationError(f"must be one, or an array of 1 to {MOST_SECRETS}")
        return tuple(self.one.deserialize(member, attr, data, **kwargs) for member in value)


def secret_files(schema: Schema, table: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the settings in a table that name files with secrets, each with the file's path."""
    for name, field_ in schema.fields.items():
        key = field_.data_key or name
        value = table.get(key)
        if isinstance(field_, fields.Nested) and isinstance(value, dict):
            yield from ((f"{key}.{inner}", path) for inner, path in secret_files(field_.schema, value))
            continue
        one = field_.one if isinstance(field_, OneOrSeveral) else field_
        one = one.inner if isinstance(one, fields.List) else one
        if isinstance(one, SecretFromFile):
            paths = value if isinstance(value, list) else [value]
            yield from ((key, path) for path in paths if isinstance(path, str))


def secrets_in(settings: Mapping[str, Any]) -> list[Secret]:
    """Return every secret in a source's settings, at any depth."""

    def inside(value: Any) -> Iterator[Secret]:
        if isinstance(value, Secret):
            yield value
        elif isinstance(value, Mapping):
            for member in value.values():
                yield from inside(member)
        elif isinstance(value, list | tuple | set | frozenset):
            for member in value:
                yield from inside(member)

    return [*inside(settings)]


def _usable(secret: str, where: str) -> Secret:
    if not re.fullmatch(r"[\x21-\x7e]+", secret):
        raise ValidationError(f"{where} must hold the secret alone: one line of printable ASCII without spaces")
    return Secret(secret)


class BaseUrl(fields.String):
    """An absolute https URL without credentials, query or fragment; http is accepted for loopback only."""

    type_name = "URL"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        url = super()._deserialize(value, attr, data, **kwargs)
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:
            raise ValidationError("is not a URL; write one like https://host/path") from None
        unwanted = "@" in parts.netloc or parts.query or parts.fragment or not re.fullmatch(r"[\x21-\x7e]+", url)
        if parts.scheme not in _PORTS or not host or unwanted:
            raise ValidationError("must be an absolute https:// URL without credentials, query or fragment")
        if parts.scheme == "http" and host not in loopback.HOSTS:
            raise ValidationError("is plain http to a host that is not loopback; use https://")
        # URLs are normalized, so that two sources with the same address are found.
        host = f"[{host}]" if ":" in host else host
        place = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
        return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


class Origin(fields.String):
    """An origin as browsers send it: a scheme, a host, and a port unless it is the scheme's default port."""

    type_name = "origin"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        origin = loopback.origin(super()._deserialize(value, attr, data, **kwargs))
        if origin is None:
            raise ValidationError("must be an origin without a path, like https://app.example or http://host:3000")
        return origin


class AbsoluteUri(fields.String):
    """An absolute URI."""

    type_name = "absolute URI"

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(validate=matching(_URI, "must be an absolute URI, like urn:… or https://…"), **kwargs)


class Choice(fields.String):
    """One of several words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        *others, last = (f'"{word}"' for word in words)
        self.type_name = f"{', '.join(others)} or {last}" if others else last
        super().__init__(validate=validate.OneOf(words, error=f"must be {self.type_name}"), **kwargs)
