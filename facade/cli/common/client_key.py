"""The client's key, as the commands that call a facade take it."""

import os
import re

import click


def client_key() -> str:
    """Return the key in the environment variable FACADE_CLIENT_KEY; empty if it is not set. Raises UsageError.

    The error's message does not contain the value.
    """
    key = os.environ.get("FACADE_CLIENT_KEY", "")
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise click.UsageError(
            "the environment variable FACADE_CLIENT_KEY must hold the key alone: one line of printable ASCII without "
            "spaces"
        )
    return key
