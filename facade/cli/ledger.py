"""``facade ledger`` and ``facade db``: the record of cancellations, for people. They need the ledger only.

Neither the sources' secrets nor their plugins are loaded: whoever is called at night has neither. ``rekey`` alone needs
one plugin, for the form of its ids.
"""

import getpass
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from facade import config as configuration
from facade.cancellation.known_sources import rekey, rename
from facade.cancellation.operator_resolution import judge, undo, why_not_undone
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.states import SETTLED, State
from facade.cancellation.timers import Timers
from facade.cli.ids import TakesId
from facade.cli.ledger_options import named_ledger, of_a_ledger, opened
from facade.cli.ledger_rows import find_row
from facade.cli.terminal import show as say
from facade.ledger import migrate
from facade.ledger.maintenance import Maintenance
from facade.ledger.tables import Row
from facade.plugin import discovery
from facade.plugin.configured_source import DeclaredSource

_DAY = 86_400
_OLDEST = 99_999 * _DAY


@click.group()
def db() -> None:
    """Look after the ledger's store."""


@db.command()
@of_a_ledger
def upgrade(path: Path | None, store: str | None) -> None:
    """Bring the store to the installed version."""
    say(f"the ledger is at revision {migrate.upgrade(named_ledger(path, store).engine)}")


@click.group()
def ledger() -> None:
    """Look into the record of cancellations, and settle what only a person can."""


