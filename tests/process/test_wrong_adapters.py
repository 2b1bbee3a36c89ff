"""Each adapter that is wrong on purpose fails exactly the tests of the kit that name its fault."""

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.plugins.test_conformance import THEMES, kit_tests
from tests.support import wrong_adapters
from tests.support.paths import ROOT
from tests.support.run_speed import without_coverage

pytestmark = pytest.mark.timeout(1200)  # the first test runs the kit over every adapter

WRONG = {name: kind for name, kind in vars(wrong_adapters).items() if name.startswith("Test")}
AT_ONCE = 4  # half of a run is waiting for silences
# 25,000 tests, of which only the names that fail are asked: without what shows, times and rewrites them.
BARE = (
    *("-q", "-n0", "--assert=plain", "--tb=line", "-o", "timeout=0"),
    *(f"-pno:{plugin}" for plugin in ("anyio", "cacheprovider", "hypothesispytest", "logging")),
)
IN_MEMORY = Path("/dev/shm")  # thousands of ledgers for a moment each


def outcomes(names, report):
    """Run these classes through the kit: the tests that failed, by class."""
    nodes = [f"tests/support/wrong_adapters.py::{name}" for name in names]
    command = [sys.executable, "-m", "pytest", *BARE, f"--junitxml={report}", *nodes]
    env = {**without_coverage(), **({"TMPDIR": str(IN_MEMORY)} if IN_MEMORY.is_dir() else {})}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=900)
    assert done.returncode in {0, 1}, done.stdout[-2000:] + done.stderr[-2000:]
    found = {name: {} for name in names}
    for case in ElementTree.parse(report).iter("testcase"):
        wrong = [case.find(kind) for kind in ("failure", "error") if case.find(kind) is not None]
        if wrong:
            name = case.get("classname").rpartition(".")[2]
            found[name][case.get("name")] = wrong[0].get("message", "")
    return found


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """By class: the tests that failed, with what they said."""
    folder, names = tmp_path_factory.mktemp("wrong"), list(WRONG)
    groups = [names[n::AT_ONCE] for n in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        reports = [folder / f"{n}.xml" for n in range(AT_ONCE)]
        found = list(pool.map(outcomes, groups, reports))
    return {name: tests for group in found for name, tests in group.items()}


def test_every_test_of_the_kit_is_failed_by_one_of_them():
    kit = {name for theme in THEMES for name in kit_tests(theme)}
    # No adapter can break what the facade itself sees to, and one that cannot be built fails everything.
    of_the_facade = {"test_cancelling_twice_writes_once", "test_two_concurrent_cancels_write_once"}
    failed = set().union(*(kind.fails for kind in WRONG.values()))
    assert kit - failed == of_the_facade | {"test_the_settings_build_an_adapter"}
    assert failed <= kit


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_adapter_fails_exactly_its_tests(failed, name):
    reported = {re.sub(r"\[.*", "", test) for test in failed[name]}
    assert reported == WRONG[name].fails, failed[name]
