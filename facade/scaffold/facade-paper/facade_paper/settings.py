"""The settings of Paper."""

from facade import HttpSourceSettings, describe, secret_pair
from marshmallow import fields, validate


class PaperSettings(HttpSourceSettings):
    """The settings of one Paper, besides those that every source over HTTP has."""

    api_key_env, api_key_file = secret_pair("api_key", "the API key", required=True)
    note_max_length = fields.Integer(
        load_default=200,
        strict=True,
        validate=validate.Range(1, 10_000, error="must be 1 to 10000"),
        metadata=describe("Most characters of a note; a longer one is cut."),
    )
