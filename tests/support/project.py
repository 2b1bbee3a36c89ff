"""The project's own files, and the tools that check them."""

import fnmatch
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.paths import ROOT

BIN = Path(sys.executable).parent


def run(*command, cwd=ROOT, env=None, **kwargs):
    """What a tool that is installed beside this Python says; no other folder is searched."""
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
