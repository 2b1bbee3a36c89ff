"""The harness: random histories violate nothing, each broken facade is caught, each crash point is survived."""

import re
import subprocess
import sys

import pytest

from tests.histories.generator import CRASH_POINTS
from tests.histories.variants import VARIANTS
from tests.support.stores import POSTGRESQL, need_postgresql

pytestmark = pytest.mark.timeout(1000)  # hundreds of histories, in a process that ends after 900 s


def play(*arguments):
    """The harness as its command plays it: in a process of its own, which forks before it has threads."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.histories", *map(str, arguments)], capture_output=True, text=True, timeout=900
    )
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("at", CRASH_POINTS)
def test_a_process_killed_at_this_point_leaves_nothing_wrong(at):
    code, output = play("--crash-at", at, "--count", 6, "--at-once", 6, "--jobs", 1)
    assert code == 0, output
    assert "6 histories on sqlite, 0 with violations" in output
    # Not every order of events passes there; most do.
    assert int(re.search(r"(\d+) processes killed at their crash point", output)[1]) >= 3


def test_histories_on_sqlite_violate_nothing():
    code, output = play("--count", 200, "--store", "sqlite")
    assert code == 0, output
    assert "200 histories on sqlite, 0 with violations" in output


def test_histories_on_postgresql_violate_nothing():
    need_postgresql()
    code, output = play("--count", 50, "--store", "postgresql", "--url", POSTGRESQL, "--at-once", 5)
    assert code == 0, output
    assert "50 histories on postgresql, 0 with violations" in output


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_broken_facade_is_caught_within_200_histories(variant):
    code, output = play("--count", 200, "--variant", variant, "--until-caught", "--at-once", 6)
    assert code == 1, f"{variant} was not caught\n{output}"
