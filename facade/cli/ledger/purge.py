"""``facade ledger purge``: delete old settled cancellations."""

import re
import time
from pathlib import Path

import click

from facade.cancellation.states import SETTLED
from facade.cli.common.ledger_options import ledger_options, opened_ledger
from facade.cli.common.terminal import show
from facade.ledger.maintenance import Maintenance

_DAY = 86_400
_OLDEST = 99_999 * _DAY


@click.command()
@click.option("--older-than", required=True, metavar="AGE", help="1d or more, for example 365d: days (d) or hours (h).")
@click.option("--source", help="Delete only the records of this source.")
@ledger_options
def purge(older_than: str, source: str | None, path: Path | None, store: str | None) -> None:
    """Delete settled cancellations older than AGE, with their journal and audit records.

    A cancellation's age is the time since its last change.
    """
    match = re.fullmatch(r"([0-9]{1,7})([dh])", older_than)
    seconds = min(_OLDEST, int(match[1]) * (_DAY if match[2] == "d" else 3_600)) if match is not None else 0
    if match is None:
        raise click.UsageError(f"--older-than {older_than} is not an age; write 365d or 48h")
    if seconds < _DAY:
        raise click.UsageError(
            f"--older-than {older_than} is less than a day; write 1d or more: a client may still repeat a recent "
            "request, and without its record the repeat would send a new cancel"
        )
    states, before = [str(state) for state in SETTLED], time.time() - seconds
    count = Maintenance(opened_ledger(path, store)).purge(states, before=before, source=source)
    show(f"{count} cancellations deleted")
