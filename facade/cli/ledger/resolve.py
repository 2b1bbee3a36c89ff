"""``facade ledger resolve``: record what an operator found out about a cancellation."""

import getpass
from pathlib import Path

import click

from facade.cancellation.in_doubt import Resolution, resolve_by_operator, undo_resolution, why_not_undone
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.states import State
from facade.cancellation.timers import Timers
from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.ledger_options import ledger_options, opened_ledger
from facade.cli.common.ledger_records import find_row, name_of
from facade.cli.common.terminal import show
from facade.ledger.maintenance import Maintenance
from facade.ledger.store import Ledger
from facade.ledger.tables import Row


@click.command(cls=TakesId)
@click.argument("source")
@click.argument("id")
@click.option(
    "--as", "resolution", type=click.Choice([resolution.value for resolution in Resolution]), help="What is true."
)
@click.option("--undo", "is_undo", is_flag=True, help="Undo an operator's resolution that had no consequences yet.")
@click.option("--because", required=True, help="How you know. The journal records it with your name.")
@click.option("--by", "who", metavar="NAME", help="Your name. By default your user name.")
@ledger_options
def resolve(
    source: str,
    id: str,  # noqa: A002 - click passes arguments by name
    resolution: str | None,
    is_undo: bool,
    because: str,
    who: str | None,
    path: Path | None,
    store: str | None,
) -> None:
    """Resolve a cancellation that is in doubt or with an operator, or undo a resolution.

    --as not-applied lets the next request send a new native cancel, so be sure. --as cancelled gives every request the
    response "cancelled" from now on. --undo hands the cancellation to an operator again; the command refuses it after
    a client received the response "cancelled", or after a new request began.
    """
    if is_undo == (resolution is not None):
        raise click.UsageError("give --as, or --undo to undo a resolution")
    if not because.strip():
        raise click.UsageError("--because is empty; say how you know")
    who = _operator_name(who)
    ledger = opened_ledger(path, store)
    row = find_row(ledger, source, id)
    repository = CancellationRepository(ledger, Timers.for_response_within(8.0), ledger.clock)
    if resolution is None:
        _undo(ledger, repository, row, because.strip(), who)
        return
    if not resolve_by_operator(repository, row, Resolution(resolution), because.strip(), who):
        row = ledger.find(row.key) or row
        raise click.ClickException(
            f"{name_of(row)} is {row.state}; an operator resolves only the states in-doubt and operator"
        )
    show(f"{name_of(row)} is {resolution} now")


def _undo(ledger: Ledger, repository: CancellationRepository, row: Row, because: str, who: str) -> None:
    known = Maintenance(ledger).sources().get(row.source)
    if not undo_resolution(repository, row, because, who, readable=known is None or known.readable):
        row = ledger.find(row.key) or row
        raise click.ClickException(f"{name_of(row)}: nothing was undone; {why_not_undone(repository, row)}")
    show(f"{name_of(row)} is {State.OPERATOR} again")


def _operator_name(given: str | None) -> str:
    """Return who resolves: at most the 200 characters that the ledger stores. Raises UsageError."""
    if given is None:
        try:
            given = getpass.getuser()
        except (OSError, KeyError, ImportError):  # the user has no entry in the system's list, as in a container
            given = ""
    if not given.strip():
        raise click.UsageError("--by is empty, and you have no user name here; name yourself with --by")
    return given.strip()[:200]
