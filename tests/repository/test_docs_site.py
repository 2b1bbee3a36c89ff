"""The documentation site: it builds without a warning, and what it quotes from the code is there."""

import ast
import os
import re
from importlib.util import find_spec

import pytest

from tests.support.paths import DOCS, ROOT
from tests.support.project import run

PAGES = {page: page.read_text("utf-8") for page in sorted(DOCS.rglob("*.md"))}


def test_the_site_builds_without_a_warning(tmp_path):
    if find_spec("sphinx") is None and os.environ.get("CI") != "true":
        pytest.skip("Sphinx is not installed: pip install -e '.[docs-site]'")
    done = run("python", "-m", "sphinx", "-b", "html", "-W", "--keep-going", "-q", str(DOCS), str(tmp_path))
    assert (done.stderr, done.returncode) == ("", 0)


def test_every_generated_part_is_on_one_page():
    source = (DOCS / "_ext" / "generated" / "__init__.py").read_text("utf-8")
    parts = re.findall(r'^    "([a-z-]+)": [a-z_.]+,$', source, re.MULTILINE)
    used = [
        name for text in PAGES.values() for name in re.findall(r"^<!-- generated: ([a-z-]+) -->$", text, re.MULTILINE)
    ]
    assert len(parts) > 5
    assert sorted(used) == sorted(parts)


def test_every_message_that_the_faq_quotes_is_in_the_code():
    """A heading of the FAQ quotes a message, with an ellipsis for each part that varies."""
    texts = []
    for path in sorted((ROOT / "facade").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        texts += [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
    code = "\n".join(texts)
    quoted = re.findall(r"^### (?:.*: )?`(.+)`$", PAGES[DOCS / "faq.md"], re.MULTILINE)
    assert len(quoted) > 10
    for message in quoted:
        for piece in message.split("…"):
            assert piece in code, message
