"""`make` and `.ci/run`: the targets, the refusal of an old Python, and the last line of a CI run."""

import os
import re
import shutil

import pytest

from tests.support.paths import ROOT
from tests.support.project import run


def executable(path, text):
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


def test_make_help_lists_every_target():
    done = run("make", "help")
    targets = re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(targets) >= {"help", "run", "test"}
    assert re.findall(r"^  make ([\w-]+) +\S", done.stdout, re.MULTILINE) == targets


@pytest.mark.parametrize("target", ["run", "test"])
def test_an_old_python_is_refused_with_what_to_type(tmp_path, target):
    old = executable(tmp_path / "old", '#!/bin/sh\n[ "$1" = --version ] && { echo Python 3.10.1; exit; }\nexit 1\n')
    for name in ("Makefile", "setup.cfg", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    for python, what in ((old, f"{old} is Python 3.10.1"), ("python-none", "there is no python-none here")):
        done = run("make", target, f"PYTHON={python}", cwd=tmp_path)
        assert done.returncode != 0
        expected = f"fhir-facade needs Python 3.11 or newer, and {what}. Name another: make {target} PYTHON=python3.12"
        assert done.stderr.splitlines()[0] == expected
    assert not (tmp_path / ".venv").exists()


@pytest.mark.parametrize(
    ("output", "status", "last"),
    [
        ("===== 5 passed in 1.20s =====", 0, "===== 5 passed in 1.20s ====="),
        (
            "== 1 failed, 4 passed, 2 skipped in 75.31s (0:01:15) ==",
            2,
            "== 1 failed, 4 passed, 2 skipped in 75.31s (0:01:15) ==",
        ),
        ("no such package", 2, "pytest did not run to its end"),
        ("make: Nothing to be done", 0, "pytest did not run to its end"),
    ],
)
def test_ci_prints_the_closing_line_last_and_fails_on_failure(tmp_path, output, status, last):
    make = f'#!/bin/sh\necho "$*, CI=$CI, $PWD"\necho "{output}"\necho "make: done"\nexit {status}\n'
    executable(tmp_path / "make", make)
    (tmp_path / ".ci").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    done = run("bash", ".ci/run", cwd=tmp_path, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"})
    lines = done.stdout.splitlines()
    assert lines[0] == f"test, CI=true, {tmp_path}"
    assert lines[-1] == last
    assert (done.returncode == 0) == (status == 0 and "passed" in last)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)
