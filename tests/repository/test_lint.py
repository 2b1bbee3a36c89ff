"""Lint, formatting, types and import rules have no findings."""

import re
import tomllib

import pytest

from tests.support.paths import ROOT
from tests.support.project import run, tree

pytestmark = pytest.mark.timeout(400)  # tools that end after 300 s


@pytest.mark.parametrize(
    "command", ["ruff check --no-cache", "ruff format --check --no-cache", "mypy", "lint-imports --no-cache"]
)
def test_the_tools_have_nothing_to_say(command):
    done = run(*command.split())
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_strict_and_ignores_say_why():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]
    assert settings["strict"] is True
    assert settings["files"] == ["facade", "plugins", "docs", "tests"]
    for path in tree():
        if path.suffix == ".py":
            for line in path.read_text("utf-8").splitlines():
                assert not re.search(r"# type: ignore(?!\[[a-z-]+\]  # \w)", line) or path.name == "test_lint.py", line
