"""`facade verify` finds nothing wrong with a right facade before a source of another kind, and skips by name."""

import re
from dataclasses import replace

import pytest

from facade.app import assemble, compose
from facade.cancellation.timers import Timers
from facade.ledger import engine
from facade.plugin.discovery import load_plugin
from facade.testing.simulator.faults import FAULTS, Timings
from facade.testing.simulator.host import serve
from facade.testing.text_search import mentions, was_sent
from facade.verify.catalogue import catalogue
from facade.verify.check import Skipped
from facade.verify.runner import Run, run_checks
from facade.verify.sandbox import Sandbox
from facade.verify.target import Key, Target
from facade.web import create_app
from tests.conftest import KEY
from tests.support.line_source import LineSimulator
from tests.support.temporary_plugins import installed
from tests.support.wrong_facades import LATE, WITHIN, Unhurried, serving

CONFIG = """
[facade]
default_source = "here"
[auth]
mode = "api-key"
[clients.scheduler]
key_env = "FACADE_KEY_SCHEDULER"
sources = ["*"]
[sources.here]
plugin = "{plugin}"
address = "{address}"
key_env = "LINE_KEY"
"""
CHECKS = [check for checks in catalogue().values() for check in checks]
CANNOT_SHOW = {f"fault-{name}" for name, fault in FAULTS.items() if fault.behaviour not in LineSimulator.behaviours}
READS = {f"fault-{name}" for name, fault in FAULTS.items() if fault.operation == "read"}
NEED_READS = {
    "cancelled-by-another",
    "doubt-ends-when-another-cancels",
    "late-cancels-are-found",
    "reads-of-another-id",
    "not-found-after-it-was-seen",
    "reads-that-fail",
}


@pytest.fixture
def verified(tmp_path, monkeypatch):
    """The outcomes of a run before the source of this plugin, by check, with what was found."""

    def verified(plugin):
        monkeypatch.syspath_prepend(str(installed(tmp_path / "site-packages", plugin)))
        monkeypatch.setenv("FACADE_KEY_SCHEDULER", KEY)
        monkeypatch.setenv("LINE_KEY", "key")
        monkeypatch.setattr(engine, "LOCK_WAIT", WITHIN)  # a busy disk is not what is tested here
        system = load_plugin(plugin).declaration
        served = serve(
            {plugin: system.simulator()},  # type: ignore[misc]  # it has one
            timings=Timings(late_commit=LATE),
            capabilities={plugin: system.capabilities},
        )
        with served as host:
            path = tmp_path / "facade.toml"
            path.write_text(CONFIG.format(plugin=plugin, address=host.source_url(plugin)), "utf-8")
            found = assemble(path)
            timers = replace(Timers.for_response_within(WITHIN), send_guard=WITHIN)
            facade = compose(found.config, found.sources, found.ledger, timers, Unhurried(WITHIN))
            facade.open_store()
            app = create_app(facade)
            with serving((app, app), host.url) as url:
                run = Run(Target(url, "here", Key(KEY), WITHIN), Sandbox(host.url, plugin), out_of_reach=None)
                run.prepare()
                results = run_checks(run, CHECKS, parallel=6)
            facade.ledger.engine.dispose()
        return {result.check.name: result for result in results}

    return verified


def those(results, outcome):
    return {name: result.findings for name, result in results.items() if result.outcome == outcome}


def test_a_source_with_numbers_as_codes_without_http_passes(verified):
    results = verified("line-numbers")
    assert those(results, "failed") == {}
    skipped = those(results, "skipped")
    assert skipped.keys() == CANNOT_SHOW | {"source-out-of-reach"}
    assert skipped["fault-html-404"] == (
        "the sandbox's line-numbers cannot show a source that is hidden behind a gateway's HTML 404",
    )


def test_a_source_that_cannot_be_read_is_right(verified):
    results = verified("line-blind")
    assert those(results, "failed") == {}
    skipped = those(results, "skipped")
    assert skipped.keys() == CANNOT_SHOW | READS | NEED_READS | {"source-out-of-reach"}
    assert skipped["reads-that-fail"] == ("the source has no reads, or its plugin does not use them",)


def test_a_source_whose_codes_stand_in_a_longer_text_is_right(verified):
    results = verified("line-segments")
    assert those(results, "failed") == {}
    assert results["reasons-reach-the-source"].outcome == results["native-reasons-win"].outcome == "passed"


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("50", 50),
        ("50", {"reason": [{"code": 50}]}),
        ("50", 50.0),
        ("50", "SRM|1||50^other^local\r"),
        ("50", "reason=50&note=x"),
        ("50", {"50": True}),
        ("no show", "reason=no+show"),
        ("no show", "reason=no%20show"),
        ("a&b", "<reason>a&amp;b</reason>"),
        ("é", {"code": "é"}),
        ("N/A", {"code": "N/A"}),
    ],
)
def test_a_code_is_found_in_whatever_form_it_is_sent(code, value):
    assert mentions(code, value)


@pytest.mark.parametrize(
    ("code", "value"),
    [("50", 500), ("50", "150"), ("50", "apt_50"), ("50", 1.5), ("5", "0.5"), ("1", True), ("OTHER", "AN-OTHER")],
)
def test_a_part_of_another_word_is_not_the_code(code, value):
    assert not mentions(code, value)


def test_a_code_may_stand_in_the_query_or_in_the_path():
    assert was_sent("50", "/appointments/1/cancel?reason=50", None)
    assert was_sent("no show", "/appointments/1/cancel/no%20show", None)
    assert not was_sent("50", "/appointments/50-1/cancel", None)


def test_a_fault_the_sandbox_lacks_skips_what_needs_it():
    with serve({"line": LineSimulator()}) as host:
        sandbox = Sandbox(host.url, "line")
        assert sandbox.readable
        assert sandbox.one_of("html-404", "refused") == "refused"
        sentence = (
            "the sandbox's line cannot show a source that is hidden behind a gateway's HTML 404 or responds with 302"
        )
        with pytest.raises(Skipped, match=re.escape(sentence)):
            sandbox.one_of("html-404", "redirect")
        with pytest.raises(Skipped, match="the sandbox's line cannot show"):
            sandbox.create("html-404")
