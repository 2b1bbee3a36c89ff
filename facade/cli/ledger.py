"""``facade ledger`` and ``facade db``: the record of cancellations, for people."""

import getpass
import re
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from facade.app import Facade, assemble
from facade.cancellation.judgement import judge
from facade.cancellation.known_sources import rekey, rename
from facade.cancellation.states import SETTLED, State
from facade.errors import ConfigurationError
from facade.ledger import migrate
from facade.ledger.maintenance import Maintenance
from facade.ledger.tables import Row

_config = click.option(
    "--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file."
)
_store = click.option("--store", metavar="URL", help="Another ledger than the configuration's, as for `serve`.")


@click.group()
def db() -> None:
    """Look after the ledger's store."""


@db.command()
@_config
def upgrade(path: Path) -> None:
    """Bring the store to the installed version."""
    engine = assemble(path).ledger.engine
    click.echo(f"the ledger is at revision {migrate.upgrade(engine)}")


@click.group()
def ledger() -> None:
    """Look into the record of cancellations, and settle what only a person can."""


@ledger.command("list")
@_config
@_store
@click.option("--state", type=click.Choice([str(state) for state in State]), help="Only rows in this state.")
@click.option("--source", help="Only this source system.")
@click.option("--limit", default=200, show_default=True, type=click.IntRange(1), help="At most so many.")
def list_rows(path: Path, store: str | None, state: str | None, source: str | None, limit: int) -> None:
    """List cancellations, the longest unchanged first."""
    facade = _opened(path, store)
    rows = facade.ledger.in_states([state] if state else [str(s) for s in State], source=source, limit=limit)
    for row in rows:
        click.echo(
            f"{row.state:<12} {_when(row.changed_at)}  {row.source} {row.appointment_id}  {row.cause or ''}".rstrip()
        )
    if not rows:
        click.echo("no cancellations" + (f" in state {state}" if state else ""), err=True)


@ledger.command()
@click.argument("source")
@click.argument("id")
@_config
@_store
def show(source: str, id: str, path: Path, store: str | None) -> None:  # noqa: A002 - click passes arguments by name
    """Show one cancellation and its journal as a timeline."""
    facade = _opened(path, store)
    row = _row(facade, source, id)
    click.echo(f"{row.source} {row.appointment_id}: {row.state}, attempt {row.epoch}, version {row.version}")
    if row.read_due is not None:
        click.echo(f"next read {_when(row.read_due)}")
    for line in facade.ledger.timeline(row.key):
        detail = ", ".join(f"{name} {_told(value)}" for name, value in line["detail"].items() if value)
        request = f"  request {line['request_id']}" if line["request_id"] else ""
        click.echo(f"{_when(line['at'])}  {line['event']:<14} → {line['state'] or '':<12} {detail}{request}".rstrip())
    for line in facade.ledger.audits(row.key):
        cause = f" ({line['cause']})" if line["cause"] else ""
        click.echo(f"{_when(line['at'])}  {line['who']}: {line['action']} → {line['outcome']}{cause}")


@ledger.command()
@click.argument("source")
@click.argument("id")
@click.option("--as", "verdict", type=click.Choice(["cancelled", "not-applied"]), required=True, help="What is true.")
@click.option("--because", required=True, help="How you know; journalled with your user name.")
@_config
@_store
def resolve(source: str, id: str, verdict: str, because: str, path: Path, store: str | None) -> None:  # noqa: A002 - as above
    """Settle a cancellation that is in doubt or with an operator.

    --as not-applied lets the next request try again, so be sure. --as cancelled answers every request so from
    now on.
    """
    facade = _opened(path, store)
    row = _row(facade, source, id)
    if not because.strip():
        raise click.UsageError("--because is empty; say how you know")
    if source not in facade.sources:
        raise click.UsageError(f"{source} is not configured in {path}; its answer cannot be completed")
    if not judge(facade.records, facade.sources[source], row, verdict, because.strip(), getpass.getuser()):
        raise click.ClickException(f"{source} {id} is {row.state}; only in-doubt and operator are settled by a person")
    click.echo(f"{source} {id} is {verdict} now")


@ledger.command()
@click.option("--older-than", required=True, metavar="AGE", help="For example 365d; days (d) or hours (h).")
@_config
@_store
def purge(older_than: str, path: Path, store: str | None) -> None:
    """Delete settled cancellations, with their journal and audit, that have not changed for so long."""
    match = re.fullmatch(r"([0-9]{1,5})([dh])", older_than)
    if match is None:
        raise click.UsageError(f"--older-than {older_than} is not an age; write 365d or 48h")
    seconds = int(match[1]) * (86_400 if match[2] == "d" else 3_600)
    gone = Maintenance(_opened(path, store).ledger).purge(
        [str(state) for state in SETTLED], before=time.time() - seconds
    )
    click.echo(f"{gone} cancellations deleted")


@ledger.command("rekey")
@click.argument("source")
@_config
@_store
def rekey_source(source: str, path: Path, store: str | None) -> None:
    """Give the records of SOURCE the canonical form of their ids that its plugin declares now.

    Stop every facade on this ledger first. Two records of one appointment become one: the one that knows most.
    """
    facade = _opened(path, store)
    if source not in facade.sources:
        raise click.UsageError(f"{source} is not configured in {path}; its plugin declares the form")
    moved, merged = rekey(facade.ledger, facade.sources[source])
    click.echo(f"{source}: {moved} records moved, {merged} merged")


@ledger.command("rename")
@click.argument("old")
@click.argument("new")
@_config
@_store
def rename_source(old: str, new: str, path: Path, store: str | None) -> None:
    """Move the records of the source OLD to the name NEW, which the configuration gives it from now on.

    Stop every facade on this ledger first. Under its new name a source begins where it was, what is in doubt included.
    """
    click.echo(f"{old}: {rename(_opened(path, store).ledger, old, new)} records moved to {new}")


def _opened(path: Path, store: str | None) -> Facade:
    facade = assemble(path, store=store)
    file = facade.ledger.engine.url.database
    if facade.ledger.engine.dialect.name == "sqlite" and file and not Path(file).exists():
        # To look into a ledger that is not there would be to say that nothing was ever cancelled.
        raise ConfigurationError(f"there is no ledger at {file}; name the one that is served with --store")
    facade.open_store()
    return facade


def _row(facade: Facade, source: str, appointment_id: str) -> Row:
    row = facade.ledger.find((source, appointment_id))
    if row is None:
        raise click.ClickException(
            f"{source} {appointment_id} was never cancelled through this facade; see ledger list"
        )
    return row


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").replace("+00:00", "Z")


def _told(value: Any) -> str:
    """A detail for a person; codes as ``system#code``."""
    if isinstance(value, list):
        return " ".join("#".join(map(str, each)) if isinstance(each, list) else str(each) for each in value)
    return str(value)
