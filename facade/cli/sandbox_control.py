"""``facade sandbox arm | log | …``: a sandbox's control API from the shell."""

import math
from collections.abc import Mapping
from typing import Any

import click
from marshmallow import ValidationError

from facade.cli.ids import TakesId
from facade.cli.terminal import show, show_json
from facade.config_messages import nearest
from facade.deadline import deadline
from facade.errors import Cause, SourceError
from facade.http_client import HttpClient
from facade.setting_fields import BaseUrl
from facade.testing.simulator.faults import FAULTS

_PATIENCE = 10.0
_url = click.option(
    "--url", default="http://127.0.0.1:8081", show_default=True, help="Where the sandbox is served.", metavar="URL"
)
_appointment = click.argument("id")
_source = click.argument("source")


@click.command(cls=TakesId)
@_source
@_appointment
@click.argument("fault")
@click.option("--times", type=click.IntRange(1), help="For so many requests; without it, for ever.")
@_url
def arm(source: str, id: str, fault: str, times: int | None, url: str) -> None:  # noqa: A002 - click passes by name
    """Let requests about the appointment ID of SOURCE meet FAULT; `faults` lists them all."""
    if fault not in FAULTS:
        raise click.UsageError(f"there is no fault {fault}; {nearest(fault, FAULTS)}")
    body = {"appointment": id, "fault": fault, **({"times": times} if times else {})}
    armed = _ask(url, "POST", "/{source}/faults", body, source=source)
    often = "always" if times is None else "once" if times == 1 else f"{times} times"
    show(f"{source} {id}: {fault}, {often}. {armed['description']}")


@click.command(cls=TakesId)
@_source
@click.argument("id", required=False)
@_url
def disarm(source: str, id: str | None, url: str) -> None:  # noqa: A002 - click passes by name
    """Forget the faults armed for the appointment ID of SOURCE, or for all of its appointments."""
    left = _ask(url, "DELETE", "/{source}/faults" + _about(id), kind=list, source=source, id=id)
    show(f"{source}: {len(left)} faults armed")


@click.command()
def faults() -> None:
    """List every fault, and what a cancel through the facade ends in."""
    for fault in FAULTS.values():
        show(f"{fault.name:<28}{fault.ends_in:<11}{fault.description}")


@click.command(cls=TakesId)
@_source
@click.argument("id", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print everything, bodies included.")
@_url
def log(source: str, id: str | None, as_json: bool, url: str) -> None:  # noqa: A002 - click passes by name
    """Show every request that SOURCE received, about the appointment ID or all; its own log, not the facade's."""
    found = _ask(url, "GET", "/{source}/log" + _about(id), source=source, id=id)
    if as_json:
        show_json(found)
        return
    for entry in found["entries"]:
        facts = (
            "changed its state" if entry["changed"] else "",
            f"fault {entry['fault']}" if entry["fault"] else "",
            "" if entry["operation"] == "late-commit" else f"answered {entry['status'] or 'nothing'}",
        )
        what = f"{entry['operation'] or 'other':<12}{entry['appointment'] or entry['path'] or ''}"
        show(f"{entry['number']:>5}  {entry['time'][11:23]}  {what}: {', '.join(filter(None, facts))}")
    show(f"native cancels: {found['cancels']}, reads: {found['reads']}")


@click.command(cls=TakesId)
@_source
@_appointment
@click.option("--hours", type=float, required=True, help="How much later; a negative number for earlier.")
@_url
def move(source: str, id: str, hours: float, url: str) -> None:  # noqa: A002 - click passes by name
    """Move every time of the appointment ID of SOURCE: inside or outside 24 hours, or into the past.

    The facade keeps real time, so this is how an appointment comes nearer for it.
    """
    if not math.isfinite(hours):
        raise click.UsageError("--hours must be a number")
    native = _ask(url, "POST", "/{source}/appointments/{id}/move", {"seconds": hours * 3600}, source=source, id=id)
    show_json(native)


@click.command()
@click.option("--now", metavar="INSTANT", help="Set the clock, for example to 2026-12-01T09:00:00Z.")
@click.option("--advance", type=float, metavar="SECONDS", help="Move the clock on, or back.")
@click.option("--real", is_flag=True, help="Go back to the real time.")
@_url
def time(now: str | None, advance: float | None, real: bool, url: str) -> None:
    """Show or set the sandbox's clock; the seeds' times follow it at the next reset."""
    wishes: list[dict[str, Any]] = [{"now": now}] if now is not None else []
    wishes += [{"advance": advance}] if advance is not None else []
    wishes += [{}] if real else []
    if len(wishes) > 1:
        raise click.UsageError("give one of --now, --advance and --real")
    show(_ask(url, *(("PUT", "/time", wishes[0]) if wishes else ("GET", "/time")))["now"])


@click.command(cls=TakesId)
@_source
@click.option("--like", metavar="ID", help="The appointment to copy; an ordinary one by default.")
@click.option("--id", "id", metavar="ID", help="Its id; by default one that no one has.")
@_url
def new(source: str, like: str | None, id: str | None, url: str) -> None:  # noqa: A002 - click passes by name
    """Make a new appointment in SOURCE, of which no facade has a record yet, and print its id."""
    body = {name: value for name, value in (("like", like), ("id", id)) if value}
    show(_ask(url, "POST", "/{source}/appointments", body, source=source)["id"])


@click.command()
@_url
def reset(url: str) -> None:
    """Everything as seeded: appointments, faults, empty logs. A facade keeps its record of what was cancelled."""
    show(f"as seeded: {', '.join(_ask(url, 'POST', '/reset', {})['reset'])}")
    show("A facade before it still has its record of what was cancelled; `new` makes appointments without one.")


COMMANDS: tuple[click.Command, ...] = (arm, disarm, faults, log, move, new, time, reset)


def _about(appointment_id: str | None) -> str:
    return "?appointment={id}" if appointment_id else ""


def _ask(
    url: str,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    kind: type = dict,
    **ids: str | None,
) -> Any:
    """The control API's answer, of this kind. Raises click's errors with a sentence for the tester."""
    try:
        http = HttpClient(BaseUrl().deserialize(url))
    except ValidationError as error:
        raise click.UsageError(f"--url {error.messages[0]}") from None
    try:
        with deadline(_PATIENCE):
            given: dict[str, Any] = {name: value for name, value in ids.items() if value}
            answer = http.send(method, f"/_control{path}", permit=lambda: None, json=body, **given)
            told = answer.json()
    except SourceError as error:
        if error.cause is Cause.INTERNAL:  # our own refusal: nothing was asked
            raise click.UsageError(f"{error.detail}; give a source and an id that a URL can hold") from None
        raise click.ClickException(f"no answer from {url} ({error}); is a sandbox served there?") from None
    if answer.status != 200 and isinstance(told, dict) and "error" in told:
        raise click.ClickException(told["error"])
    if answer.status != 200 or not isinstance(told, kind):
        raise click.ClickException(f"{url} answers HTTP {answer.status} as no sandbox does; is one served there?")
    return told
