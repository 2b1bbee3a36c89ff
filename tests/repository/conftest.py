"""A copy of the project's files."""

import shutil

import pytest

from tests.support.paths import ROOT
from tests.support.project import tree


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    """The project's files alone, as a bare clone has them."""
    folder = tmp_path_factory.mktemp("clone")
    for path in tree():
        target = folder / path.relative_to(ROOT)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, target)
    return folder
