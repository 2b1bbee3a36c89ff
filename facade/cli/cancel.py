"""``facade cancel``: send one cancel to a facade and print its response."""

import sys
from typing import Any

import click
from marshmallow import ValidationError

from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.client_key import client_key
from facade.cli.common.terminal import show, show_json
from facade.deadline import deadline
from facade.errors import SourceError
from facade.fhir.reasons import SYSTEM, hl7_codes
from facade.http_client import HttpClient, HttpResponse
from facade.setting_fields import BaseUrl

# Seconds; longer than a facade takes, which responds within 8 s by default.
_PATIENCE = 65.0
_PROPOSED, _FAILED = 3, 1


@click.command(cls=TakesId)
@click.argument("source")
@click.argument("id")
@click.option("--reason", metavar="CODE", help="One of HL7's cancellation reason codes, for example pat-mv.")
@click.option("--note", metavar="TEXT", help="A text for the source system.")
@click.option("--url", required=True, help="The facade's base URL, for example http://127.0.0.1:8080.")
@click.option("--json", "as_json", is_flag=True, help="Print the response's JSON and nothing else.")
def cancel(source: str, id: str, reason: str | None, note: str | None, url: str, as_json: bool) -> None:  # noqa: A002 - click passes options by name
    """Cancel the appointment ID of SOURCE through a facade.

    The key comes from the environment variable FACADE_CLIENT_KEY. Exit code 0: cancelled; 3: proposed, so the
    cancellation is not proven; 1: the facade refused the request or was not reached; 2: the command is wrong.
    """
    if reason is not None and reason not in hl7_codes():
        raise click.UsageError(f"--reason {reason} is not an HL7 code; use one of {', '.join(hl7_codes())}")
    response = _send(url, source, id, _body(id, reason, note))
    try:
        resource = response.json()
    except SourceError:
        raise click.ClickException(
            f"HTTP {response.status}, and the response is not JSON; does a facade serve {url}?"
        ) from None
    if as_json:
        show_json(resource)
    else:
        for name, value in _lines(source, id, response, resource):
            show(f"{name:<12}{value}")
    if response.status != 200:
        sys.exit(_FAILED)
    sys.exit(0 if resource.get("status") == "cancelled" else _PROPOSED)


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
        raise click.ClickException(f"no response from {url} ({error}); does a facade serve it?") from None


def _lines(source: str, appointment_id: str, response: HttpResponse, resource: Any) -> list[tuple[str, str]]:
    if response.status != 200:
        lines = [("refused", f"HTTP {response.status}"), *(("why", text) for text in _texts(resource))]
        return [*lines, ("request id", response.headers.get("X-Request-Id", "none"))]
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
            lines.append(("chargeable", "possibly; your agreement with the source system decides"))
    return lines


def _texts(outcome: Any) -> list[str]:
    issues = outcome.get("issue", []) if isinstance(outcome, dict) else []
    return [issue.get("details", {}).get("text", issue.get("code", "")) for issue in issues]
