"""CONTRIBUTING, the workflows of GitHub and the hooks name commands, files and versions that exist."""

import re

import pytest
import yaml

from tests.support.paths import ROOT

CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
# A step that no target of the Makefile can do, and why.
OTHER_STEPS = {'grep -qx "version = ${GITHUB_REF_NAME#v}" setup.cfg': "only a release has a tag"}


def jobs(path):
    return yaml.safe_load(path.read_text("utf-8"))["jobs"]


def steps():
    for path in WORKFLOWS:
        for name, job in jobs(path).items():
            for step in job.get("steps", []):
                yield f"{path.name}, {name}", step


def test_every_target_that_is_named_exists():
    named = re.findall(r"`make ([a-z-]+)`|^make ([a-z-]+)", CONTRIBUTING, re.MULTILINE)
    assert {first or second for first, second in named} <= TARGETS


def test_every_path_that_is_named_exists():
    names = re.findall(r"`([\w./-]+)`", CONTRIBUTING)
    paths = [name for name in names if "/" in name or re.fullmatch(r"[\w-]+\.(md|cfg|toml)", name)]
    assert len(paths) > 30
    assert not [path for path in paths if not (ROOT / path).exists()]


def test_contributing_says_where_the_usual_changes_go():
    rows = re.findall(r"^\| (an? [a-z ]+|what [a-z ]+)", CONTRIBUTING, re.MULTILINE)
    usual = (
        "route",
        "authentication mode",
        "setting",
        "state",
        "fault",
        "check",
        "column",
        "metric",
        "plugin",
        "retry",
    )
    assert not [word for word in usual if not any(word in row for row in rows) and word not in CONTRIBUTING]


def test_workflows_run_what_the_makefile_has():
    for where, step in steps():
        command = step.get("run")
        if command is not None and command not in OTHER_STEPS:
            assert command.startswith("make "), where
            assert set(command.split()[1:]) <= TARGETS, where
    ran = {step["run"] for _, step in steps() if "run" in step}
    assert ran >= {f"make {target}" for target in ("lint", "typecheck", "test", "coverage", "docs", "dist")}


def test_actions_are_pinned_to_a_commit():
    for path in WORKFLOWS:
        for line in path.read_text("utf-8").splitlines():
            if "uses:" in line and "./" not in line:
                assert re.search(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line), line


def test_each_python_version_of_the_metadata_is_tested():
    classifiers = re.findall(r"Python :: (3\.\d+)$", (ROOT / "setup.cfg").read_text("utf-8"), re.MULTILINE)
    matrix = jobs(ROOT / ".github" / "workflows" / "ci.yml")["test"]["strategy"]["matrix"]
    assert matrix["python-version"] == classifiers
    assert classifiers[0] == "3.11"


def test_a_workflow_may_write_nothing_but_a_release():
    for path in WORKFLOWS:
        document = yaml.safe_load(path.read_text("utf-8"))
        assert document["permissions"] == {"contents": "read"}
        writing = {name for name, job in document["jobs"].items() if "permissions" in job}
        assert writing == ({"publish"} if path.name == "release.yml" else set())


@pytest.mark.parametrize(
    "name", [".pre-commit-config.yaml", ".github/dependabot.yml", ".github/ISSUE_TEMPLATE/bug.yml"]
)
def test_other_files_of_github_can_be_parsed(name):
    assert yaml.safe_load((ROOT / name).read_text("utf-8"))


def test_hooks_are_pinned():
    for repository in yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text("utf-8"))["repos"]:
        assert repository["repo"] == "local" or re.fullmatch(r"v\d+\.\d+\.\d+", repository["rev"])
