"""How the subcommands of ``facade sandbox`` call a sandbox's control API."""

from collections.abc import Mapping
from typing import Any

import click
from marshmallow import ValidationError

from facade.deadline import deadline
from facade.errors import Cause, SourceError
from facade.http_client import HttpClient
from facade.setting_fields import BaseUrl

_PATIENCE = 10.0  # seconds

url_option = click.option(
    "--url", default="http://127.0.0.1:8081", show_default=True, help="Where the sandbox is served.", metavar="URL"
)


def about(appointment_id: str | None) -> str:
    """Return the query that selects an appointment, as a template for ``call``; empty for all appointments."""
    return "?appointment={id}" if appointment_id else ""


def call(
    url: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    kind: type = dict,
    **ids: str | None,
) -> Any:
    """Call the control API and return the response's JSON, which must be of this type.

    Raises click's errors, with a sentence for the tester.
    """
    try:
        http = HttpClient(BaseUrl().deserialize(url))
    except ValidationError as error:
        raise click.UsageError(f"--url {error.messages[0]}") from None
    try:
        with deadline(_PATIENCE):
            given: dict[str, Any] = {name: value for name, value in ids.items() if value}
            response = http.send(method, f"/_control{path}", permit=lambda: None, json=body, **given)
            content = response.json()
    except SourceError as error:
        if error.cause is Cause.INTERNAL:  # rejected here: nothing was sent
            raise click.UsageError(f"{error.detail}; give a source and an id that a URL can contain") from None
        raise click.ClickException(f"no response from {url} ({error}); is a sandbox served there?") from None
    if response.status != 200 and isinstance(content, dict) and "error" in content:
        raise click.ClickException(content["error"])
    if response.status != 200 or not isinstance(content, kind):
        raise click.ClickException(
            f"{url} responds with HTTP {response.status}, unlike a sandbox; is a sandbox served there?"
        )
    return content
