"""The wheel holds every module and no tests, works in any directory, and needs few distributions."""

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from tests.support.paths import ROOT
from tests.support.project import run, tree

pytestmark = pytest.mark.timeout(400)  # tools that end after 300 s


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


def test_the_sdist_holds_all_that_the_wheel_is_made_of(clone, wheel, tmp_path):
    code = "import sys; from setuptools import build_meta; build_meta.build_sdist(sys.argv[1])"
    done = run(sys.executable, "-c", code, str(tmp_path), cwd=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    (sdist,) = tmp_path.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2].removeprefix("plugins/") for name in archive.getnames()}
    assert {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} <= held
    assert {"LICENSE", "README.md", "pyproject.toml", "setup.cfg"} <= held


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
    assert "\nOK\n" in facade("check", "--config", "config/sandbox.toml")
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
