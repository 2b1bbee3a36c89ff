"""What a source may set, and the kinds of settings: secrets from the environment or files, URLs, URIs."""

import base64
import binascii
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from marshmallow import RAISE, Schema, ValidationError, fields, validate, validates_schema

from facade import loopback

_PORTS = {"http": 80, "https": 443}
_VARIABLE = r"[A-Z_][A-Z0-9_]*"
_HEADER = r"[A-Za-z0-9-]{1,64}"
_URI = r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"\x00-\x1f\x7f-\x9f]+"
_SPACE = " \t\r\n"
_UNUSUAL = re.compile(
    r"[^\S \t\r\n]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ufeff\u200b-\u200f\u202a-\u202e\u2060-\u2069]"
)
MOST_SECRETS = 5
"""Secrets that may hold at once; two are enough to change from one to the next."""
SHORTEST_SECRET = 16
"""Bytes of the key that webhooks are signed with, at the least."""
_WHSEC = "whsec_"


def matching(pattern: str, error: str) -> validate.Regexp:
    """A validator of whole strings."""
    return validate.Regexp(rf"(?:{pattern})\Z", error=error)


@dataclass(frozen=True)
class Secret:
    """A value that no log, error or repr shows; ``reveal()`` where it is used."""

    _value: str = field(repr=False)

    def __str__(self) -> str:
        raise TypeError("a Secret is no text; call its reveal() where it is used")

    def reveal(self) -> str:
        """The value itself."""
        return self._value


class SecretFromEnv(fields.String):
    """The name of an environment variable; loads as the Secret it holds."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        name = super()._deserialize(value, attr, data, **kwargs)
        # What looks like no variable's name may be the secret itself, written in the wrong place.
        where = f"the environment variable {name}" if re.fullmatch(_VARIABLE, name) else "the environment variable"
        secret = os.environ.get(name, "") if "\0" not in name else ""
        if not secret:
            raise ValidationError(f"{where} is not set; set it to the secret, and write only its name here")
        return _usable(secret, where)


class SecretFromFile(fields.String):
    """The path of a file; loads as the Secret that is its content without the line's end."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        path = super()._deserialize(value, attr, data, **kwargs)
        try:
            # Of ASCII only: what else looks like a space is part of the key, or a slip to be told of.
            secret = Path(path).read_text("utf-8").strip(_SPACE)
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise ValidationError(f"the file {path} cannot be read: {why}; write the secret into it") from None
        return self._secret(secret, f"the file {path}")

    def _secret(self, text: str, where: str) -> Secret:
        return _usable(text, where)


class SecretTextFromFile(SecretFromFile):
    """The path of a file; loads as the Secret that is its text, which may have several lines, like a PEM key."""

    def _secret(self, text: str, where: str) -> Secret:
        if not text:
            raise ValidationError(f"{where} is empty; write the secret into it")
        if _UNUSUAL.search(text):
            raise ValidationError(f"{where} must hold text without control characters and unusual spaces")
        return Secret(text)


class OneOrSeveral(fields.Field[tuple[Any, ...]]):
    """One value, or an array of at least one; loads as a tuple."""

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
    """The settings in a table that name files with secrets, each with a path."""
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
    """Every secret among a source's settings, at any depth."""

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
    """An absolute https URL without credentials, query and fragment; plain http to loopback only."""

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
        # One spelling for one place, so that two sources at the same place are seen to be.
        host = f"[{host}]" if ":" in host else host
        place = host if port in (None, _PORTS[parts.scheme]) else f"{host}:{port}"
        return f"{parts.scheme}://{place}{parts.path.rstrip('/')}"


class Origin(fields.String):
    """An origin as browsers send it: a scheme, a host, and a port unless it is the scheme's own."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> Any:
        origin = loopback.origin(super()._deserialize(value, attr, data, **kwargs))
        if origin is None:
            raise ValidationError("must be an origin without a path, like https://app.example or http://host:3000")
        return origin


def uri(**kwargs: Any) -> fields.String:
    """An absolute URI."""
    return fields.String(validate=matching(_URI, "must be an absolute URI, like urn:… or https://…"), **kwargs)


class SourceSettings(Schema):
    """What every source may set; a plugin's settings schema extends it. Unknown keys are refused."""

    class Meta:
        unknown = RAISE

    plugin = fields.String(required=True)
    identifier_systems = fields.Dict(fields.String(), uri())
    code_systems = fields.Dict(fields.String(), uri())
    concept_map_file = fields.String()
    fallback_reason = fields.String()
    settle_window = fields.Float(
        load_default=900.0, validate=validate.Range(1.0, 86_400.0, error="must be 1 to 86400 seconds")
    )


def secret_key(secret: Secret) -> bytes:
    """The key of a Standard Webhooks secret: base64 after ``whsec_``, else the text itself."""
    text = secret.reveal()
    if text.startswith(_WHSEC):
        try:
            return base64.b64decode(text.removeprefix(_WHSEC), validate=True)
        except binascii.Error:
            pass
    return text.encode()


class WebhookSettings(SourceSettings):
    """What a source that sends webhooks may set besides; without a secret none is accepted."""

    # Several while a source changes from one to the next: any of them verifies.
    webhook_secret_env = OneOrSeveral(SecretFromEnv())
    webhook_secret_file = OneOrSeveral(SecretFromFile())
    webhook_scheme = fields.String(
        load_default="standard",
        validate=validate.OneOf(["standard", "hmac-sha256"], error='must be "standard" or "hmac-sha256"'),
    )
    webhook_header_prefix = fields.String(load_default="webhook", validate=matching(_HEADER, "must be a header's name"))
    webhook_signature_header = fields.String(
        load_default="X-Signature", validate=matching(_HEADER, "must be a header's name")
    )

    @validates_schema(skip_on_field_errors=False)
    def _one_webhook_secret(self, data: Mapping[str, Any], **_: Any) -> None:
        if "webhook_secret_env" in data and "webhook_secret_file" in data:
            raise ValidationError("give webhook_secret_env or webhook_secret_file, not both")

    @validates_schema(skip_on_field_errors=True)
    def _long_webhook_secrets(self, data: Mapping[str, Any], **_: Any) -> None:
        is_standard = data.get("webhook_scheme") == "standard"
        for name in ("webhook_secret_env", "webhook_secret_file"):
            secrets = data.get(name, ())
            for number, secret in enumerate(secrets, 1):
                key = secret_key(secret) if is_standard else secret.reveal().encode()
                if len(key) < SHORTEST_SECRET:
                    which = f"secret {number} of {len(secrets)}" if len(secrets) > 1 else "the secret"
                    raise ValidationError(
                        f"{which} is too short: it must have {SHORTEST_SECRET} characters or more, and after whsec_ "
                        f"base64 of {SHORTEST_SECRET} bytes or more; make one with openssl rand -hex 32",
                        name,
                    )
