"""The explorer: some of every configuration violates nothing, and what is broken on purpose is noticed.

`make explore` goes much further. Everything here is the same in every run: it depends on seeds and counts alone.
"""

from dataclasses import replace

import pytest

from tests.explorer.configurations import ALL, NARROW
from tests.explorer.mutants import MUTANTS
from tests.explorer.search import explore, first_violation, narrated, simulate, violated
from tests.explorer.world import in_the_model

STATES = 1500  # of each configuration
RUNS = 200  # random ones of each configuration
SOON = {name: mutant for name, mutant in MUTANTS.items() if mutant.runs <= 1000}


@pytest.fixture
def make():
    with in_the_model() as found:
        yield found


@pytest.mark.parametrize("name", ALL)
def test_states_and_random_runs_violate_nothing(make, name):
    result = explore(make, ALL[name], states=STATES)
    assert (result.violation, narrated(make, ALL[name], result.story)) == ("", [])
    assert result.states >= STATES or result.complete
    for seed in range(RUNS):
        run = simulate(make, ALL[name], seed)
        assert (run.violation, narrated(make, ALL[name], run.story)) == ("", []), f"seed {seed}"


def test_a_small_configuration_is_explored_to_its_end(make):
    result = explore(make, NARROW["a resolution and its undoing"])
    assert (result.complete, result.violation) == (True, "")


@pytest.mark.parametrize("name", SOON)
def test_a_missing_guard_is_noticed_with_the_shortest_trace(make, name):
    mutant = SOON[name]
    setup = ALL[mutant.setup]
    with mutant.alive():
        found = first_violation(make, setup, runs=mutant.runs)
        assert found.violation, f"{name} was not noticed in {mutant.runs} runs"
    assert violated(make, setup, found.story) == "", "without the mutant too"


def test_the_same_seed_is_the_same_run(make):
    setup = ALL["doubt"]
    runs = [[simulate(make, setup, seed).steps for seed in range(30)] for _ in range(2)]
    assert runs[0] == runs[1]
    assert len(set(runs[0])) > 5


def test_a_mutant_that_names_no_code_is_refused():
    mutant = replace(MUTANTS["sending is not flushed"], old="no such text")
    with pytest.raises(AssertionError, match="fix the mutant"), mutant.alive():
        pass
