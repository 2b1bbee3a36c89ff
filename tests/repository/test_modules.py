"""What holds for every module: its size, its docstring, and no path of the machine it was written on."""

import re

from tests.support.paths import ROOT
from tests.support.project import tree


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


def test_nothing_mentions_a_path_of_the_authors_machine():
    place = re.compile(
        r"(?<![\w.])/(?:" + "|".join(["wor" + "k", "tmp/ven" + "vs", "hom" + "e/[a-z]+", "roo" + "t"]) + r")\b"
    )
    for path in tree():
        found = place.search(path.read_bytes().decode("utf-8", "replace"))
        assert found is None, f"{path.relative_to(ROOT)}: {found[0]}"
