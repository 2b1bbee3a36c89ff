"""The conformance kit: Heim passes it, and so do sources that are not HTTP; its page lists what it tests."""

import ast
import re
from dataclasses import replace
from types import SimpleNamespace

import pytest

from facade import CanonicalId, Capabilities, Support
from facade.testing.conformance import SourceConformance, base, readme
from tests.support import line_source
from tests.support.keys import key_pair
from tests.support.paths import ROOT

PAGE = (ROOT / "docs" / "reference" / "conformance.md").read_text("utf-8")
THEMES = [theme for theme in SourceConformance.__mro__[:0:-1] if issubclass(theme, base.Kit) and theme is not base.Kit]


class TestHeim(SourceConformance):
    plugin = "heim"
    secrets = {"HEIM_API_KEY": "test_CANARY-key"}

    def settings(self, url):
        return {"base_url": url, "api_key_env": "HEIM_API_KEY", "environment": "test"}


class TestFhirR4(SourceConformance):
    plugin = "fhir_r4"
    secrets = {"CLINIC_TOKEN": "test_CANARY-token"}
    files = {"hospital-key.pem": key_pair("RS384").private}

    def settings(self, url):
        return {"base_url": url, "token_env": "CLINIC_TOKEN"}


class TestFhirR4ByUpdate(TestFhirR4):
    def settings(self, url):
        return {**super().settings(url), "mode": "update"}


class TestLine(SourceConformance):
    """Over TCP, and not installed: everything that may be overridden is."""

    plugin = "line"
    secrets = {"LINE_KEY": "CANARY-key"}

    def settings(self, url):
        return {"address": url, "key_env": "LINE_KEY"}

    def source_plugin(self):
        return line_source.declared()

    def serve(self, simulator):
        return line_source.served(simulator)

    def readme(self):
        return line_source.README


class TestLineWithoutRead(TestLine):
    def source_plugin(self):
        return line_source.declared_without_read()


class TestLineCaseless(TestLine):
    """It accepts an id in any case for the same appointment."""

    def source_plugin(self):
        form = CanonicalId(version=1, form=str.lower)
        return line_source.declared(simulator=line_source.CaselessSimulator, canonical_id=form)


class TestLineOfUpperCaseIds(TestLine):
    """Its canonical form is another spelling than the one in its responses."""

    def source_plugin(self):
        form = CanonicalId(version=1, form=str.upper)
        return line_source.declared(simulator=line_source.CaselessSimulator, canonical_id=form)


class TestLineOneAtATime(TestLine):
    def source_plugin(self):
        return line_source.declared(capabilities=replace(line_source.CAN, max_connections=1))


def kit_tests(theme):
    return {name: test for name, test in vars(theme).items() if name.startswith("test_")}


def listed():
    """The last section of the page, made from the code: a table for each theme."""
    text = ""
    for theme in THEMES:
        rows = "".join(f"| `{name}` | {test.__doc__} |\n" for name, test in kit_tests(theme).items())
        text += f"### {theme.__name__}\n{theme.__doc__}\n\n| test | what the author must do |\n|---|---|\n{rows}\n"
    return text.rstrip() + "\n"


def test_the_page_lists_every_test_with_what_its_author_must_do():
    assert PAGE.split("## The tests\n")[1] == listed()


def test_the_tests_run_in_the_pages_order(request):
    """What is red first is what to fix first."""
    own = [item.originalname for item in request.session.items if item.cls is TestHeim]
    themes = list(dict.fromkeys(theme for name in own for theme in THEMES if name in vars(theme)))
    assert themes == [theme for theme in THEMES if theme in themes]


def test_every_kit_test_says_what_the_author_must_do():
    tests = {name: test for theme in THEMES for name, test in kit_tests(theme).items()}
    assert len(tests) > 60
    for name, test in tests.items():
        assert re.fullmatch(r"[A-Z][^\n]+\.", test.__doc__ or ""), name


def test_the_page_shows_the_kits_file_and_its_overrides():
    (shown,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    tree = ast.parse(shown)
    given = {node.targets[0].id for node in ast.walk(tree) if isinstance(node, ast.Assign)}  # type: ignore[attr-defined]  # set or patched by the test
    given |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    assert given == {"plugin", "secrets", "settings"}
    names = {name for name in vars(base.Kit) if not name.startswith("_")}
    assert names == {
        "plugin",
        "secrets",
        "files",
        "settings",
        "source_plugin",
        "serve",
        "readme",
        "harness",
        "trial",
        "fault_run",
    }
    for text in (PAGE, SourceConformance.__doc__):
        for name in names | {"behaviours", "ended_id", "odd_status_id"}:
            assert f"`{name}" in text, name


@pytest.mark.parametrize(
    ("support", "word"), [(Support.NONE, "not supported: "), (Support.NOT_IMPLEMENTED, "not implemented: ")]
)
def test_none_and_not_implemented_are_distinguished(support, word):
    system = line_source.declared(capabilities=Capabilities(read=support))
    with pytest.raises(pytest.skip.Exception) as skipped:
        base.only_if_readable(system)
    assert skipped.value.msg.startswith(word)
    base.only_if_readable(line_source.declared())


def test_the_readme_of_an_installed_plugin_is_found():
    assert readme.find("heim").startswith("# heim\n")
    assert readme.find("no-such-plugin") == ""


class WithoutSecrets:
    """A harness whose settings load no secret."""

    def build(self):
        return SimpleNamespace(settings={"base_url": "http://127.0.0.1:1"})


@pytest.mark.parametrize(
    "name", ["test_no_log_contains_a_secret", "test_no_error_contains_a_secret", "test_no_response_contains_a_secret"]
)
def test_where_there_is_no_secret_the_search_for_it_is_skipped(name):
    class Open(SourceConformance):
        secrets = {}

    with pytest.raises(pytest.skip.Exception, match="not supported: secrets: the settings load none"):
        getattr(Open(), name)(WithoutSecrets(), None)
