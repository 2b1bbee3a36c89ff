"""``facade cancel``: a client that sends one cancel and prints the answer for a person."""

import os
import re
import sys
from typing import Any

import click
from marshmallow import ValidationError

from facade.cli.ids import TakesId
from facade.cli.terminal import show, show_json
from facade.deadline import deadline
from facade.errors import SourceError
from facade.fhir.reasons import SYSTEM, hl7_codes
from facade.http_client import HttpClient, HttpResponse
from facade.setting_fields import BaseUrl

# Longer than a facade takes: it answers within 8 s by default.
_PATIENCE = 65.0
_PROPOSED, _FAILED = 3, 1


@click.command(cls=TakesId)
@click.argument("source")
@click.argument("id")
@click.option("--reason", metavar="CODE", help="One of HL7's cancellation reason codes, for example pat-mv.")
@click.option("--note", metavar="TEXT", help="What the source system should know besides.")
@click.option("--url", required=True, help="The facade's base URL, for example http://127.0.0.1:8080.")
@click.option("--json", "as_json", is_flag=True, help="Print the answer's JSON and nothing else.")
def cancel(source: str, id: str, reason: str | None, note: str | None, url: str, as_json: bool) -> None:  # noqa: A002 - click passes options by name
    """Cancel the appointment ID of SOURCE through a facade.

    The key comes from the environment variable FACADE_CLIENT_KEY. Exit code 0: cancelled; 3: proposed, that
    is, not proven; 1: the facade refused the request or was not reached; 2: the command is wrong.
    """
    if reason is not None and reason not in hl7_codes():
        raise click.UsageError(f"--reason {reason} is none of HL7's codes; known are {', '.join(hl7_codes())}")
    answer = _send(url, source, id, _body(id, reason, note))
    try:
        resource = answer.json()
    except SourceError:
        raise click.ClickException(f"HTTP {answer.status}, and the answer is not JSON; is {url} a facade?") from None
    if as_json:
        show_json(resource)
    else:
        for name, value in _lines(source, id, answer, resource):
            show(f"{name:<12}{value}")
    if answer.status != 200:
        sys.exit(_FAILED)
    sys.exit(0 if resource.get("status") == "cancelled" else _PROPOSED)


def client_key() -> str:
    """The key in FACADE_CLIENT_KEY, empty where there is none. Raises UsageError without it for what is no key."""
    key = os.environ.get("FACADE_CLIENT_KEY", "")
    if not re.fullmatch(r"[\x21-\x7e]*", key):
        raise click.UsageError(
            "the environment variable FACADE_CLIENT_KEY must hold the key alone: one line of printable ASCII without "
            "spaces"
        )
    return key


def _body(appointment_id: str, reason: str | None, note: str | None) -> dict[str, Any]:
    body: dict[str, Any] = {"resourceType": "Appointment", "id": appointment_id, "status": "cancelled"}
    if reason:
        body["cancelationReason"] = {"coding": [{"system": SYSTEM, "code": reason}]}
    if note:
        body["comment"] = note
    return body


def _send(url: str, source: str, appointment_id: str, body: dict[str, Any]) -> HttpResponse:
    try:
        base_url = BaseUrl().deserialize(url)
    except ValidationError as error:
        raise click.UsageError(f"--url {error.messages[0]}") from None
    key = client_key()
    http = HttpClient(base_url, headers={"Authorization": f"Bearer {key}"} if key else {})
    try:
        with deadline(_PATIENCE):
            return http.send(
                "POST",
                "/Appointment/{source}/{id}",
                permit=lambda: None,
                json=body,
                headers={"Content-Type": "application/fhir+json"},
                source=source,
                id=appointment_id,
            )
    except SourceError as error:
        raise click.ClickException(f"no answer from {url} ({error}); is a facade serving there?") from None


def _lines(source: str, appointment_id: str, answer: HttpResponse, resource: Any) -> list[tuple[str, str]]:
    if answer.status != 200:
        lines = [("refused", f"HTTP {answer.status}"), *(("why", text) for text in _texts(resource))]
        return [*lines, ("request id", answer.headers.get("X-Request-Id", "none"))]
    lines = [(resource["status"], f"{source} {appointment_id}")]
    for contained in resource.get("contained", []):
        lines += [("why", text) for text in _texts(contained)]
    reason = resource.get("cancelationReason", {})
    lines += [("reason", f"{c.get('display', '')} ({c.get('code')})") for c in reason.get("coding", [])]
    lines += [("text", reason["text"])] if "text" in reason else []
    lines += [("time", f"{resource['start']} to {resource['end']}")] if "start" in resource else []
    for extension in resource.get("extension", []):
        parts = {part["url"]: part for part in extension.get("extension", [])}
        if parts.get("mayBeChargeable", {}).get("valueBoolean"):
            lines.append(("chargeable", "it may be; your agreement with the source system decides"))
    return lines


def _texts(outcome: Any) -> list[str]:
    issues = outcome.get("issue", []) if isinstance(outcome, dict) else []
    return [issue.get("details", {}).get("text", issue.get("code", "")) for issue in issues]
