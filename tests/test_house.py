"""The house is in order: lint, types, import rules and their proof, sizes, the wheel, `make` and CI."""

import fnmatch
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(400)  # tools that end after 300 s

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
NAMES = {contract["id"]: contract["name"] for contract in CONTRACTS}


def run(*command, cwd=ROOT, env=None, **kwargs):
    """What a tool that is installed beside this Python says; it is not looked for elsewhere."""
    tool = shutil.which(command[0], path=BIN) or shutil.which(command[0])
    assert tool, f"{command[0]} is not installed; make test installs it"
    env = {**os.environ, "COLUMNS": "300", "NO_COLOR": "1", **(env or {})}
    return subprocess.run([tool, *command[1:]], cwd=cwd, env=env, capture_output=True, text=True, timeout=300, **kwargs)


def tree():
    """Every file that belongs to the project: what .gitignore does not name, git or not."""
    ignored = [line.rstrip("/") for line in (ROOT / ".gitignore").read_text("utf-8").split()]

    def walk(folder):
        for path in sorted(folder.iterdir()):
            if path.name == ".git" or any(fnmatch.fnmatch(path.name, pattern) for pattern in ignored):
                continue
            yield from walk(path) if path.is_dir() else [path]

    return list(walk(ROOT))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project's files alone, as a bare clone has them."""
    folder = tmp_path_factory.mktemp("clone")
    for path in tree():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder


# Tools


@pytest.mark.parametrize(
    "command", ["ruff check --no-cache", "ruff format --check --no-cache", "mypy", "lint-imports --no-cache"]
)
def test_the_tools_have_nothing_to_say(command):
    done = run(*command.split())
    assert done.returncode == 0, done.stdout + done.stderr


def test_types_are_strict_and_ignores_say_why():
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]
    assert settings["strict"] is True
    assert settings["files"] == ["facade", "plugins"]
    for path in tree():
        if path.suffix == ".py":
            for line in path.read_text("utf-8").splitlines():
                assert not re.search(r"# type: ignore(?!\[[a-z-]+\]  # \w)", line) or path.name == "test_house.py", line


# Import rules, each proven by a deliberate violation

VIOLATIONS = [
    ("layers", "facade/errors.py", "from facade.observability import logs"),
    ("layers", "facade/setting_fields.py", "from facade.config import Client"),
    ("layers", "facade/fhir/ids.py", "from facade.config import Client"),
    ("layers", "facade/http_client.py", "from facade.fhir import ids"),
    ("layers", "facade/config.py", "from facade.plugin.registry import ConfiguredSource"),
    ("layers", "facade/plugin/registry.py", "from facade.cancellation.budget import Budget"),
    ("layers", "facade/app.py", "from facade.web import create_app"),
    ("layers", "facade/web/routes.py", "from facade.testing.simulator.faults import FAULTS"),
    ("layers", "facade/testing/simulator/host.py", "import facade.cli"),
    ("layers", "facade/a_new_module.py", ""),
    ("inside", "facade/web/routes.py", "from facade import Secret"),
    ("no-plugins", "facade/cli/sandbox.py", "from facade_heim.simulator import HeimSimulator"),
    ("public-surface", "plugins/facade_heim/adapter.py", "from facade.http_client import HttpClient"),
    ("public-surface", "plugins/facade_heim/adapter.py", "from facade import http_client"),
    ("public-surface", "plugins/facade_heim/simulator.py", "from facade.fhir import ids"),
    ("public-surface", "plugins/facade_fhir_r4/adapter.py", "from facade.fhir.reasons import SYSTEM"),
    ("apart", "plugins/facade_heim/translate.py", "from facade_fhir_r4 import seeds"),
    ("apart", "plugins/facade_fhir_r4/translate.py", "from facade_heim import codes"),
    ("requests", "facade/cli/cancel.py", "import requests"),
    ("requests", "plugins/facade_heim/adapter.py", "from requests import get"),
    ("fhir-resources", "facade/web/routes.py", "from fhir.resources.R4B.appointment import Appointment"),
    ("fhir-resources", "plugins/facade_heim/schemas.py", "import pydantic"),
    ("fhir-resources", "facade/verify/checks/reasons.py", "import pydantic"),
    ("acceptance", "facade/verify/hl7.py", "from facade.fhir.ids import encode"),
    ("acceptance", "facade/verify/hl7.py", "from facade.web import create_app"),
    ("acceptance", "facade/verify/hl7.py", "import facade.app"),
    ("acceptance", "facade/testing/text_search.py", "from facade.fhir.check import problems"),
    ("flask", "facade/cancellation/service.py", "from flask import request"),
    ("flask", "facade/app.py", "import werkzeug"),
    ("flask", "plugins/facade_heim/translate.py", "from werkzeug.http import parse_date"),
    ("sqlalchemy", "facade/cancellation/repository.py", "from sqlalchemy import select"),
    ("pytest", "facade/testing/simulator/host.py", "import pytest"),
    ("pytest", "facade/testing/simulator/host.py", "from facade.testing import conformance"),
    ("pluggy", "facade/app.py", "import pluggy"),
    ("pluggy", "plugins/facade_heim/__init__.py", "import pluggy"),
]


