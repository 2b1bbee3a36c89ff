"""A mutant: the project's own code with one guard taken away or bent."""

from dataclasses import dataclass
from pathlib import Path

from tests.support.paths import ROOT


@dataclass(frozen=True)
class Mutant:
    """In ``file`` the text ``old``, which occurs once, becomes ``new``; one of ``tests`` must fail then.

    ``tests`` are files or node ids of pytest. ``survives`` says why no test can notice, where none can.
    """

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]
    survives: str = ""

    def mutated(self, root: Path = ROOT) -> str:
        """The mutant's text of its file. Raises ValueError where the guard does not occur once."""
        text = (root / self.file).read_text("utf-8")
        count = text.count(self.old)
        if count != 1 or self.old == self.new:
            raise ValueError(f"{self.name}: {self.old!r} is {count} times in {self.file}; change the mutant")
        return text.replace(self.old, self.new)


def of(file: str, *mutants: tuple[str, str, str, str] | tuple[str, str, str, str, str]) -> list[Mutant]:
    """The mutants of one file: name, old text, new text, the tests with " | " between any two, and why it survives."""
    return [Mutant(name, file, old, new, tuple(tests.split(" | ")), *why) for name, old, new, tests, *why in mutants]
