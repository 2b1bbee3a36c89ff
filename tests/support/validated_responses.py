"""Every FHIR response that any test got is validated, after the last test, by a validator that shares no code with us.

Tests may run in several processes. Each remembers the answers of its own tests and hands them to the process that
started it, which validates them all and adds one result to the run's.
"""

import json
import os
import subprocess
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

from tests.support.node import ENGINE, CannotInstallError, install
from tests.support.parallel import names_files

NAME = "tests/process/test_validated_responses.py::test_every_answer_of_every_test_is_valid_r4"
KEPT = "every-answer"

Resource = dict[str, Any]
_answers: dict[str, Resource] = {}


def remember(resource: Resource) -> None:
    """Keep an answer for the validator."""
    _answers[json.dumps(resource, sort_keys=True)] = resource


def validated(node: Path, resources: list[Resource]) -> list[list[str]]:
    """For each resource, what is wrong with it as FHIR R4."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "answers.json")
        path.write_text(json.dumps(resources), "utf-8")
        command = [node, "validate.mjs", str(path)]
        done = subprocess.run(command, cwd=ENGINE, check=True, capture_output=True, text=True, timeout=600)  # type: ignore[arg-type]  # a double, or known to be there
    problems: list[list[str]] = json.loads(done.stdout)
    return problems


class EveryAnswer:
    """Adds the result to a run of which tests/process/test_validated_responses.py is a part."""

    def __init__(self, validate: Callable[[list[Resource]], list[list[str]]] | None = None) -> None:
        self._validate = validate or (lambda resources: validated(install(), resources))
        self._wanted = False
        self._needed = False  # a whole run gives answers
        self._sentence = ""

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Not in the process that only starts others: those collect."""
        files = {item.path.name for item in session.items}
        self._wanted = Path(NAME.partition("::")[0]).name in files
        self._needed = not names_files(session.config.args)

    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Hand the answers over, where another process waits for them."""
        if (output := getattr(session.config, "workeroutput", None)) is not None:
            kept = {"wanted": self._wanted, "needed": self._needed, "answers": list(_answers)}
            output[KEPT] = json.dumps(kept)

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        """Take over the answers of a process that has ended; one that died fails the run by itself."""
        if (kept := getattr(node, "workeroutput", {}).get(KEPT)) is not None:
            kept = json.loads(kept)
            self._wanted |= kept["wanted"]
            self._needed |= kept["needed"]
            _answers.update({text: json.loads(text) for text in kept["answers"]})

    @pytest.hookimpl(wrapper=True)
    def pytest_runtestloop(self, session: pytest.Session) -> Generator[None, object, object]:
        """Validate, in the process that shows the results, after the last test."""
        result = yield
        is_worker = hasattr(session.config, "workerinput")
        if self._wanted and not is_worker and not session.config.option.collectonly:
            report = self._report(list(_answers.values()))
            session.config.hook.pytest_runtest_logreport(report=report)
        return result

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Show how many there were."""
        if self._sentence:
            terminalreporter.write_line(self._sentence)

    def _report(self, answers: list[Resource]) -> pytest.TestReport:
        outcome, why = "passed", None
        try:
            if answers:
                why = _wrong(answers, self._validate(answers))
                self._sentence = f"{len(answers)} distinct answers were validated as FHIR R4"
            elif self._needed:
                why = "no test has remembered an answer: there was nothing to validate"
        except CannotInstallError as error:
            outcome, why = ("failed" if os.environ.get("CI") == "true" else "skipped"), str(error)
        else:
            outcome = "failed" if why else "passed"
        return pytest.TestReport(
            nodeid=NAME,
            location=(NAME.partition("::")[0], 0, NAME.rpartition("::")[2]),
            keywords={},
            outcome=outcome,  # type: ignore[arg-type]  # one of its three words
            longrepr=(NAME, 0, f"Skipped: {why}") if outcome == "skipped" else why,
            when="call",
        )


def _wrong(answers: list[Resource], problems: list[list[str]]) -> str | None:
    found = [pair for pair in zip(answers, problems, strict=True) if pair[1]]
    head = f"{len(found)} of {len(answers)} distinct answers are not valid FHIR R4; the first are:\n"
    return head + json.dumps(found[:3], indent=1) if found else None