def broken_contracts(folder):
    """The ids of the contracts that are broken in a copy of the project."""
    done = run("lint-imports", "--no-cache", "--no-logo", cwd=folder, env={"PYTHONPATH": str(folder / "plugins")})
    verdicts = dict(re.findall(r"^(.+?) (KEPT|BROKEN)\b", done.stdout, re.MULTILINE))
    assert set(verdicts) == set(NAMES.values()), done.stdout + done.stderr
    broken = {contract for contract, name in NAMES.items() if verdicts[name] == "BROKEN"}
    assert (done.returncode != 0) == bool(broken)
    return broken


@pytest.fixture
def with_line(clone):
    """Add a line to a module of the clone for the length of a test."""
    undo = []

    def add(module, line):
        path = clone / module
        before = path.read_text("utf-8") if path.exists() else None
        undo.append((path, before))
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"{before or ''}\n{line}\n", "utf-8")

    yield add
    for path, before in undo:
        if before is not None:
            path.write_text(before, "utf-8")
        else:
            path.unlink()
            if not any(path.parent.iterdir()):
                path.parent.rmdir()


def test_the_clone_breaks_no_contract(clone):
    assert broken_contracts(clone) == set()


@pytest.mark.parametrize(("contract", "module", "line"), VIOLATIONS)
def test_a_forbidden_import_breaks_its_contract_and_no_other(clone, with_line, contract, module, line):
    with_line(module, line)
    assert broken_contracts(clone) == {contract}


def test_the_contracts_know_every_plugin():
    plugins = {folder.name for folder in (ROOT / "plugins").iterdir() if (folder / "__init__.py").exists()}
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]
    assert {"facade", *plugins} == set(settings["root_packages"])


def test_every_contract_is_proven():
    assert {contract for contract, _, _ in VIOLATIONS} == set(NAMES)


def test_an_import_for_types_alone_is_free(clone, with_line):
    with_line(
        "facade/plugin/contract.py",
        "if TYPE_CHECKING:\n    from facade.plugin.registry import ConfiguredSource\n    import requests",
    )
    assert broken_contracts(clone) == set()


# Sizes and places


def test_no_module_is_long_without_saying_why():
    for path in tree():
        if path.suffix == ".py" and path.relative_to(ROOT).parts[0] in {"facade", "plugins"}:
            text = path.read_text("utf-8")
            lines = text.count("\n")
            assert lines <= 260 or "\n# Why this long:" in text, f"{path.relative_to(ROOT)} has {lines} lines"


def test_every_module_says_in_one_sentence_what_it_knows():
    for path in tree():
        if path.suffix == ".py" and path.stat().st_size:
            first = path.read_text("utf-8").splitlines()[0]
            assert re.match(r'r?"""\S.*[.:"]', first), path


