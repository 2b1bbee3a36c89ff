"""``facade new-source``: what it writes is a plugin that is installed, linted, typed, tested and then edited."""

import compileall
import importlib.util
import pkgutil
import re
import shutil
import tomllib
from configparser import ConfigParser
from importlib.metadata import version
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement

import facade
from facade.cli import main, new_source
from facade.fhir.reasons import hl7_codes
from facade.testing.conformance.readme import HEADINGS
from tests.support.isolated_env import Shell
from tests.support.paths import ROOT

pytestmark = pytest.mark.timeout(400)  # commands that end after 300 s

SCAFFOLD = ROOT / "facade" / "scaffold" / "facade-paper"
NAME, LONGEST = "front-desk", "a-source-system-of-32-characters"
# Caches are not part of it.
FILES = {
    ".gitignore",
    "README.md",
    "facade_paper/__init__.py",
    "facade_paper/adapter.py",
    "facade_paper/codes.py",
    "facade_paper/conceptmap.json",
    "facade_paper/py.typed",
    "facade_paper/settings.py",
    "facade_paper/simulator.py",
    "facade_paper/translate.py",
    "pyproject.toml",
    "sandbox.toml",
    "setup.cfg",
    "tests/test_conformance.py",
}


def render(folder, name=NAME, code=0):
    result = CliRunner().invoke(main, ["new-source", name, str(folder)], prog_name="facade")
    assert result.exit_code == code, result.output
    return result


