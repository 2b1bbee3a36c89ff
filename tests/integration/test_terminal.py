"""What comes from outside reaches logs and terminals bounded, and cannot move, hide or forge anything there."""

import ast
import io
import json
import re
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
from click.testing import CliRunner
from structlog.testing import capture_logs

from facade.cli import main
from facade.cli.common.terminal import show, show_json
from facade.fhir.appointment import ELEMENTS
from facade.ledger.store import JournalEntry
from facade.observability import logs as logging
from facade.observability.logs import MAX_CHARACTERS, MAX_MEMBERS
from tests.integration.test_ledger import FIRST
from tests.support.paths import ROOT
from tests.support.process import call

# C0, DEL, C1 (CSI and NEL among them), line separators, bidirectional marks, embeddings, overrides and isolates, tags
UNSEEN = [chr(code) for code in [*range(0x20), *range(0x7F, 0xA0)]]
UNSEEN += list("\u2028\u2029\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\ufeff\U000e0041")
HOSTILE = "a" + "".join(UNSEEN) + "ü—日b"


def unseen_in(text):
    return [char for char in text if char in UNSEEN and char != "\n"]


@pytest.fixture
def logged(monkeypatch):
    """Log an event as ``facade serve`` does; the line that was written, and what it says."""
    written = io.StringIO()
    monkeypatch.setattr(sys, "stderr", written)
    before = structlog.get_config()
    logging.configure()
    structlog.configure(cache_logger_on_first_use=False)

    def log(event="event", **facts):
        written.seek(0)
        written.truncate()
        structlog.get_logger().warning(event, **facts)
        assert written.getvalue().count("\n") == 1
        return written.getvalue(), json.loads(written.getvalue())

    yield log
    structlog.configure(**before)


# Logs


