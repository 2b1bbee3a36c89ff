"""The commands, faults and checks that a page of the documentation names exist."""

import re
import shlex
from fnmatch import fnmatch

import click
import pytest

from facade.cli import main
from facade.testing.simulator.faults import FAULTS
from facade.verify.catalogue import catalogue
from tests.support.paths import ROOT

PAGES = sorted(ROOT.glob("docs/**/*.md"))
GUIDE = (ROOT / "docs" / "guides" / "test-an-integration.md").read_text("utf-8")


def commands(text):
    """The arguments of each ``facade`` command in the shell blocks, a continued line as one."""
    for block in re.findall(r"^```sh\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            if found := re.match(r"(?:[A-Z_]+=\S+ )*facade (?!--)(.*)", line):
                yield shlex.split(found[1], comments=True)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_command_and_option_of_a_page_exists(page):
    for words in commands(page.read_text("utf-8")):
        command, rest = main, words
        while (
            rest
            and isinstance(command, click.Group)
            and (inner := command.get_command(click.Context(command), rest[0]))
        ):
            command, rest = inner, rest[1:]
        assert command is not main, words
        known = {option for parameter in command.params for option in parameter.opts}
        options = rest[: rest.index("--")] if "--" in rest else rest
        assert {word for word in options if word.startswith("--")} <= known, words


def test_the_guide_names_faults_that_exist():
    ordinary = {"1", "2", "3", "4"}
    assert set(re.findall(r"\bapt_([a-z0-9-]+)", GUIDE)) - ordinary <= set(FAULTS)


def test_the_guide_names_checks_that_exist():
    names = [check.name for checks in catalogue().values() for check in checks]
    shown = re.findall(r"^  pass  (\S+)", GUIDE, re.MULTILINE)
    (pattern,) = re.findall(r"--only '([^']+)'", GUIDE)
    assert shown == [name for name in names if fnmatch(name, pattern)]