def test_nothing_mentions_a_place_on_the_machine_it_was_written_on():
    place = re.compile(
        r"(?<![\w.])/(?:" + "|".join(["wor" + "k", "tmp/ven" + "vs", "hom" + "e/[a-z]+", "roo" + "t"]) + r")\b"
    )
    for path in tree():
        found = place.search(path.read_bytes().decode("utf-8", "replace"))
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"


# The wheel


@pytest.fixture(scope="module")
def wheel(clone, tmp_path_factory):
    """The wheel, built from a clone with what is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    command = "pip wheel --no-deps --no-index --no-build-isolation --disable-pip-version-check --wheel-dir"
    done = run(sys.executable, "-m", *command.split(), str(folder), str(clone))
    assert done.returncode == 0, done.stdout + done.stderr
    (found,) = folder.glob("*.whl")
    return found


def test_the_wheel_holds_every_module_and_its_data_and_no_tests(wheel):
    held = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    wanted = {str(path.relative_to(ROOT)).removeprefix("plugins/") for path in tree()}
    assert held == {name for name in wanted if name.startswith("facade")}
    assert {"facade/fhir/cancellation_reasons.json", "facade_heim/conceptmap.json", "facade/py.typed"} <= held


def test_the_wheel_works_in_any_directory(wheel, tmp_path):
    site, anywhere = tmp_path / "site", tmp_path / "anywhere"
    zipfile.ZipFile(wheel).extractall(site)
    shutil.copytree(ROOT / "config", anywhere / "config")
    env = {"PYTHONPATH": str(site)}

    def facade(*arguments):
        done = run(sys.executable, "-m", "facade", *arguments, cwd=anywhere, env=env)
        assert done.returncode == 0, done.stderr
        return done.stdout

    where = run(sys.executable, "-c", "import facade, facade_heim; print(facade.__file__)", cwd=anywhere, env=env)
    assert where.stdout.startswith(str(site))
    assert "sandbox" in facade("--help")
    assert "\nin order\n" in facade("check", "--config", "config/sandbox.toml")
    assert "from fhir-facade" in facade("sources", "--config", "config/sandbox.toml")
    assert "pip install -e" in facade("new-source", "paper", "facade-paper")
    assert (anywhere / "facade-paper" / ".gitignore").is_file()
    command = [sys.executable, "-m", "facade", "sandbox", "--port", "0"]
    with subprocess.Popen(
        command, cwd=anywhere, env={**os.environ, **env}, stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline().startswith("fhir_r4     http://127.0.0.1:")
        finally:
            process.terminate()
            process.wait(60)
    assert process.returncode == 0


def test_the_default_install_is_small():
    setup = (ROOT / "setup.cfg").read_text("utf-8")
    core = re.search(r"install_requires =\n((?:    .*\n)+)", setup)[1]
    names = [line.split()[0] for line in core.splitlines()]
    assert len(names) <= 14
    reasons = (ROOT / "docs" / "decisions" / "0002-core-dependencies.md").read_text("utf-8")
    for name in names:
        assert name in reasons, f"{name} has no reason"
    for line in core.splitlines():
        assert re.search(r">=", line), f"{line} has no lower bound"


# make and CI


def executable(path, text):
    path.write_text(text, "utf-8")
    path.chmod(0o755)
    return path


def test_make_help_lists_every_target():
    done = run("make", "help")
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    assert set(targets) >= {"help", "run", "test"}
    assert re.findall(r"^  make (\w+) +\S", done.stdout, re.MULTILINE) == targets


@pytest.mark.parametrize("target", ["run", "test"])
def test_an_old_python_is_refused_in_one_sentence_with_what_to_type(tmp_path, target):
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
def test_ci_prints_pytests_closing_line_last_and_fails_when_anything_failed(tmp_path, output, status, last):
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
