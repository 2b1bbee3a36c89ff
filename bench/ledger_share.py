"""Measure the time of one cancel without a ledger, and with a ledger on SQLite and on PostgreSQL.

    python -m bench.ledger_share [--count 300] [--url postgresql+psycopg://127.0.0.1/test]

The source responds at once, so the ledger's share of the time is as large as it can be. The rounds alternate, so that
other load on the machine affects all of them equally. Prints medians in milliseconds, and their ratios.
"""

import contextlib
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import click
from sqlalchemy.exc import SQLAlchemyError

from facade.cancellation import results
from facade.cancellation.attempt_context import AttemptContext
from facade.cancellation.budget import Budget
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.service import CancellationService
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.clock import Clock
from facade.fhir.appointment import Identity
from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.ledger.store import Ledger
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import CancelRequest, SourceAdapter, SourcePlugin
from facade.plugin.settings import SourceSettings
from tests.histories.postgresql import schema


class InstantAdapter(SourceAdapter):
    """An adapter without a source. It responds at once."""

    def __init__(self) -> None:
        self.cancelled: set[str] = set()

    def read(self, appointment_id):
        status = "cancelled" if appointment_id in self.cancelled else "booked"
        return {"resourceType": "Appointment", "id": appointment_id, "status": status}

    def cancel(self, request, current, permit):
        permit()
        self.cancelled.add(request.appointment_id)
        return self.read(request.appointment_id)


def make_source() -> ConfiguredSource:
    plugin = SourcePlugin(
        api="1.0", name="x", adapter=InstantAdapter, settings=SourceSettings, id_pattern=".*", repeat="errors"
    )
    identity = Identity(source="x", source_system="urn:x", native_system=lambda kind: f"urn:x:{kind}")
    return ConfiguredSource(
        name="x", plugin=plugin, adapter=InstantAdapter(), identity=identity, mapping=None, settings={}
    )


def without_ledger(source: ConfiguredSource) -> Callable[[str], object]:
    def cancel(appointment_id: str) -> object:
        request = CancelRequest(appointment_id=appointment_id)
        source.adapter.read(appointment_id)
        evidence = source.adapter.cancel(request, None, lambda: None)
        return results.cancelled(source, request, evidence, by_us=True, version=1)

    return cancel


def with_ledger(source: ConfiguredSource, url: str) -> Callable[[str], object]:
    engine = connect(url)
    migrate.upgrade(engine)
    clock, timers = Clock(), Timers.for_response_within(8.0)
    repository = CancellationRepository(Ledger(engine, clock=clock), timers, clock)
    context = AttemptContext(budget=Budget(8.0), timers=timers, repository=repository)
    cancellations = CancellationService(context, InDoubtResolver(repository, timers, clock))
    requester = Requester("bench")
    return lambda appointment_id: cancellations.cancel(source, CancelRequest(appointment_id=appointment_id), requester)


@click.command()
@click.option("--count", default=300, show_default=True)
@click.option("--url", default="postgresql+psycopg://127.0.0.1/test", show_default=True)
def main(count: int, url: str) -> None:
    """Measure the share of the ledger in one cancel."""
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        stores = {
            "none": without_ledger(make_source()),
            "sqlite": with_ledger(make_source(), f"sqlite:///{Path(folder)}/l.db"),
        }
        try:
            own = stack.enter_context(schema(url))
            stores["postgresql"] = with_ledger(make_source(), own)
        except SQLAlchemyError as error:
            click.echo(f"PostgreSQL skipped: {type(error).__name__}")
        run = time.time_ns()
        seconds: dict[str, list[float]] = {name: [] for name in stores}
        for n in range(count + 20):
            for name, cancel in stores.items():
                began = time.perf_counter()
                cancel(f"{run}-{n}")
                if n >= 20:  # the first ones warm up caches
                    seconds[name].append(time.perf_counter() - began)
        base = statistics.median(seconds["none"])
        for name, times in seconds.items():
            median = statistics.median(times)
            click.echo(
                f"{name:<12}{median * 1000:8.2f} ms per cancel   {median / base:6.1f} times the time without a ledger"
            )


if __name__ == "__main__":
    main()
