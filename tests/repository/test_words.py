"""Refuse the words that the glossary and the style replace, in prose and in code."""

import re
from pathlib import Path

import pytest

from tests.support.paths import ROOT
from tests.support.project import tree

# Each word as a regular expression, with what to write instead. A word ends where its letters end, as in ``is_judged``.
REFUSED = {
    r"mend(s|ed|ing)?": "fix",
    r"nobody": "no one, nothing",
    r"wish(es|ed|ing)?": "request",
    r"epochs?": "attempt number",
    r"callers?": "client; of a function: its user",
    r"verdicts?": "outcome, resolution",
    r"judg(e|es|ed|ing|ements?)": "resolve, decide, check",
    r"tells?|told|telling": "return, report, state; show; tell apart: distinguish",
    r"look(s|ed|ing)?(?! up| it up| like)": "check, probe, read, search",
    r"(is|are|be|was|were|all|everything) in order(?! to\b)": "OK, valid",
    r"(second|another|one more|new) try": "retry",
    r"exactly[- ]once": "at most once",
    r"not[-_]done|(?-i:NotDone|NOT_DONE)": "not-executed, NotExecuted",
    r"stale[-_]version|(?-i:StaleVersion)": "version-conflict, VersionConflict",
    r"(?-i:SourceSystem)|facade_source_systems": "SourcePlugin, facade_source_plugin",
    r"(?-i:OncePermit|HttpAnswer|Can\.[A-Z])": "LedgerWritePermit, HttpResponse, Support",
    r"concurrent_calls": "max_concurrent",
}
# Where a refused word is right: file, a piece of the line, and why. An entry that is not needed fails.
ALLOWED = {
    ("facade/ledger/maintenance.py", "extract(epoch FROM"): "SQL",
    ("tests/process/test_pgbouncer.py", '"nobody"'): "a user of the operating system",
    ("docs/concepts/at-most-once.md", "**Exactly once.** Against"): "the term for what is not promised",
}
# Files that hold the words of their time or of this check, as a whole.
EXEMPT = {
    "facade/ledger/migrations/versions/": "a migration names what it renames",
    "tests/integration/stores/": "stores that earlier code wrote",
    "tests/integration/test_migration.py": "names what the migration renames",
    "tests/repository/test_words.py": "this file",
    "LICENSE": "a text that is not ours",
    "CHANGELOG.md": "names what was renamed",
}
# Files and folders that still hold refused words. Take a line out once it is clean.
PENDING: tuple[str, ...] = ()
SUFFIXES = {".md", ".py", ".toml", ".cfg", ".mjs", ".yml", ".yaml", ""}

_PATTERNS = {re.compile(rf"(?<![a-z])({word})(?![a-z])", re.IGNORECASE): instead for word, instead in REFUSED.items()}


def findings(name: str, text: str) -> list[str]:
    """The refused words of a text, each with its place and what to write instead."""
    return [
        f"{name}:{number}: {found[0]!r}: write {instead}"
        for number, line in enumerate(text.splitlines(), 1)
        for pattern, instead in _PATTERNS.items()
        if (found := pattern.search(line)) and not _allowed(name, line)
    ]


def _allowed(name: str, line: str) -> bool:
    return any(name == path and piece in line for path, piece in ALLOWED)


def checked_files(tracked: list[str]) -> list[str]:
    return [name for name in tracked if not name.startswith((*EXEMPT, *PENDING)) and Path(name).suffix in SUFFIXES]


def test_no_refused_word_is_used():
    names = [path.relative_to(ROOT).as_posix() for path in tree()]
    found = [line for name in checked_files(names) for line in findings(name, (ROOT / name).read_text("utf-8"))]
    assert not found, "\n".join(found)


def test_every_exception_is_needed():
    for path, piece in ALLOWED:
        lines = [line for line in (ROOT / path).read_text("utf-8").splitlines() if piece in line]
        assert any(pattern.search(line) for line in lines for pattern in _PATTERNS), f"{path}: {piece}"
    for path in EXEMPT:
        assert (ROOT / path).exists(), path


@pytest.mark.parametrize(
    "line",
    [
        "Nobody knows.",
        "# the Caller",
        "def is_judged():",
        "class NotDone:",
        "row.epoch",
        "It tells the client.",
        "It looks at it.",
    ],
)
def test_a_refused_word_is_found(line):
    (found,) = findings("docs/index.md", f"\n{line}\n")
    assert found.startswith("docs/index.md:2: ")
    assert ": write " in found


@pytest.mark.parametrize(
    "line", ["the commander", "intellect", "in order to", "look it up", "recalled", "source_system"]
)
def test_a_word_that_only_contains_one_is_not(line):
    assert not findings("docs/index.md", line)
