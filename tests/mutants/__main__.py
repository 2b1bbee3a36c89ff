"""Take away one guard after the other: the tests must notice. `make mutants` does it with all of them."""

import sys
import time

import click

from tests.mutants.listed import MUTANTS
from tests.mutants.runner import NoResult, play, sampled


@click.command()
@click.argument("names", nargs=-1)
@click.option("--sample", type=click.IntRange(1), help="Only so many of them, picked at random.")
@click.option("--seed", default=0, show_default=True, help="The same seed, the same sample.")
@click.option("--jobs", default=2, show_default=True, type=click.IntRange(1), help="How many run at once.")
@click.option("--list", "only_list", is_flag=True, help="Only print the names.")
def main(names: tuple[str, ...], sample: int | None, seed: int, jobs: int, only_list: bool) -> None:
    """Run the tests of the mutants NAMES, by default of all.

    Exit code 1 when less than 90 % are noticed, when one survives without a reason, or when one is noticed that is
    listed as impossible to notice; 2 when the tests fail without any mutant.
    """
    unknown = set(names) - set(MUTANTS)
    if unknown:
        raise click.UsageError(f"there is no mutant {', '.join(sorted(unknown))}; --list prints all names")
    mutants = [MUTANTS[name] for name in names or MUTANTS]
    if sample is not None:
        mutants = sampled(mutants, sample, seed)
    if only_list:
        click.echo("\n".join(mutant.name for mutant in mutants))
        return
    began = time.monotonic()
    try:
        score = play(mutants, jobs=jobs, say=click.echo)
    except NoResult as error:
        click.echo(error, err=True)
        sys.exit(2)
    click.echo(f"{score}, {time.monotonic() - began:.0f} s")
    sys.exit(0 if score.is_enough else 1)


if __name__ == "__main__":
    main()
