"""A stranger's shell: a folder and an environment of its own, in which this facade is installed."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

from tests.support.paths import ROOT


class Shell:
    """Runs what a person would type. ``folder`` is where, ``env`` what stays set."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "desk"
        self.folder.mkdir()
        venv = folder / "venv"
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(venv)], check=True, timeout=120)
        python = venv / "bin" / "python"
        # What is installed beside these tests is installed there too, the facade among it; what is added stays there.
        site = subprocess.run(
            [python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))"],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        ).stdout.strip()
        Path(site, "beside.pth").write_text(f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n")
        for name in ("facade", "pytest", "mypy"):
            self._command(venv, name, f'exec "{python}" -m {name} "$@"')
        # As a module it would search its environment for itself, and find this.
        self._command(venv, "ruff", f'exec "{sys.executable}" -m ruff "$@"')
        # Without isolation, so that no build asks the network for setuptools; all else must be met by what is there.
        own = f'exec "{sys.executable}" -m pip --python "{python}" "$@" --no-build-isolation --no-index'
        self._command(venv, "pip", f"{own} --disable-pip-version-check")
        self.env: dict[str, str] = {
            **os.environ,
            "PATH": f"{venv / 'bin'}:{os.environ['PATH']}",
            "MYPYPATH": str(ROOT),  # mypy does not see what is installed editable
            "COLUMNS": "300",
            "NO_COLOR": "1",
        }

    def __call__(self, command: str, *, within: float = 300) -> "subprocess.CompletedProcess[str]":
        """One command, whatever comes of it; both outputs are in ``stdout``."""
        return subprocess.run(
            ["bash", "-c", command],
            cwd=self.folder,
            env=self.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=within,
        )

    def ok(self, command: str) -> str:
        """What a command says that must succeed."""
        done = self(command)
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        return done.stdout

    @staticmethod
    def _command(venv: Path, name: str, line: str) -> None:
        path = venv / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n", "utf-8")
        path.chmod(0o755)
