"""A start with a wrong configuration, as a process."""

import subprocess
import sys

import pytest

from tests.unit import test_configuration

write = test_configuration.write


@pytest.mark.parametrize("command", ["check", "serve"])
def test_a_refused_start_is_exit_code_2_and_sentences(write, command):
    path = write(("https://api", "http://api"), ('default_source = "heim"', "answer_within = 5"))
    done = subprocess.run(
        [sys.executable, "-m", "facade", command, "--config", str(path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert [line.split(": ")[1] for line in done.stderr.splitlines()] == [
        "facade.answer_within",
        "sources.heim.base_url",
    ]
