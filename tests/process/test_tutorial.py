"""docs/guides/write-a-source-plugin.md: a plugin made by following it passes the kit, and its tables are the code's."""

import inspect
import re
import signal
import socket
import subprocess
import textwrap
import zipfile
from dataclasses import dataclass, fields

import click
import pytest

import facade
from facade import AppointmentNotFound, Cause, HttpResponse, SourceError, SourcePlugin, SourceSettings, classify
from facade.cli import main
from facade.plugin import hookspec
from facade.testing.conformance import SourceConformance
from tests.support.isolated_env import Shell
from tests.support.paths import ROOT
from tests.support.waiting import LIMIT, eventually

pytestmark = pytest.mark.timeout(900)  # the tutorial's commands, one after the other

PAGE = (ROOT / "docs" / "guides" / "write-a-source-plugin.md").read_text("utf-8")
SCAFFOLD = ROOT / "facade" / "scaffold"
PATH = re.compile(r"`((?:facade-paper|tests)/[\w./-]+)`")


CONTEXT = click.Context(main)


@dataclass
class Block:
    """One fenced block: its language, its text, and the file that was named last before it."""

    language: str
    text: str
    path: str


def blocks():
    """Every block of the page, in order."""
    found, path, rest = [], "", PAGE
    while match := re.search(r"^```(\w+)\n(.*?)^```$", rest, re.MULTILINE | re.DOTALL):
        named = PATH.findall(rest[: match.start()])
        path = named[-1] if named else path
        found.append(Block(match[1], match[2], path))
        rest = rest[match.end() :]
    return found


def table(heading):
    """The cells of the rows below the header that begins so; names in backticks."""
    _, _, rest = PAGE.partition(f"\n| {heading} |")
    assert rest, heading
    rows = rest.split("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", row)[1:-1]] for row in rows]


def names(heading):
    """The names in the first cells of a table, in order."""
    return [name for row in table(heading) for name in re.findall(r"`(\w+)`", row[0])]


# Followed word for word


