"""Play any number of histories by hand."""

import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing import get_context

import click

from tests.histories.generator import CRASH_POINTS, History, crash_at, generate
from tests.histories.job import Job, Result, job
from tests.histories.postgresql import schema
from tests.histories.shrink import shrink
from tests.histories.variants import VARIANTS


@click.command()
@click.option("--seed", default=1, show_default=True, help="The first history's seed; the others count on from it.")
@click.option("--count", default=200, show_default=True, help="How many histories.")
@click.option("--store", type=click.Choice(["sqlite", "postgresql"]), default="sqlite", show_default=True)
@click.option("--url", default="postgresql+psycopg://127.0.0.1/test", show_default=True, help="For PostgreSQL.")
@click.option("--variant", type=click.Choice([*VARIANTS]), help="Play with a facade that is broken on purpose.")
@click.option("--crash-at", type=click.Choice(CRASH_POINTS), help="Play histories that kill a process at this point.")
@click.option("--until-caught", is_flag=True, help="Stop at the first violation.")
@click.option("--at-once", default=12, show_default=True, help="Histories at once, in each job.")
@click.option("--jobs", default=2, show_default=True, help="Processes that play histories.")
def main(
    seed: int,
    count: int,
    store: str,
    url: str,
    variant: str | None,
    crash_at: str | None,
    until_caught: bool,
    at_once: int,
    jobs: int,
) -> None:
    """Play COUNT histories from SEED on; exit code 1 if any violates an invariant.

    A run that was broken off goes on with the last seed it printed. A failure is shrunken and printed with its
    seed: --seed N --count 1 plays it again.
    """
    seeds = [range(seed + job, seed + count, jobs) for job in range(jobs)]
    began = time.monotonic()
    found: list[str] = []
    killed = 0
    with tempfile.TemporaryDirectory(prefix="histories-") as folder, get_context("fork").Pool(jobs) as pool:
        orders = [
            Order(folder, part, store, url, variant or "", crash_at, until_caught, at_once, index == 0)
            for index, part in enumerate(seeds)
        ]
        for failures, crashes in pool.imap_unordered(_play, orders):
            found += failures
            killed += crashes
            if found and until_caught:
                break
    for failure in found:
        click.echo(failure)
    click.echo(f"{killed} processes killed at their crash point")
    click.echo(f"{count} histories on {store}, {len(found)} with violations, {time.monotonic() - began:.0f} s")
    sys.exit(bool(found))


@dataclass(frozen=True)
class Order:
    """What one job plays, and how."""

    folder: str
    seeds: range
    store: str
    url: str
    variant: str
    crash_at: str | None
    until_caught: bool
    at_once: int
    shows: bool


def _play(order: Order) -> tuple[list[str], int]:
    if order.store == "sqlite":
        with job(order.folder) as own:
            return _go(own, order), own.crashes
    with schema(order.url) as own_url, job(order.folder, own_url) as own:
        return _go(own, order), own.crashes


def _go(own: Job, order: Order) -> list[str]:
    def histories() -> Iterator[History]:
        for done, seed in enumerate(order.seeds):
            if order.shows and done % 50 == 0:
                print(f"{done} of {len(order.seeds)}, seed {seed}", flush=True)
            yield crash_at(seed, order.crash_at) if order.crash_at else generate(seed)

    failed: list[Result] = []
    for result in own.play_all(histories(), order.at_once, order.variant):
        if result.violations:
            failed.append(result)
            if order.until_caught:
                return [_described(result)]
    return [f"{_described(result)}\n  {shrink(own, result, order.variant)}" for result in failed]


def _described(result: Result) -> str:
    return "\n  ".join([f"seed {result.history.seed}", *result.violations])


if __name__ == "__main__":
    main()
