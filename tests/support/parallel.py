"""How the tests are shared out among processes: by file, because what the tests of a file need is set up once."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadScopeScheduling

# These files begin, because they take longest; what is short fills the gaps at the end. The first and the fourth start
# several processes of their own, so they are kept apart.
LONGEST_FIRST = (
    "test_wrong_adapters.py",
    "test_histories.py",
    "test_new_source.py",
    "test_verify.py",
    "test_tutorial.py",
    "test_openapi.py",
    "test_imports.py",
    "test_lint.py",
    "test_commands.py",
    "test_conformance.py",
    "test_faults.py",
)
# The tests of these have nothing in common that takes long to set up.
TEST_BY_TEST = {"test_histories.py", "test_linear_time.py", "test_imports.py", "test_lint.py"}


def longest_first(items: list[pytest.Item]) -> None:
    """Sort the files, and leave the order inside each as it is."""
    place = {name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path.name, len(place)))


def names_files(arguments: Sequence[str]) -> bool:
    """Whether a command line names files or tests; else the run is a whole one."""
    return any(Path(argument.partition("::")[0]).is_file() for argument in arguments)


def processes(arguments: Sequence[str]) -> int:
    """How many processes pytest starts: none for a few files, one for each processor for a whole run."""
    if names_files(arguments):
        return 0
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class ByFile(LoadScopeScheduling):  # type: ignore[misc]  # xdist's types are not seen here
    """Gives the tests of one file to one process."""

    def _split_scope(self, nodeid: str) -> Any:
        path = nodeid.partition("::")[0]
        return nodeid if Path(path).name in TEST_BY_TEST else path
