"""``facade new-source``: create a plugin by copying the scaffold under another name."""

import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack
from importlib.metadata import distributions
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path, PurePosixPath

import click

from facade.cli.common.terminal import show
from facade.errors import ConfigurationError
from facade.plugin import discovery

# Valid as an entry point's name, as a name in a URL and, with underscores, as part of a module's name.
_NAME = r"[a-z][a-z0-9]*(-[a-z0-9]+)*"
_MAX_LENGTH = 32
_RESERVED = {"source"}  # its SourceAdapter would have the name of the facade's own class


@click.command("new-source")
@click.argument("name")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def new_source(name: str, folder: Path) -> None:
    """Write a plugin for the source system NAME into DIR: a complete distribution with passing tests.

    The plugin works at once, against a simulator of an invented source system. The next steps are in
    docs/guides/write-a-source-plugin.md.
    """
    names = _names(name)
    _refuse_taken(name, names["facade-paper"])
    _write(folder, names)
    install, test, config = (shlex.quote(text) for text in (f"{folder}[test]", str(folder), f"{folder}/sandbox.toml"))
    show(f"{names['facade-paper']} is in {folder}. Install it into this facade's environment, test it and run it:")
    show(f"  pip install -e {install}")
    show(f"  pytest {test}")
    show(f"  {names['PAPER']}_API_KEY=any facade sandbox --serve {config}")


def _names(name: str) -> dict[str, str]:
    """Return the replacement for each of the scaffold's names. Raises UsageError."""
    if len(name) > _MAX_LENGTH or not re.fullmatch(_NAME, name):
        raise click.UsageError(
            f'NAME "{name}" is not a valid plugin name; write at most {_MAX_LENGTH} lower-case letters, digits and '
            "single hyphens, a letter first, for example front-desk"
        )
    if name in _RESERVED:
        raise click.UsageError(f'NAME "{name}" is reserved; use the name of the source system')
    module = name.replace("-", "_")
    return {
        "facade_paper": f"facade_{module}",
        "facade-paper": f"facade-{name}",
        "PAPER": module.upper(),
        "Paper": "".join(word.capitalize() for word in name.split("-")),
        "paper": name,
    }


def _refuse_taken(name: str, distribution: str) -> None:
    if name in discovery.installed():
        raise click.UsageError(
            f'NAME "{name}" is the name of an installed plugin; choose another, or uninstall that plugin'
        )
    if any(_normalised(each.name) == distribution for each in distributions()):
        raise click.UsageError(f"{distribution} is installed already; choose another NAME, or uninstall it")


def _normalised(distribution: str | None) -> str:
    """https://packaging.python.org/en/latest/specifications/name-normalization/"""
    return re.sub(r"[-_.]+", "-", distribution or "").lower()


def _write(folder: Path, names: dict[str, str]) -> None:
    """Write all files, or none: after a failure, remove what was written. Raises ConfigurationError."""
    try:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ConfigurationError(f"{folder} exists and is not an empty folder; name one that does not exist yet")
        with ExitStack() as undo:
            for path, text in _rendered(names):
                file = folder / path
                for missing in reversed([parent for parent in file.parents if not parent.exists()]):
                    missing.mkdir()
                    undo.callback(missing.rmdir)
                undo.callback(file.unlink, missing_ok=True)
                file.write_text(text, "utf-8")
            undo.pop_all()
    except OSError as error:
        raise ConfigurationError(f"{folder} cannot be written: {error.strerror}; name another folder") from error


def _rendered(names: dict[str, str]) -> Iterator[tuple[PurePosixPath, str]]:
    words = re.compile("|".join(names))

    def renamed(text: str) -> str:
        return words.sub(lambda found: names[found[0]], text)

    for path, file in _walk(files("facade") / "scaffold" / "facade-paper", PurePosixPath()):
        yield PurePosixPath(renamed(str(path))), renamed(file.read_text("utf-8"))


def _walk(folder: Traversable, path: PurePosixPath) -> Iterator[tuple[PurePosixPath, Traversable]]:
    for entry in folder.iterdir():
        if entry.is_dir():
            if entry.name != "__pycache__" and not entry.name.startswith("."):  # skip caches
                yield from _walk(entry, path / entry.name)
        else:
            yield path / entry.name, entry
