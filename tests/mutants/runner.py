"""Runs the tests of each mutant in a copy of the project, in which nothing else is different."""

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.mutant import Mutant
from tests.support.paths import ROOT

LIMIT = 120.0  # seconds for the tests of one mutant: far more than any needs
ALL_WITHIN = 900.0  # seconds for the tests of all, without a mutant
ENOUGH = 0.9  # of all mutants must be noticed
BARE = ("-q", "--assert=plain", *(f"-pno:{plugin}" for plugin in ("anyio", "cacheprovider", "hypothesispytest")))
_LEFT_OUT = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "node_modules", "var", "build", "dist")
_PASSED, _FAILED = 0, 1


class NoResult(Exception):
    """The tests prove nothing; the text says why."""


@dataclass(frozen=True)
class MutantResult:
    """What became of one mutant."""

    mutant: Mutant
    noticed: bool
    by: str = ""  # the test that failed, and in what
    ran_over: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether it survived without a reason, or was noticed although it is listed as one that cannot be."""
        return self.noticed == bool(self.mutant.survives)

    def __str__(self) -> str:
        word = "noticed" if self.noticed else "survived"
        detail = f" (ran over {LIMIT:.0f} s)" if self.ran_over else f" ({self.by})" if self.by else ""
        if self.noticed and self.mutant.survives:
            detail += ": is listed as one that nothing can notice; take the reason away"
        elif not self.noticed:
            detail += f": {self.mutant.survives or 'NO REASON'}"
        return f"{word:8} {self.mutant.name}{detail}"


@dataclass(frozen=True)
class Score:
    """All results."""

    results: Sequence[MutantResult]

    @property
    def noticed(self) -> int:
        return sum(result.noticed for result in self.results)

    @property
    def is_enough(self) -> bool:
        """Whether enough were noticed, and nothing about any is wrong."""
        right = not any(result.is_wrong for result in self.results)
        return right and self.noticed >= ENOUGH * len(self.results)

    def __str__(self) -> str:
        count = len(self.results)
        return f"{self.noticed} of {count} mutants noticed, {100 * self.noticed / count:.1f} %"


def sampled(mutants: Sequence[Mutant], count: int, seed: int) -> list[Mutant]:
    """As many of them, or all: the same seed, the same ones."""
    return random.Random(seed).sample(mutants, min(count, len(mutants)))


def play(mutants: Sequence[Mutant], *, jobs: int = 1, say: Callable[[str], object] = lambda _: None) -> Score:
    """The result on each mutant. Raises NoResult where their tests fail without any mutant, too."""
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = [Copy(Path(folder) / str(number)) for number in range(max(1, jobs))]
        copies[0].need_all_passed(_each_once(test for mutant in mutants for test in mutant.tests))
        free: SimpleQueue[Copy] = SimpleQueue()
        for copy in copies:
            free.put(copy)

        def evaluate(mutant: Mutant) -> MutantResult:
            copy = free.get()
            try:
                result = copy.evaluate(mutant)
            finally:
                free.put(copy)
            say(str(result))
            return result

        with ThreadPoolExecutor(len(copies)) as pool:
            return Score(list(pool.map(evaluate, mutants)))


class Copy:
    """A copy of the project, for one mutant at a time."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        shutil.copytree(ROOT, folder, ignore=_LEFT_OUT)
        packages = ROOT / "tests" / "fhir_engine" / "node_modules"
        if packages.exists():
            (folder / "tests" / "fhir_engine" / "node_modules").symlink_to(packages)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV"))}
        # Also for the processes that tests start.
        self._env = {**kept, "PYTHONPATH": f"{folder}{os.pathsep}{folder / 'plugins'}"}
        self._env.pop("PYTHONDONTWRITEBYTECODE", None)  # or each mutant's tests compile every module again
        where = self._run(["-c", "import facade, facade_heim, tests; print(facade.__file__)"])[1].strip()
        if not where.startswith(str(folder)):
            raise NoResult(f"the tests would import {where}, not the copy in {folder}")

    def need_all_passed(self, tests: Sequence[str]) -> None:
        """Run tests without a mutant. Raises NoResult where one fails or is skipped, with what pytest says."""
        status, output = self._tested(tests, "-rfEs", within=ALL_WITHIN)
        if status != _PASSED or " skipped" in output.splitlines()[-1]:
            raise NoResult(f"without any mutant not all of the tests pass, so that they prove nothing:\n{output}")

    def evaluate(self, mutant: Mutant) -> MutantResult:
        """Run the mutant's tests. Raises NoResult where they cannot be run."""
        with self._mutated(mutant):
            status, output = self._tested(mutant.tests, "-x")
        if status is not None and status not in {_PASSED, _FAILED}:
            raise NoResult(f"{mutant.name}: its tests cannot be run:\n{output}")
        by = next((line for line in output.splitlines() if line.startswith(("FAILED ", "ERROR "))), "")
        return MutantResult(mutant, noticed=status != _PASSED, by=by.partition(" ")[2], ran_over=status is None)

    @contextmanager
    def _mutated(self, mutant: Mutant) -> Iterator[None]:
        path = self._folder / mutant.file
        before = path.read_text("utf-8")
        path.write_text(mutant.mutated(self._folder), "utf-8")
        _forget_bytecode(path)
        try:
            yield
        finally:
            path.write_text(before, "utf-8")
            _forget_bytecode(path)

    def _tested(self, tests: Sequence[str], *options: str, within: float | None = None) -> tuple[int | None, str]:
        # Plain assertions: only whether they hold is asked, and to rewrite them takes longer than most tests.
        return self._run(["-m", "pytest", *BARE, *options, *tests], within)

    def _run(self, arguments: Sequence[str], within: float | None = None) -> tuple[int | None, str]:
        """The exit code, None after too long a time, and what was written."""
        with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as output:
            process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self._folder,
                env=self._env,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # so that what it has started ends with it
            )
            status: int | None = None
            try:
                status = process.wait(within or LIMIT)
            except subprocess.TimeoutExpired:
                pass
            finally:
                if status is None:
                    os.killpg(process.pid, signal.SIGKILL)
                    process.wait()
            output.seek(0)
            return status, output.read()


def _forget_bytecode(path: Path) -> None:
    """Remove a module's bytecode. Python takes it for the module's if size and second of the change are the same."""
    for bytecode in path.parent.glob(f"__pycache__/{path.stem}.*.pyc"):
        bytecode.unlink()


def _each_once(tests: Iterable[str]) -> list[str]:
    """Without those whose file is there as a whole."""
    once = dict.fromkeys(tests)
    return [test for test in once if "::" not in test or test.partition("::")[0] not in once]