def written(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def shell(tmp_path_factory):
    return Shell(tmp_path_factory.mktemp("stranger"))


@pytest.fixture(scope="module")
def plugin(shell):
    """A rendered plugin, installed as a stranger installs it."""
    folder = shell.folder / "plugin"
    render(folder)
    shell.ok("pip install --quiet -e 'plugin[test]'")
    return folder


# What is written


def test_the_scaffold_is_these_files_under_another_name(tmp_path):
    render(tmp_path / "desk")
    assert written(tmp_path / "desk") == {name.replace("facade_paper", "facade_front_desk") for name in FILES}


def test_no_word_of_the_scaffolds_own_name_is_left(tmp_path):
    render(tmp_path / "desk")
    for path in (tmp_path / "desk").rglob("*"):
        if path.is_file():
            text = f"{path.relative_to(tmp_path)} {path.read_text('utf-8')}"
            assert not re.search("paper", text, re.IGNORECASE), path


def test_a_name_that_holds_the_scaffolds_is_put_in_once(tmp_path):
    render(tmp_path / "desk", "wallpaper")
    assert 'name="wallpaper",' in (tmp_path / "desk" / "facade_wallpaper" / "__init__.py").read_text("utf-8")


def test_the_scaffold_under_its_own_name_is_itself(tmp_path):
    render(tmp_path / "desk", "paper")
    for name in FILES:
        assert (tmp_path / "desk" / name).read_bytes() == (SCAFFOLD / name).read_bytes()


def test_leftovers_of_tools_in_the_scaffold_are_not_copied(tmp_path, monkeypatch):
    installed = tmp_path / "facade"
    shutil.copytree(SCAFFOLD, installed / "scaffold" / "facade-paper")
    assert compileall.compile_dir(installed, quiet=1)
    (installed / "scaffold" / "facade-paper" / ".ruff_cache").mkdir(exist_ok=True)
    (installed / "scaffold" / "facade-paper" / ".ruff_cache" / "0").write_bytes(b"\xff")
    monkeypatch.setattr(new_source, "files", lambda _: installed)
    render(tmp_path / "desk", "paper")
    assert written(tmp_path / "desk") == FILES


def test_the_scaffold_is_no_module_of_the_facade():
    assert SCAFFOLD.is_dir()
    assert not [found.name for found in pkgutil.walk_packages(facade.__path__, "facade.") if "scaffold" in found.name]
    assert importlib.util.find_spec("facade.scaffold.facade_paper") is None


def test_it_asks_for_this_version_of_the_facade():
    setup = ConfigParser(interpolation=None)
    setup.read(SCAFFOLD / "setup.cfg")
    requirement = Requirement(setup["options"]["install_requires"].strip())
    assert requirement.name == "fhir-facade"
    assert requirement.specifier.contains(version("fhir-facade"))
    major, minor, *_ = version("fhir-facade").split(".")
    assert f"<{major}.{int(minor) + 1}" in str(requirement.specifier).split(",")


def test_the_readme_has_the_fixed_headings_and_an_example(tmp_path):
    text = (SCAFFOLD / "README.md").read_text("utf-8")
    assert tuple(re.findall(r"^## (.+)$", text, re.MULTILINE)) == HEADINGS
    (example,) = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert tomllib.loads(example)["sources"]["paper"]["plugin"] == "paper"


def test_the_three_printed_commands_work_as_printed(tmp_path):
    folder = tmp_path / "a folder"
    first, *commands = render(folder).stdout.splitlines()
    assert first.startswith(f"facade-front-desk is in {folder}. ")
    assert [command.strip() for command in commands] == [
        f"pip install -e '{folder}[test]'",
        f"pytest '{folder}'",
        f"FRONT_DESK_API_KEY=any facade sandbox --serve '{folder}/sandbox.toml'",
    ]


# Installed


def test_pytest_is_green_as_it_is_written(shell, plugin):
    said = shell.ok("pytest -q -p no:cacheprovider plugin")
    passed, skipped = re.search(r"(\d+) passed, (\d+) skipped", said).groups()
    assert int(passed) > 200
    assert int(skipped) < 8


def test_two_plugins_are_collected_in_one_run(shell):
    for name in ("first-desk", "second-desk"):
        render(shell.folder / name, name)
    said = shell.ok("pytest -q -p no:cacheprovider --collect-only first-desk second-desk")
    for name in ("FirstDesk", "SecondDesk"):
        assert re.search(rf"::Test{name}::test_a_cancel_ends_in_cancelled$", said, re.MULTILINE), said[-2000:]


def test_the_tools_have_nothing_to_say(shell, plugin):
    shell.ok("ruff check --no-cache plugin")
    shell.ok("ruff format --no-cache --check plugin")
    shell.ok(f"cd plugin && ruff check --no-cache --config '{ROOT}/pyproject.toml' .")
    assert "no issues found in 7 source files" in shell.ok("cd plugin && mypy --cache-dir ../cache")


def test_check_finds_it_in_order(shell, plugin):
    said = shell.ok("facade check --plugin front-desk")
    assert said.splitlines()[-1] == "OK"
    assert "warning" not in said
    assert f"all {len(hl7_codes())} HL7 codes map to a native code" in said
    assert "from facade-front-desk 0.1.0" in said
    assert "lacks slot" in said


def test_its_sandbox_configuration_is_in_order(shell, plugin):
    assert "OK" in shell.ok("FRONT_DESK_API_KEY=any facade check --config plugin/sandbox.toml")


def test_an_installed_plugins_name_is_taken(shell, plugin):
    done = shell("facade new-source front-desk other")
    assert done.returncode == 2
    assert (
        'NAME "front-desk" is the name of an installed plugin; choose another, or uninstall that plugin' in done.stdout
    )
    assert not (shell.folder / "other").exists()


@pytest.mark.parametrize("name", ["q", "desk", LONGEST])
def test_a_name_of_any_length_is_well_formatted(tmp_path, shell, name):
    render(tmp_path / "desk", name)
    shell.ok(f"ruff format --no-cache --check '{tmp_path}/desk'")
    shell.ok(f"ruff check --no-cache '{tmp_path}/desk'")


# Refused


@pytest.mark.parametrize(
    "name", ["", "Desk", "front_desk", "front--desk", "-desk", "desk-", "2nd", "desk\n", "de/sk", "..", f"{LONGEST}x"]
)
def test_a_name_that_cannot_be_is_refused_with_one_that_can(tmp_path, name):
    result = CliRunner().invoke(main, ["new-source", "--", name, str(tmp_path / "desk")])
    assert result.exit_code == 2
    assert f'NAME "{name}" is not a valid plugin name; write at most 32 lower-case letters' in result.stderr
    assert not (tmp_path / "desk").exists()


def test_a_name_whose_classes_would_be_the_facades_is_refused(tmp_path):
    result = render(tmp_path / "desk", "source", code=2)
    assert 'NAME "source" is reserved; use the name of the source system' in result.stderr


def test_a_distribution_that_is_there_is_not_written_again(tmp_path, monkeypatch):
    info = tmp_path / "Facade_Front.Desk-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: Facade_Front.Desk\nVersion: 1.0\n", "utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    result = render(tmp_path / "desk", code=2)
    assert "facade-front-desk is installed already; choose another NAME, or uninstall it" in result.stderr
    assert not (tmp_path / "desk").exists()


def test_an_empty_folder_is_filled_and_any_other_is_left_alone(tmp_path):
    render(tmp_path)
    before = written(tmp_path)
    result = render(tmp_path, "other", code=2)
    assert result.stderr == (
        f"facade: {tmp_path} exists and is not an empty folder; name one that does not exist yet\n"
    )
    file = tmp_path / "README.md"
    assert f"facade: {file} exists and is not an empty folder; " in render(file, "other", code=2).stderr
    assert f"facade: {file}/desk cannot be written: " in render(file / "desk", "other", code=2).stderr
    assert written(tmp_path) == before


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
@pytest.mark.parametrize("there", [True, False], ids=["in an empty folder", "in a new one"])
def test_nothing_half_written_stays_behind(tmp_path, monkeypatch, failure, there):
    folder = tmp_path / "a" / "desk" if not there else tmp_path
    write, count = Path.write_text, iter(range(100))

    def full(self, *args):
        write(self, *args)
        if next(count) == 8:
            raise failure

    monkeypatch.setattr(Path, "write_text", full)
    result = CliRunner().invoke(main, ["new-source", NAME, str(folder)])
    assert result.exit_code != 0
    if isinstance(failure, OSError):
        expected = f"facade: {folder} cannot be written: No space left on device; name another folder\n"
        assert (result.exit_code, result.stderr) == (2, expected)
    assert list(tmp_path.iterdir()) == []
    assert next(count) == 9
