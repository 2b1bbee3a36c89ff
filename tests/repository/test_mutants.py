"""A sample of the mutants is noticed by the tests that they name; `make mutants` runs all of them."""

import re
from dataclasses import replace

import pytest
from click.testing import CliRunner

from tests.mutants import runner
from tests.mutants.__main__ import main
from tests.mutants.listed import MUTANTS
from tests.mutants.mutant import Mutant
from tests.mutants.runner import Copy, MutantResult, NoResult, Score, play, sampled
from tests.support.paths import ROOT
from tests.support.stores import need_postgresql

# With this seed no mutant is among them that is only noticed by a wait that runs out, which takes a minute each.
SAMPLE = sampled(list(MUTANTS.values()), 30, seed=4)
AREAS = (
    "facade/cancellation/",
    "facade/ledger/",
    "facade/http_client.py",
    "facade/fhir/ids.py",
    "facade/strict_json.py",
)
PERMIT = next(mutant for mutant in MUTANTS.values() if mutant.file == "facade/cancellation/write_permit.py")
HARMLESS = Mutant(
    "nothing is different",
    "facade/cancellation/budget.py",
    "    answer_within: float\n",
    "    answer_within: float  # seconds\n",
    ("tests/unit/test_write_permit.py",),
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory):
    return Copy(tmp_path_factory.mktemp("mutants") / "copy")


@pytest.fixture(scope="module")
def passing(copy):
    """The copy, once all tests of the sample pass in it."""
    need_postgresql()
    copy.need_all_passed(sorted({test for mutant in SAMPLE for test in mutant.tests}))
    return copy


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: mutant.name)
def test_a_guard_that_is_taken_away_is_noticed(passing, mutant):
    result = passing.evaluate(mutant)
    assert not result.is_wrong, str(result)


# The list


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS)
def test_each_guard_is_where_its_mutant_expects_it(mutant):
    compile(mutant.mutated(), mutant.file, "exec")
    assert mutant.file.startswith(AREAS)
    assert mutant.tests
    for test in mutant.tests:
        path, _, name = test.partition("::")
        function = name.partition("[")[0]
        assert f"def {function}(" in (ROOT / path).read_text("utf-8") if name else (ROOT / path).is_file(), test


def test_a_guard_that_is_gone_is_named():
    with pytest.raises(ValueError, match=r"harmless: 'no such guard' is 0 times in .*; change the mutant"):
        replace(HARMLESS, name="harmless", old="no such guard").mutated()


def test_few_are_listed_as_impossible_to_notice():
    survivors = [mutant for mutant in MUTANTS.values() if mutant.survives]
    assert len(MUTANTS) >= 90
    assert len(survivors) <= 0.1 * len(MUTANTS)


def test_the_page_names_how_many_there_are_and_each_survivor():
    page = (ROOT / "docs" / "concepts" / "how-it-was-tested.md").read_text("utf-8")
    report = page.partition("\n## Mutants\n")[2].partition("\n## ")[0]
    assert re.search(rf"^Measured: [0-9]+ of {len(MUTANTS)} are noticed", report, re.MULTILINE)
    rows = re.findall(r"^\| ([^|]+) \| [^|]+\. \|$", report, re.MULTILINE)
    assert rows == [mutant.name for mutant in MUTANTS.values() if mutant.survives]


def test_every_module_with_a_guard_has_a_mutant():
    covered = {mutant.file for mutant in MUTANTS.values()}
    modules = {f"facade/{path.relative_to(ROOT / 'facade')}" for path in ROOT.glob("facade/cancellation/*.py")}
    modules |= {f"facade/ledger/{path.name}" for path in ROOT.glob("facade/ledger/*.py")}
    # What these hold is words and columns: the tests of their users notice.
    words = {"attempt_context", "results", "stored_request", "tables", "__init__"}
    assert {module for module in modules if re.sub(r".*/|\.py", "", module) not in words} <= covered


# The runner


def test_a_mutant_that_does_not_exist_is_reported():
    refused = CliRunner().invoke(main, ["no such mutant"])
    assert refused.exit_code == 2
    assert "there is no mutant no such mutant; --list prints all names" in refused.output
    listed = CliRunner().invoke(main, ["--list"])
    assert listed.output.splitlines() == list(MUTANTS)


def test_the_same_seed_is_the_same_sample():
    mutants = list(MUTANTS.values())
    assert sampled(mutants, 5, 7) == sampled(mutants, 5, 7) != sampled(mutants, 5, 8)
    assert len(sampled(mutants, 10_000, 1)) == len(mutants)


def test_a_mutant_is_undone_and_a_harmless_one_survives(copy):
    path = copy._folder / PERMIT.file
    before = path.read_bytes()
    assert copy.evaluate(PERMIT).noticed
    assert path.read_bytes() == before == (ROOT / PERMIT.file).read_bytes()
    result = copy.evaluate(HARMLESS)
    assert (result.noticed, result.is_wrong) == (False, True)
    assert str(result) == "survived nothing is different: NO REASON"


def test_tests_that_prove_nothing_are_no_result(copy):
    with pytest.raises(NoResult, match="its tests cannot be run"):
        copy.evaluate(replace(HARMLESS, tests=("tests/no_such_file.py",)))
    with pytest.raises(NoResult, match="without any mutant not all of the tests pass"):
        play([replace(HARMLESS, tests=("tests/no_such_file.py",))])


def test_tests_that_do_not_end_are_ended_and_count_as_noticed(copy, monkeypatch):
    monkeypatch.setattr(runner, "LIMIT", 0.01)
    result = copy.evaluate(HARMLESS)
    assert (result.noticed, result.ran_over) == (True, True)
    assert "ran over" in str(result)


def test_a_score_is_enough_from_nine_tenths_without_a_fault():
    reasoned = replace(HARMLESS, survives="it is the same")
    noticed, survived = MutantResult(HARMLESS, noticed=True), MutantResult(reasoned, noticed=False)
    assert Score([noticed] * 9 + [survived]).is_enough
    assert not Score([noticed] * 8 + [survived] * 2).is_enough
    assert not Score([noticed] * 9 + [MutantResult(HARMLESS, noticed=False)]).is_enough
    assert not Score([noticed] * 9 + [MutantResult(reasoned, noticed=True)]).is_enough
    assert str(Score([noticed] * 9 + [survived])) == "9 of 10 mutants noticed, 90.0 %"
