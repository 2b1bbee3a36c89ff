"""Explore as far as one likes; `make explore` goes to 100,000 states of every configuration."""

import sys
import time
from multiprocessing import get_context

import click

from tests.explorer.configurations import ALL
from tests.explorer.mutants import MUTANTS
from tests.explorer.search import explore, first_violation, narrated
from tests.explorer.world import in_the_model

Job = tuple[str, str, int, float, int]


@click.command()
@click.argument("names", nargs=-1)
@click.option(
    "--states",
    default=100_000,
    show_default=True,
    help="Stop a configuration after so many states; a mutant after so many random runs.",
)
@click.option("--seconds", default=3600.0, show_default=True, help="Stop a configuration after this time.")
@click.option("--seed", default=0, show_default=True, help="The same seed, the same states.")
@click.option("--jobs", default=2, show_default=True, help="Processes that explore.")
@click.option("--mutants", is_flag=True, help="Take away one guard after the other: each must be noticed.")
def main(names: tuple[str, ...], states: int, seconds: float, seed: int, jobs: int, mutants: bool) -> None:
    """Explore the configurations NAMES, by default all of them.

    Exit code 1 when an invariant is violated; the shortest story that does it is printed. With --mutants NAMES are
    mutants, and the exit code is 1 when one of them is not noticed.
    """
    known = MUTANTS if mutants else ALL
    unknown = set(names) - set(known)
    if unknown:
        raise click.UsageError(f"there is no {', '.join(sorted(unknown))}; there are: {', '.join(known)}")
    began = time.monotonic()
    names = names or tuple(known)
    failed = []
    with get_context("fork").Pool(jobs, maxtasksperchild=1) as pool:
        work = [
            (MUTANTS[n].setup if mutants else n, n if mutants else "", states, seconds, seed) for n in names or known
        ]
        for name, is_wrong, lines in pool.imap_unordered(_explored, work):
            failed += [name] if is_wrong else []
            for line in lines:
                click.echo(line)
    right = len(names) - len(failed)
    click.echo(f"{right} of {len(names)} as they must be, {time.monotonic() - began:.0f} s")
    sys.exit(1 if failed else 0)


def _explored(job: Job) -> tuple[str, bool, list[str]]:
    setup, mutant, states, seconds, seed = job
    with in_the_model() as make:
        if not mutant:
            result = explore(make, ALL[setup], states=states, seconds=seconds, seed=seed)
            story = narrated(make, ALL[setup], result.story) if result.violation else []
            return setup, bool(result.violation), [f"{setup}: {result}", *(f"    {line}" for line in story)]
        with MUTANTS[mutant].alive():
            result = first_violation(make, ALL[setup], runs=states, seconds=seconds, seed=seed)
        noticed = f"noticed in {result.runs} runs: {result.violation}" if result.violation else "NOT NOTICED"
        return mutant, not result.violation, [f"{mutant} ({setup}): {noticed}"]


if __name__ == "__main__":
    main()