@pytest.mark.parametrize(
    "value",
    [
        "x" * 535_000,
        "\u202e" * 535_000,
        ["x" * 5_000] * 5_000,
        [["x" * 500] * 500] * 500,
        {"x" * 5_000: "y" * 5_000},
        {f"name-{number}": "y" * 500 for number in range(5_000)},
        {"a": {"b": {"c": {"d": {"e": ["x" * 100_000]}}}}},
        ("x" * 5_000,) * 200,
        frozenset(str(number) * 500 for number in range(500)),
        10**100_000,
        b"x" * 535_000,
        Path("/" + "x" * 100_000),
        ValueError("x" * 100_000),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_logged_value_is_bounded(logged, value):
    written, line = logged(value=value, other="kept")
    assert len(written) < 16_000
    assert line["other"] == "kept"
    assert (line["event"], line["level"]) == ("event", "warning")


def test_a_cut_is_marked_with_what_there_was(logged):
    _, line = logged(text="x" * (MAX_CHARACTERS + 1), whole="y" * MAX_CHARACTERS, members=list(range(MAX_MEMBERS + 7)))
    assert line["text"] == "x" * MAX_CHARACTERS + f"… ({MAX_CHARACTERS + 1} characters)"
    assert line["whole"] == "y" * MAX_CHARACTERS
    assert line["members"][-2:] == [MAX_MEMBERS - 1, "… 7 more"]


def test_a_line_has_a_bounded_number_of_facts(logged):
    written, line = logged(**{f"fact_{number}": "x" * 2_000 for number in range(5_000)})
    assert len(line) == MAX_MEMBERS + 1
    assert line["left_out"] > 4_900
    assert len(written) < MAX_MEMBERS * (MAX_CHARACTERS + 100)


def test_what_is_usual_is_logged_as_it_is(logged):
    facts = {
        "source": "heim",
        "status": 200,
        "share": 0.5,
        "none": None,
        "yes": True,
        "where": ["a b.py:1", "c d.py:2"],
    }
    _, line = logged(**facts)
    assert {name: line[name] for name in facts} == facts


def test_no_log_holds_what_a_terminal_would_obey(logged):
    _, line = logged(HOSTILE, text=HOSTILE, nested={HOSTILE: [HOSTILE]}, **{HOSTILE: 1})
    assert unseen_in(json.dumps(line, ensure_ascii=False)) == []
    assert line["text"].endswith("ü—日b")
    assert "\N{REPLACEMENT CHARACTER}" in line["text"]


def test_names_that_a_source_chose_are_counted_and_not_logged(client, simulator, monkeypatch):
    from facade_heim.adapter import HeimAdapter

    read = HeimAdapter.read
    strange = {"Jane Doe, born 1970": 1, HOSTILE: 2, "x" * 100_000: 3, "comment": 5, "slot": "no list"}
    monkeypatch.setattr(HeimAdapter, "read", lambda self, id_: {**read(self, id_), **strange})
    with capture_logs() as lines:
        client.read("apt_1")
    (line,) = [line for line in lines if line["event"] == "native-elements-left-out"]
    assert (line["elements"], line["others"]) == (["comment", "slot"], 3)
    assert set(line["elements"]) <= ELEMENTS


# Terminals


def test_one_line_stays_one_line_and_shows_everything(capsys):
    show(f"before {HOSTILE} after", "second")
    shown = capsys.readouterr().out
    assert shown.count("\n") == 2
    assert unseen_in(shown) == []
    assert "ü—日b after\nsecond\n" in shown


def test_json_stays_the_same_json(capsys):
    show_json({HOSTILE: [HOSTILE, "\ud800"]})
    shown = capsys.readouterr().out
    assert unseen_in(shown) == []
    assert json.loads(shown) == {HOSTILE: [HOSTILE, "\ud800"]}
    assert "ü—日b" in shown


def test_ledger_list_and_show(client, tmp_path):
    key, who = ("heim", HOSTILE.replace("\0", "")), f"reported by {HOSTILE}"
    ledger = client.facade.ledger
    row = ledger.claim(
        key, None, FIRST, JournalEntry(event="claim", state="claimed", detail={"codes": [[HOSTILE, "x"]]})
    )
    ledger.change(
        key, {"state": "claimed"}, {"state": "operator", "cause": "\x9b2J\u202e"}, JournalEntry(event="escalate")
    )
    assert row is not None
    store = ["--store", f"sqlite:///{tmp_path}/var/facade.db"]
    resolving = ["ledger", "resolve", *key, "--as", "cancelled", "--because", who, "--by", who]
    for arguments in (
        ["ledger", "list"],
        resolving,
        ["ledger", "show", *key],
        resolving,
        ["ledger", "show", "heim", HOSTILE],
    ):
        done = CliRunner().invoke(main, [*arguments, *store])
        assert unseen_in(done.output) == []
        assert done.output
    listed = CliRunner().invoke(main, ["ledger", "list", *store]).output
    assert listed.count("\n") == 1


def test_a_sandboxs_log_and_what_it_answers(heim):
    path = quote("/v1/appointments/apt_\x9b2J\u202e\r\nx/other")
    call("GET", heim.source_url("heim") + path)
    for arguments in (["log", "heim"], ["log", "heim", "--json"], ["move", "heim", "apt_1", "--hours", "1"]):
        done = CliRunner().invoke(main, ["sandbox", *arguments, "--url", heim.url])
        assert done.exit_code == 0, done.output
        assert unseen_in(done.output) == []
        assert done.output


def test_problems_of_a_configuration(make, tmp_path):
    make()
    path = tmp_path / "facade.toml"
    name = json.dumps("\x9b2J\u202eevil\n", ensure_ascii=True)
    path.write_text(path.read_text().replace("[facade]", f"[facade]\n{name} = 1\ndefault_source = {name}\n"))
    for command in ("check", "sources", "serve"):
        done = CliRunner().invoke(main, [command, "--config", str(path)])
        assert done.exit_code == 2
        assert unseen_in(done.output) == []


def test_what_a_command_refuses_is_shown_safely():
    done = CliRunner().invoke(main, ["sandbox", "arm", "heim", "apt_1", "x\x9b2J\u202ey"])
    assert done.exit_code == 2
    assert unseen_in(done.output) == []


def test_the_commands_print_in_no_other_way():
    for path in (ROOT / "facade").rglob("*.py"):
        if path == ROOT / "facade" / "cli" / "common" / "terminal.py":
            continue
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            assert called not in {"click.echo", "click.secho", "print"}, f"{path}:{node.lineno}"  # type: ignore[attr-defined]  # set or patched by the test
            assert not re.fullmatch(r"sys\.std(out|err)\.write", called), f"{path}:{node.lineno}"  # type: ignore[attr-defined]  # set or patched by the test
