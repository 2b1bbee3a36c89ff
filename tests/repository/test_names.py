"""The names of tests are short enough to be read in a report."""

import ast

from tests.support.paths import ROOT


def test_names_of_tests_are_below_60_characters():
    too_long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in (ROOT / "tests").rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and len(node.name) >= 60
    ]
    assert too_long == []
