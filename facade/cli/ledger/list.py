"""``facade ledger list``: list the recorded cancellations."""

from pathlib import Path

import click

from facade.cancellation.states import State
from facade.cli.common.ledger_options import ledger_options, opened_ledger
from facade.cli.common.ledger_records import format_time
from facade.cli.common.terminal import show


@click.command("list")
@ledger_options
@click.option("--state", type=click.Choice([str(state) for state in State]), help="List only this state.")
@click.option("--source", help="List only this source system.")
@click.option(
    "--limit", default=200, show_default=True, type=click.IntRange(1), help="The largest number of records to list."
)
def list_records(path: Path | None, store: str | None, state: str | None, source: str | None, limit: int) -> None:
    """List cancellations, the one that has been unchanged for the longest time first."""
    ledger = opened_ledger(path, store)
    rows = ledger.in_states([state] if state else [str(s) for s in State], source=source, limit=limit + 1)
    for row in rows[:limit]:
        changed = format_time(row.changed_at)
        show(f"{row.state:<12} {changed}  {row.source} {row.appointment_id}  {row.cause or ''}".rstrip())
    if len(rows) > limit:
        show(f"there are more than {limit} records; give a larger --limit, a --state or a --source", err=True)
    if not rows:
        show("no cancellations" + (f" in state {state}" if state else ""), err=True)