@ledger.command("list")
@of_a_ledger
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only rows in this state.")
@click.option("--source", help="Only this source system.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="At most so many.")
def list_rows(path: Path | None, store: str | None, state: str | None, source: str | None, limit: int) -> None:
    """List cancellations, the longest unchanged first."""
    found = opened(path, store)
    rows = found.in_states([state] if state else [str(s) for s in State], source=source, limit=limit + 1)
    for row in rows[:limit]:
        say(f"{row.state:<12} {_when(row.changed_at)}  {row.source} {row.appointment_id}  {row.cause or ''}".rstrip())
    if len(rows) > limit:
        say(f"there are more than these {limit}; name a greater --limit, a --state or a --source", err=True)
    if not rows:
        say("no cancellations" + (f" in state {state}" if state else ""), err=True)


@ledger.command(cls=TakesId)
@click.argument("source")
@click.argument("id")
@of_a_ledger
def show(source: str, id: str, path: Path | None, store: str | None) -> None:  # noqa: A002 - click passes arguments by name
    """Show one cancellation and its journal as a timeline."""
    found = opened(path, store)
    row = find_row(found, source, id)
    say(f"{row.source} {row.appointment_id}: {row.state}, attempt {row.attempt_number}, version {row.version}")
    if row.read_due is not None:
        say(f"next read {_when(row.read_due)}")
    for line in found.timeline(row.key):
        detail = ", ".join(f"{name} {_told(value)}" for name, value in line["detail"].items() if value)
        request = f"  request {line['request_id']}" if line["request_id"] else ""
        say(f"{_when(line['at'])}  {line['event']:<14} → {line['state'] or '':<12} {detail}{request}".rstrip())
    for line in found.audits(row.key):
        cause = f" ({line['cause']})" if line["cause"] else ""
        say(f"{_when(line['at'])}  {line['who']}: {line['action']} → {line['outcome']}{cause}")


@ledger.command(cls=TakesId)
@click.argument("source")
@click.argument("id")
@click.option("--as", "verdict", type=click.Choice(["cancelled", "not-applied"]), help="What is true.")
@click.option("--undo", "taken_back", is_flag=True, help="Take back what a person said, before it had consequences.")
@click.option("--because", required=True, help="How you know; journalled with your name.")
@click.option("--by", "who", metavar="NAME", help="Your name; by default your user name.")
@of_a_ledger
def resolve(
    source: str,
    id: str,  # noqa: A002 - click passes arguments by name
    verdict: str | None,
    taken_back: bool,
    because: str,
    who: str | None,
    path: Path | None,
    store: str | None,
) -> None:
    """Settle a cancellation that is in doubt or with an operator, or take that back.

    --as not-applied lets the next request try again, so be sure. --as cancelled answers every request so from
    now on. --undo takes either back and hands the cancellation to an operator again; it is refused once a client
    was told "cancelled", or a new request has begun.
    """
    if taken_back == (verdict is not None):
        raise click.UsageError("give --as, or --undo to take a verdict back")
    if not because.strip():
        raise click.UsageError("--because is empty; say how you know")
    who = _name(who)
    found = opened(path, store)
    row = find_row(found, source, id)
    repository = CancellationRepository(found, Timers(), found.clock)
    if verdict is None:
        _take_back(repository, row, because.strip(), who)
        return
    if not judge(repository, row, verdict, because.strip(), who):
        row = found.find(row.key) or row
        raise click.ClickException(f"{_named(row)} is {row.state}; only in-doubt and operator are settled by a person")
    say(f"{_named(row)} is {verdict} now")


def _take_back(repository: CancellationRepository, row: Row, because: str, who: str) -> None:
    known = Maintenance(repository.ledger).sources().get(row.source)
    if not undo(repository, row, because, who, readable=known is None or known.readable):
        row = repository.ledger.find(row.key) or row
        raise click.ClickException(f"{_named(row)}: nothing was undone; {why_not_undone(repository, row)}")
    say(f"{_named(row)} is {State.OPERATOR} again")


@ledger.command()
@click.option("--older-than", required=True, metavar="AGE", help="1d or more: 365d; days (d) or hours (h).")
@click.option("--source", help="Those of one source only.")
@of_a_ledger
def purge(older_than: str, source: str | None, path: Path | None, store: str | None) -> None:
    """Delete settled cancellations, with their journal and audit, that have not changed for so long."""
    match = re.fullmatch(r"([0-9]{1,7})([dh])", older_than)
    seconds = min(_OLDEST, int(match[1]) * (_DAY if match[2] == "d" else 3_600)) if match is not None else 0
    if match is None:
        raise click.UsageError(f"--older-than {older_than} is not an age; write 365d or 48h")
    if seconds < _DAY:
        raise click.UsageError(
            f"--older-than {older_than} is less than a day; write 1d or more: what was settled lately may still be "
            "asked for, and a repeat of it would be a new cancel"
        )
    states, before = [str(state) for state in SETTLED], time.time() - seconds
    gone = Maintenance(opened(path, store)).purge(states, before=before, source=source)
    say(f"{gone} cancellations deleted")


@ledger.command("rekey")
@click.argument("source")
@click.option("--plugin", metavar="NAME", help="The plugin of SOURCE; by default the one that --config names.")
@of_a_ledger
def rekey_source(source: str, plugin: str | None, path: Path | None, store: str | None) -> None:
    """Give the records of SOURCE the canonical form of their ids that its plugin declares now.

    Stop every facade on this ledger first. Two records of one appointment become one: the one that knows most.
    """
    found = opened(path, store)
    name = plugin or _configured_plugin(source, path)
    system = discovery.load_plugin(name).declaration
    moved, merged = rekey(found, DeclaredSource(name=source, plugin=system))
    say(f"{source}: {moved} records moved, {merged} merged")


@ledger.command("rename")
@click.argument("old")
@click.argument("new")
@of_a_ledger
def rename_source(old: str, new: str, path: Path | None, store: str | None) -> None:
    """Move the records of the source OLD to the name NEW, which the configuration gives it from now on.

    Stop every facade on this ledger first. Under its new name a source begins where it was, what is in doubt included.
    """
    if not re.fullmatch(configuration.NAME, new):
        raise click.UsageError(f"{new!r} is no name of a source: write 1 to 64 letters, digits and hyphens")
    say(f"{old}: {rename(opened(path, store), old, new)} records moved to {new}")


def _configured_plugin(source: str, path: Path | None) -> str:
    """The plugin that the configuration names for this source; nothing else of it is looked at."""
    if path is None:
        raise click.UsageError(
            f"which plugin is {source} of? name it with --plugin, or the configuration with --config"
        )
    table = configuration.read(path).get("sources")
    table = table.get(source) if isinstance(table, dict) else None
    name = table.get("plugin") if isinstance(table, dict) else None
    if not isinstance(name, str):
        raise click.UsageError(
            f"{source} is not configured in {path}; name its plugin, which declares the form: --plugin"
        )
    return name


def _named(row: Row) -> str:
    return f"{row.source} {row.appointment_id}"


def _name(given: str | None) -> str:
    """Whose word it is, as far as the ledger has room for it."""
    if given is None:
        try:
            given = getpass.getuser()
        except (OSError, KeyError, ImportError):  # a user without an entry in the system's list, as in a container
            given = ""
    if not given.strip():
        raise click.UsageError("--by is empty, and you have no user name here; say who you are")
    return given.strip()[:200]


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _told(value: Any) -> str:
    """A detail for a person; codes as ``system#code``."""
    if isinstance(value, list):
        return " ".join("#".join(map(str, each)) if isinstance(each, list) else str(each) for each in value)
    return str(value)