class Reader:
    """Somebody who does what the page says: types commands, edits files, compares what is shown.

    Only the ports are other ones, since these may be in use.
    """

    def __init__(self, folder):
        self.shell = Shell(folder)
        self.port, self.serve_port = (free_port() for _ in range(2))
        self.said = ""
        self.sandbox = None

    def follow(self, block):
        if block.language == "sh":
            self.said = "".join(self.type(line, block) for line in block.text.splitlines())
        elif block.language == "text":
            shown(block.text, self.said)
        elif block.language == "diff":
            self.edit(self.file(block.path), block.text)
        else:
            text = self.file(block.path).read_text("utf-8")
            assert block.text in text or textwrap.indent(block.text, "    ") in text, (block.path, block.text)

    def type(self, command, block):
        moved = command.replace("127.0.0.1:8080", f"127.0.0.1:{self.serve_port}")
        if "facade sandbox --serve" in moved:
            self.serve(f"{moved} --port {self.port} --serve-port {self.serve_port}")
            return ""
        if moved.startswith("facade sandbox"):
            moved += f" --url http://127.0.0.1:{self.port}"
        done = self.shell(moved)
        if moved.startswith("facade new-source"):
            config = self.shell.folder / "facade-paper" / "sandbox.toml"
            config.write_text(config.read_text("utf-8").replace(":8081/", f":{self.port}/"), "utf-8")
        assert (done.returncode != 0) == self.fails(command, block), f"{command}\n{done.stdout}"
        return done.stdout

    def fails(self, command, block):
        """Whether the page shows failing tests below this command."""
        after = blocks()[blocks().index(block) + 1 :]
        return command.startswith("pytest") and after[0].language == "text" and " failed, " in after[0].text

    def serve(self, command):
        self.stop()
        self.sandbox = subprocess.Popen(
            ["bash", "-c", f"exec env {command}"],
            cwd=self.shell.folder,
            env=self.shell.env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        said = []
        for line in self.sandbox.stdout:
            said.append(line)
            if "Ctrl-C stops both" in line:
                return
        pytest.fail("".join(said))

    def stop(self):
        if self.sandbox is not None:
            self.sandbox.send_signal(signal.SIGTERM)
            self.sandbox.communicate(timeout=LIMIT)
            eventually(lambda: not answers(self.port))
            self.sandbox = None

    def file(self, path):
        return self.shell.folder / path if path.startswith("facade-paper/") else ROOT / path

    def edit(self, path, diff):
        before, after = (
            "".join(line[1:] for line in diff.splitlines(True) if line[0] in kept) for kept in (" -", " +")
        )
        text = path.read_text("utf-8")
        assert text.count(before) == 1, (path, before)
        path.write_text(text.replace(before, after), "utf-8")


def shown(page, said):
    """Every line of the page stands in what was said, in this order; … is anything, alone any lines."""
    position = 0
    for line in page.splitlines():
        if line != "…":
            pattern = ".*?".join(re.escape(part) for part in line.split("…"))
            found = re.compile(f"^.*{pattern}.*$" if line[0] == "…" else f"^{pattern}$", re.MULTILINE).search(
                said, position
            )
            assert found, f"not shown: {line}\n{said[position:]}"
            position = found.end()


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def answers(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_a_plugin_made_word_for_word_passes_the_kit(tmp_path):
    reader = Reader(tmp_path)
    try:
        for block in blocks():
            reader.follow(block)
    finally:
        reader.stop()
    shell = reader.shell
    # The wheel is complete without the folder it was built from.
    (wheel,) = (shell.folder / "dist").iterdir()
    held = set(zipfile.ZipFile(wheel).namelist())
    assert {"facade_paper/conceptmap.json", "facade_paper/py.typed", "facade_paper/simulator.py"} <= held
    # What the page edits is as clean as what was written.
    shell.ok("ruff check --no-cache facade-paper && ruff format --no-cache --check facade-paper")


def test_every_block_is_typed_edited_or_compared():
    kinds = {block.language for block in blocks()}
    assert kinds == {"sh", "text", "diff", "python", "ini"}
    for block in blocks():
        if block.language not in {"sh", "text"}:
            where = ROOT if block.path.startswith("tests/") else SCAFFOLD
            assert (where / block.path).is_file(), block


def test_the_first_minute_is_three_commands():
    (first, *_) = blocks()
    assert len(first.text.splitlines()) == 3
    assert re.findall(r"^facade (\S+)|^pip (\S+)|facade (\S+) --serve", first.text, re.MULTILINE)


# The tables


def test_the_written_files_are_all_listed():
    listed = [name for row in table("file") for name in re.findall(r"`([^`]+)`", row[0])]
    there = [
        str(path.relative_to(SCAFFOLD / "facade-paper"))
        for path in (SCAFFOLD / "facade-paper").rglob("*")
        if path.is_file() and not re.search(r"__pycache__|_cache/", str(path))
    ]
    assert sorted(listed) == sorted(there)


def test_the_hooks_signature_is_the_hooks():
    name = hookspec.facade_source_plugin.__name__
    annotation = inspect.signature(hookspec.facade_source_plugin).return_annotation
    assert f"`{name}() -> {annotation.__name__}`" in PAGE


@pytest.mark.parametrize(
    ("heading", "kind"), [("field", SourcePlugin), ("capability", facade.Capabilities)], ids=["field", "capability"]
)
def test_every_field_has_its_row_and_no_row_is_left_over(heading, kind):
    assert sorted(names(heading)) == sorted(field.name for field in fields(kind))


def test_the_settings_that_every_source_has_are_listed():
    assert sorted(names("setting")) == sorted(SourceSettings().fields)


def test_the_public_names_are_listed():
    assert sorted(names("name")) == sorted(facade.__all__)


def subclasses(kind):
    return {kind} | {name for child in kind.__subclasses__() for name in subclasses(child)}


def test_every_outcome_has_its_row():
    kinds = {kind.__name__ for kind in subclasses(SourceError) - {SourceError} if kind.__module__ == "facade.errors"}
    assert set(names("outcome")) == kinds


def test_every_cause_is_an_adapters_or_the_facades_own():
    own = re.search(r"^(.*) are the facade's own\.$", PAGE, re.MULTILINE)[1]
    assert {*names("cause"), *re.findall(r"`(\w+)`", own)} == {cause.name for cause in Cause}
    assert len(names("cause")) == len(set(names("cause")))


def proven(status, own, **options):
    """What classify makes of an answer, as the page writes it."""
    try:
        classify(HttpResponse(status, {}, b""), own_error=lambda _: own, **options)
    except SourceError as error:
        cause = "" if isinstance(error, AppointmentNotFound) else f" `{error.cause.name}`"
        return f"`{type(error).__name__}`{cause}"
    return "passed on"


def test_every_row_of_statuses_is_what_classify_makes_of_them():
    for statuses, own, otherwise in table("status"):
        for status in map(int, statuses.split(", ")):
            assert own.split(";")[0] == proven(status, own=True), status
            assert otherwise == proven(status, own=False), status
    assert proven(429, own=True, throttles_before_execution=True) == "`NotExecuted` `THROTTLED`"


def test_every_command_and_option_that_is_named_exists():
    typed = [line for block in blocks() if block.language == "sh" for line in block.text.splitlines()]
    commands = re.findall(r"^(?:[A-Z_]+=\S+ )?facade (.*)$", "\n".join(typed), re.MULTILINE)
    commands += re.findall(r"`facade ([a-z][^`]*)`", PAGE)
    assert {"new-source", "sandbox", "cancel", "check", "sources"} <= {line.split()[0] for line in commands}
    for line in commands:
        command = main.get_command(CONTEXT, line.split()[0])
        assert command is not None, line
        for word in line.split()[1:2]:
            command = (isinstance(command, click.Group) and command.get_command(CONTEXT, word)) or command
        known = {option for param in command.params for option in param.opts}
        assert set(re.findall(r"(?<= )--[a-z-]+", line)) <= known, line


def test_what_the_kit_is_given_is_the_kits():
    for name in ("plugin", "secrets", "settings", "serve"):
        assert hasattr(SourceConformance, name)
