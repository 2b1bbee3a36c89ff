"""Paper's settings; the README explains each."""

from collections.abc import Mapping
from typing import Any

from facade import BaseUrl, SecretFromEnv, SecretFromFile, SourceSettings
from marshmallow import ValidationError, fields, post_load, validate, validates_schema


class PaperSettings(SourceSettings):
    """The settings of one Paper, besides those that every source has."""

    base_url = BaseUrl(required=True)
    api_key_env = SecretFromEnv()
    api_key_file = SecretFromFile()
    note_max_length = fields.Integer(
        load_default=200, strict=True, validate=validate.Range(1, 10_000, error="must be 1 to 10000")
    )

    @validates_schema
    def _one_key(self, data: Mapping[str, Any], **_: Any) -> None:
        if ("api_key_env" in data) == ("api_key_file" in data):
            raise ValidationError("give api_key_env or api_key_file, one of the two")

    @post_load
    def _key(self, data: dict[str, Any], **_: Any) -> dict[str, Any]:
        data["api_key"] = data.get("api_key_env") or data["api_key_file"]
        return data
