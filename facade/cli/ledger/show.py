"""``facade ledger show``: show one cancellation and its journal."""

from pathlib import Path
from typing import Any

import click

from facade.cli.common.appointment_ids import TakesId
from facade.cli.common.ledger_options import ledger_options, opened_ledger
from facade.cli.common.ledger_records import find_row, format_time
from facade.cli.common.terminal import show


@click.command("show", cls=TakesId)
@click.argument("source")
@click.argument("id")
@ledger_options
def show_record(source: str, id: str, path: Path | None, store: str | None) -> None:  # noqa: A002 - click passes arguments by name
    """Show one cancellation, with its journal as a timeline."""
    ledger = opened_ledger(path, store)
    row = find_row(ledger, source, id)
    show(f"{row.source} {row.appointment_id}: {row.state}, attempt {row.attempt_number}, version {row.version}")
    if row.read_due is not None:
        show(f"next read {format_time(row.read_due)}")
    for entry in ledger.timeline(row.key):
        detail = ", ".join(f"{name} {_detail(value)}" for name, value in entry["detail"].items() if value)
        request = f"  request {entry['request_id']}" if entry["request_id"] else ""
        at = format_time(entry["at"])
        show(f"{at}  {entry['event']:<14} → {entry['state'] or '':<12} {detail}{request}".rstrip())
    for entry in ledger.audit_records(row.key):
        cause = f" ({entry['cause']})" if entry["cause"] else ""
        show(f"{format_time(entry['at'])}  {entry['who']}: {entry['action']} → {entry['outcome']}{cause}")


def _detail(value: Any) -> str:
    """Format a journal detail; a coding becomes ``system#code``."""
    if isinstance(value, list):
        return " ".join("#".join(map(str, each)) if isinstance(each, list) else str(each) for each in value)
    return str(value)
