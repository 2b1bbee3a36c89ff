"""What the docs say is what the code does."""

import re
from pathlib import Path

import click
import pytest

from facade import errors
from facade.cli import main
from facade.config_tables import AuthTable, ClientTable, FacadeTable
from facade.testing.simulator.faults import FAULTS
from tests.support.paths import ROOT

README = (ROOT / "README.md").read_text("utf-8")
ERRORS = (ROOT / "docs" / "reference" / "errors.md").read_text("utf-8")


CONTEXT = click.Context(main)


def request_errors():
    found = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    return [kind for kind in found if issubclass(kind, errors.RequestError) and kind is not errors.RequestError]


def test_every_request_error_has_its_row():
    for kind in request_errors():
        assert re.search(rf"^\| {kind.status} \|.*`{kind.issue_code}`", ERRORS, re.MULTILINE), kind


def test_every_cause_has_its_row_and_no_row_is_left_over():
    row = r"^\| `([a-z-]+)` \| `([a-z-]+)` \| `([a-z-]+)` \| ([^|]+) \|(?: ([^|]+))? \|$"
    rows = set(re.findall(row, ERRORS, re.MULTILINE))
    causes = {
        (c.name.lower().replace("_", "-"), c.issue_code, c.absent_reason, c.text, c.next_step) for c in errors.Cause
    }
    assert rows == causes


def test_the_error_tree_is_drawn_with_every_error():
    for name, kind in vars(errors).items():
        if isinstance(kind, type) and issubclass(kind, errors.FacadeError):
            assert re.search(rf"\b{name}\b", errors.__doc__), name


def test_every_fault_has_its_row_and_no_row_is_left_over():
    text = (ROOT / "docs" / "reference" / "faults.md").read_text("utf-8")
    rows = dict(re.findall(r"^\| `([a-z0-9-]+)` \| (proposed|cancelled)", text, re.MULTILINE))
    assert rows == {name: fault.ends_in for name, fault in FAULTS.items()}


def test_every_command_and_each_of_its_options_is_in_the_readme():
    for name in main.list_commands(CONTEXT):
        command = main.get_command(CONTEXT, name)
        row = next(line for line in README.splitlines() if line.startswith(f"| `facade {name} "))
        for option in (o for p in command.params for o in p.opts if o.startswith("--")):
            assert option in row, (name, option)


@pytest.mark.parametrize(
    ("prefix", "schema"), [("facade", FacadeTable), ("auth", AuthTable), ("clients.NAME", ClientTable)]
)
def test_every_configuration_key_is_in_the_readme(prefix, schema):
    for name in schema().fields:
        assert f"`{prefix}.{name}`" in README


def test_every_link_between_documents_leads_somewhere():
    for document in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text("utf-8")):
            assert (document.parent / target).exists(), (document.name, target)


def test_nothing_refers_to_a_document_that_a_reader_cannot_open():
    for folder in ("facade", "plugins", "tests", "docs", "bench"):
        for path in sorted((ROOT / folder).rglob("*")):
            if path.suffix not in {".py", ".md", ".toml"} or "node_modules" in path.parts or path == Path(__file__):
                continue
            text = path.read_text("utf-8")
            assert not re.search(r"\b(CONTRACT|CANCELLATION|ARCHITECTURE|STYLE)('s|\.md| says| goes)", text), path
            assert not re.search(r"(\"\"\"|# )Row \d|seconds, CONTRACT|the seed's (example|exchange)", text), path
            for named in re.findall(r"(?<![\w/])docs/[\w/-]+\.md", text):
                assert (ROOT / named).exists(), f"{path} names {named}"
