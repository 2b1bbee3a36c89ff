"""The validator in tests/support/validated_responses.py catches what it is here for, and fails the run."""

import json
import re

import pytest

from tests.support.process import run_pytest

CONFTEST = """
from tests.support.validated_responses import EveryAnswer


def pytest_configure(config):
    validate = lambda resources: [["wrong"] if resource["status"] == "wrong" else [] for resource in resources]
    config.pluginmanager.register(EveryAnswer(validate))
"""
TESTS = """
import pytest
from tests.support.validated_responses import remember


@pytest.mark.parametrize("number", range(10))
def test_an_answer(number):
    remember({"status": ANSWERS[number % len(ANSWERS)], "id": "FILE" + str(number)})
"""
NONE = "def test_nothing_is_answered(): pass"


def answering(*answers):
    def text(name):
        return TESTS.replace("ANSWERS", json.dumps(answers)).replace("FILE", name)

    return {
        "conftest.py": CONFTEST,
        "test_one.py": text("one"),
        "test_other.py": text("other"),
        "test_validated_responses.py": NONE,
    }


def test_all_answers_of_all_processes_are_validated_and_counted(tmp_path):
    code, shown = run_pytest(tmp_path, answering("good"), "-n2")
    assert code == 0, shown
    assert "20 distinct answers were validated as FHIR R4" in shown
    assert re.search(r"^=+ 22 passed in", shown, re.MULTILINE), shown


@pytest.mark.parametrize("options", ["-n0", "-n2"], ids=["one process", "two processes"])
def test_one_invalid_response_fails_the_run_and_is_shown(tmp_path, options):
    wrong = TESTS.replace("ANSWERS", '["good", "wrong"]').replace("range(10)", "range(2)").replace("FILE", "other")
    code, shown = run_pytest(tmp_path, {**answering("good"), "test_other.py": wrong}, options)
    assert code == 1, shown
    assert '"id": "other1"' in shown
    assert "1 of 12 distinct answers are not valid FHIR R4" in shown
    assert re.search(r"^=+ 1 failed, 13 passed in", shown, re.MULTILINE), shown


def test_a_whole_run_without_responses_fails(tmp_path):
    code, shown = run_pytest(tmp_path, {**answering("good"), "test_one.py": NONE, "test_other.py": NONE}, "-n0")
    assert code == 1, shown
    assert "there was nothing to validate" in shown
    code, shown = run_pytest(tmp_path, answering("wrong"), "-n0", "test_one.py")
    assert code == 0, shown
    assert "validated" not in shown


def test_the_validator_catches_what_it_is_here_for(validate):
    participant = [{"actor": {"display": "x"}, "status": "needs-action"}]
    proposed = {"resourceType": "Appointment", "status": "proposed", "participant": participant}
    wrong = {
        "app-1": {**proposed, "participant": [{"status": "needs-action"}]},
        "app-2": {**proposed, "start": "2026-12-01T09:00:00Z"},
        "app-3": {**proposed, "status": "booked"},
        "app-4": {**proposed, "cancelationReason": {"text": "x"}},
        "Invalid additional property": {**proposed, "cancellationReason": {"text": "R5's spelling"}},
        "Missing required property": {"resourceType": "Appointment", "status": "proposed"},
    }
    for (rule, _), problems in zip(wrong.items(), validate(list(wrong.values())), strict=True):
        assert any(rule in problem for problem in problems), (rule, problems)
    assert validate([proposed]) == [[]]
