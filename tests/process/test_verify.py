"""`facade verify` is green on the real facade, again and again, and red on each wrong one where it is wrong."""

import json
import multiprocessing
import os
import re
import subprocess

import pytest
from click.testing import CliRunner
from facade_fhir_r4.simulator import FhirR4Simulator
from facade_heim.simulator import HeimSimulator

from facade.cli import main
from facade.errors import ConfigurationError
from facade.testing.simulator.faults import FAULTS, Chance, Commit, Timings
from facade.testing.simulator.host import serve
from facade.verify.catalogue import catalogue
from facade.verify.check import check
from facade.verify.runner import Run, run_checks
from facade.verify.sandbox import Sandbox
from facade.verify.target import Key, Target
from tests.conftest import KEY, remember
from tests.support.paths import ROOT
from tests.support.process import COMMAND, configuration, facade, sandbox
from tests.support.wrong_facades import NORTH, WRONG, verified

pytestmark = pytest.mark.timeout(900)  # whole acceptance runs, and the first of the wrong facades waits for its own

DOCS = (ROOT / "docs" / "reference" / "verify.md").read_text("utf-8")
CHECKS = {check.name: check for checks in catalogue().values() for check in checks}

READS = {f"fault-{name}" for name, fault in FAULTS.items() if fault.operation == "read"}
PROPOSED = {f"fault-{name}" for name, fault in FAULTS.items() if fault.ends_in == "proposed"}
CANCELLED = {f"fault-{name}" for name, fault in FAULTS.items() if fault.ends_in == "cancelled"}
# What is seen only by a read after the write.
LOST = CANCELLED - {"fault-answer-twice"}

WITHIN = 60.0  # seconds; how long an answer may take is not what is tested where all is right
FHIR = """
[sources.fhir]
plugin = "fhir_r4"
base_url = "{url}"
token_env = "HEIM_API_KEY"
"""

EXPECTED = {
    "a-bug-for-a-malformed-body": {"body-comes-before-the-appointment", "body-not-json"},
    "a-gateways-404-believed": {"fault-read-html-404", "fault-read-json-404", "reads-that-fail"},
    "a-key-for-everything": {"metadata", "health"},
    "a-mapping-of-unknown-words": {"concept-map"},
    "a-start-without-an-end": {"app-2", "app-3"},
    "another-etag-each-time": {
        "repeats-get-the-same-response",
        "other-reasons-change-nothing",
        "appointments-have-a-version",
    },
    "another-method-is-not-found": {"other-methods"},
    "another-status-undoes-a-cancel": {"other-statuses-change-nothing"},
    "answers-that-may-be-stored": {"responses-are-not-stored"},
    "any-json-taken": {
        "body-not-utf-8",
        "body-byte-order-mark",
        "body-duplicate-keys",
        "body-nan",
        "body-lone-surrogate",
        "body-deep-nesting",
        "body-big-integer",
    },
    "any-status-is-a-cancel": {"other-statuses", "modifier-extensions"},
    "any-version-will-do": {"if-match-malformed", "if-match-stale"},
    "anything-is-a-cancel": {
        "body-not-utf-8",
        "body-byte-order-mark",
        "body-not-an-object",
        "body-duplicate-keys",
        "body-not-an-appointment",
        "body-of-another-id",
        "status-absent",
        "unsupported-media-types",
    },
    "conflict-on-a-repeat": {
        "encoded-ids",
        "if-match-stale-after-the-cancel",
        "repeats-get-the-same-response",
        "other-reasons-change-nothing",
        "cancelled-stays-cancelled",
        "at-once-never-a-conflict",
    },
    "conflict-while-another-is-under-way": {"at-once-never-a-conflict"},
    "doubt-is-not-probed-at-once": {*LOST, "at-once-the-same-response"},
    "errors-in-html": {"refusals-are-outcomes"},
    "every-repeat-is-sent": {
        "encoded-ids",
        "repeats-send-nothing",
        "at-once-one-native-cancel",
        "doubt-ends-when-another-cancels",
        "doubt-sends-nothing",
        "late-cancels-are-found",
    },
    "gone-instead-of-not-found": {
        "unknown-source",
        "source-out-of-reach",
        "unknown-appointment",
        "source-comes-before-the-body",
        "hostile-ids-are-not-found",
        "ids-too-long",
    },
    "no-allow": {"other-methods-get-allow"},
    "no-challenge": {"authentication-challenges"},
    "no-key-needed": {"authentication-is-required", "authentication-comes-first"},
    "no-participant": {"every-body-is-valid", "appointments-are-complete"},
    "no-reason-at-all": {"reasons-come-back", "reasons-reach-the-source", "cancelled-has-a-reason"},
    "no-source-identifier": {"appointments-are-identified"},
    "no-one-waits": {"at-once-one-native-cancel", "doubt-sends-nothing"},
    "not-found-whatever-was-seen": {"not-found-after-it-was-seen"},
    "nothing-on-prefer-minimal": {"preferences"},
    "one-format-for-all": {"formats-that-are-not-written", "formats-that-are-written"},
    "one-native-reason-for-all": {"reasons-reach-the-source", "native-reasons-win"},
    "one-participant-without-an-actor": {"appointments-are-complete"},
    "only-the-sources-present-word-counts": {"cancelled-stays-cancelled"},
    "participants-without-an-actor": {"appointments-are-complete", "app-1"},
    "plain-json": {"formats-that-are-written", "responses-are-fhir-json"},
    "proposed-at-first": {
        *CANCELLED,
        "body-size",
        "body-members",
        "unknown-elements-are-ignored",
        "plain-json-is-read",
        "example",
        "single-source-route",
        "encoded-ids",
        "if-match-current",
        "preferences",
        "reasons-come-back",
        "empty-reasons",
        "reasons-reach-the-source",
        "repeats-get-the-same-response",
        "other-reasons-change-nothing",
        "at-once-the-same-response",
        "cancelled-by-another",
        "doubt-ends-when-another-cancels",
        "refusals-may-be-retried",
        "late-cancels-are-found",
    },
    "proposed-with-a-reason": {"app-4"},
    "proposed-without-a-why-after-silence": {"proposed-says-why"},
    "raw-ids": {"every-body-is-valid", "appointments-have-encoded-ids"},
    "raw-references": {"every-body-is-valid", "appointments-have-encoded-references"},
    "reads-of-how-it-was": {"reads", "cancelled-stays-cancelled"},
    "reads-without-the-record": {"reads-show-the-record"},
    "request-ids-as-they-come": {"request-ids-are-made"},
    "request-ids-of-its-own": {"responses-echo-the-request-id"},
    "sent-again-after-one-negative-read": {"doubt-sends-nothing"},
    "sent-again-after-silence": {
        "fault-reset-before-commit",
        "fault-reset-after-commit",
        "fault-cut-body",
        "fault-endless",
        "doubt-ends-when-another-cancels",
        "doubt-sends-nothing",
    },
    "sent-although-another-has-cancelled": {"cancelled-by-another"},
    "sent-without-a-read": {*READS, "reads-of-another-id"},
    "silence-is-cancelled": {"fault-timeout-before-commit", "fault-late-commit", "doubt-sends-nothing"},
    "slashes-are-decoded": {"hostile-ids-stay-outside"},
    "slow-once": {"responses-come-in-time"},
    "sources-distinguished": {"source-out-of-reach"},
    "the-native-record-shown": {"responses-keep-secrets"},
    "the-newest-reason": {"other-reasons-change-nothing", "at-once-the-same-response"},
    "the-path-before-the-key": {"authentication-comes-first"},
    "the-sources-401-passed-on": {"fault-unauthorized", "fault-read-unauthorized"},
    "the-sources-address-shown": {"responses-keep-secrets"},
    "versions-from-1": {"versions"},
    "what-is-not-proven-is-503": {
        *PROPOSED,
        "other-statuses",
        "modifier-extensions",
        "doubt-sends-nothing",
        "refusals-may-be-retried",
        "reads-of-another-id",
        "not-found-after-it-was-seen",
    },
    "what-is-wrong-is-a-bad-request": {"body-members", "status-absent", "status-not-a-code", "element-of-a-wrong-type"},
}


@pytest.fixture(scope="module", autouse=True)
def reports(request):
    """The reports of the wrong facades that are asked for, each in a process of its own, from the start on."""
    items = [item for item in request.session.items if item.path == request.path and hasattr(item, "callspec")]
    names = {item.callspec.params.get("name") for item in items} & {"right", *WRONG}
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.support.wrong_facades"])
    with context.Pool(4, maxtasksperchild=1) as pool:
        yield {name: pool.apply_async(verified, [name]) for name in sorted(names)}


def failed(report):
    return {check["name"]: check["findings"] for check in report["checks"] if check["outcome"] == "failed"}


# The real one, as served


@pytest.fixture(scope="module")
def stand_in():
    """A source that applies a late cancel after the write was given up, on any machine."""
    simulators = {"heim": HeimSimulator(), "fhir_r4": FhirR4Simulator()}
    with serve(simulators, timings=Timings(silence=1000, drip=1000, late_commit=14)) as host:
        yield host


@pytest.fixture(scope="module")
def process(stand_in, tmp_path_factory):
    """A facade as it is deployed, under a path, in front of the sandbox."""
    path = configuration(
        tmp_path_factory.mktemp("verify"),
        f"{stand_in.url}/heim",
        facade='base_path = "/fhir/r4"\ndefault_source = "heim"',
        more=NORTH + FHIR.format(url=f"{stand_in.url}/fhir_r4"),
        answer_within=16,
    )
    path.write_text(path.read_text("utf-8").replace('["*"]', '["heim", "fhir"]'), "utf-8")
    with facade(path) as found:
        found.base = f"{found.url}/fhir/r4"  # type: ignore[attr-defined]  # set or patched by the test
        yield found


def verify(*arguments, code=0, key=KEY):
    result = CliRunner().invoke(main, ["verify", *map(str, arguments)], env={"FACADE_CLIENT_KEY": key})
    assert result.exit_code == code, result.output
    assert "Traceback" not in result.output
    assert KEY not in result.output
    return result


def test_a_served_facade_is_green_twice_in_a_row(process, stand_in):
    arguments = ["--url", process.base, "--sandbox", stand_in.url, "--out-of-reach", "north", "--within", str(WITHIN)]
    done = subprocess.run(
        [*COMMAND, "verify", *arguments, "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "FACADE_CLIENT_KEY": KEY},
    )
    report = json.loads(done.stdout)
    assert failed(report) == {}
    assert done.returncode == 0
    assert report["counts"] == {"passed": len(CHECKS), "failed": 0, "skipped": 0}

    run = Run(Target(process.base, "heim", Key(KEY), WITHIN), Sandbox(stand_in.url, "heim"), "north")
    run.prepare()
    results = run_checks(run, CHECKS.values(), parallel=8)
    assert [(result.check.name, result.findings) for result in results if result.outcome != "passed"] == []
    for answer in run.facade.responses:
        if "resourceType" in answer.resource:
            remember(answer.resource)


def test_another_source_of_another_kind_is_green_too(process, stand_in):
    arguments = ["--source", "fhir", "--simulator", "fhir_r4", "--url", process.base, "--sandbox", stand_in.url]
    arguments += ["--within", str(WITHIN)]
    report = json.loads(verify(*arguments, "--out-of-reach", "north", "--json").stdout)
    assert failed(report) == {}
    skipped = {check["name"] for check in report["checks"] if check["outcome"] == "skipped"}
    assert skipped == {"single-source-route", "native-reasons-win"}


def test_a_sandbox_that_goes_away_ends_the_run(process, tmp_path):
    with sandbox() as gone:
        run = Run(Target(process.base, "heim", Key(KEY), WITHIN), Sandbox(gone.url, "heim"))
    with pytest.raises(ConfigurationError, match=f"no sandbox at {gone.url} .*no one listens there"):
        run_checks(run, [CHECKS["versions"], CHECKS["app-1"]], parallel=2)


def test_a_facade_that_stops_midway_ends_the_run_with_code_2(stand_in, tmp_path):
    with facade(configuration(tmp_path, f"{stand_in.url}/heim")) as stopping:

        def stop(run):
            stopping.terminate()
            stopping.exit_code()
            yield from ()

        run = Run(Target(stopping.url, "heim", Key(KEY), WITHIN), Sandbox(stand_in.url, "heim"))
        run.prepare()
        stops = check("It is stopped.", alone=True)(stop)
        sentence = (
            rf"the facade at {stopping.url} stopped responding \(.+: no one listens there\); "
            "restart it and repeat the run"
        )
        with pytest.raises(ConfigurationError, match=sentence):
            run_checks(run, [stops, CHECKS["versions"], CHECKS["every-body-is-valid"]], parallel=2)


def test_a_sandbox_that_fails_by_chance_is_refused(process):
    simulator = HeimSimulator()
    simulator.faults.chance = Chance(seed=7, share=0.2)
    with serve({"heim": simulator}) as host:
        message = verify("--url", process.base, "--sandbox", host.url, code=2).stderr
        assert message == (
            f"facade: the sandbox at {host.url} lets 20% of the requests fail by chance, so correct facades would "
            "fail checks; start it without --chaos\n"
        )
        assert simulator.log.entries() == []


def test_an_id_the_source_cannot_have_is_a_possible_cause(process):
    class OtherIds(HeimSimulator):
        fault_id = "no heim id {}"

    with serve({"heim": OtherIds()}) as host:
        message = verify("--url", process.base, "--sandbox", host.url, code=2).stderr
    assert re.fullmatch(
        rf"facade: the facade at {process.base} responded 404 to a cancel of source heim, id \"no heim id \w+\", and "
        rf"sent nothing to the sandbox's heim; point that source at {host.url}/heim, or name another with --source or "
        "--simulator, or let its id pattern allow the sandbox's ids\n",
        message,
    )


def test_the_report_names_every_check_and_sums_up(process, stand_in):
    only = ["responses-come-in-time", "fault-read-timeout", "source-out-of-reach", "if-match-*"]
    arguments = [word for name in only for word in ("--only", name)]
    shown = verify("--url", process.base, "--sandbox", stand_in.url, "--within", 0.5, *arguments, code=1).stdout
    assert re.search(r"^  pass  fault-read-timeout +\d+\.\d s$", shown, re.MULTILINE)
    assert re.search(r"^  skip  source-out-of-reach .*named with --out-of-reach$", shown, re.MULTILINE)
    assert len(re.findall(r"^  pass  if-match-", shown, re.MULTILINE)) == 4
    head, _, why = shown.partition("\nFAIL  responses-come-in-time\n")
    assert "  FAIL  responses-come-in-time" in head
    assert "      Every response comes in time.\n      - POST /Appointment/heim/apt_" in why
    assert re.search(r"expected a response within 0\.5 s, saw it after \d\.\d s", why)
    assert re.search(r"^7 checks in \d+ s: 5 passed, 1 failed, 1 skipped$", shown, re.MULTILINE)


def test_the_json_report_has_the_documented_members(process, stand_in):
    result = verify("--url", process.base, "--sandbox", stand_in.url, "--only", "versions", "--json")
    report = json.loads(result.stdout)
    [check] = report["checks"]
    assert (report["facade"], report["source"], report["sandbox"]) == (process.base, "heim", stand_in.url)
    assert (check["name"], check["outcome"], check["findings"]) == ("versions", "passed", [])
    for member in [*report, *check]:
        assert f"`{member}`" in DOCS


def test_without_a_key_or_with_a_wrong_one_nothing_is_verified(process, stand_in):
    arguments = ["--url", process.base, "--sandbox", stand_in.url]
    message = verify(*arguments, code=2, key="").stderr
    assert message == (
        f"facade: the facade at {process.base} requires a key (HTTP 401); "
        "set FACADE_CLIENT_KEY to one that may cancel\n"
    )
    assert "rejects the key (HTTP 401)" in verify(*arguments, code=2, key="CANARY-wrong").stderr


def test_what_cannot_be_reached_is_one_sentence_and_code_2(process, stand_in):
    nothing_there = "http://127.0.0.1:9"
    message = {
        f"facade: no sandbox at {nothing_there} (": ("--url", process.base, "--sandbox", nothing_there),
        f"facade: no facade at {nothing_there} (": ("--url", nothing_there, "--sandbox", stand_in.url),
        f"facade: the server at {process.url} is not a sandbox (": ("--url", process.base, "--sandbox", process.url),
        "facade: the sandbox at " + stand_in.url + ': There is no source system "elsewhere" here.': (
            *("--url", process.base, "--sandbox", stand_in.url, "--simulator", "elsewhere"),
        ),
        f"facade: the facade at {process.base} responded 404 to a cancel of source north, id ": (
            *("--url", process.base, "--sandbox", stand_in.url, "--source", "north", "--simulator", "heim"),
        ),
        "facade: the sandbox's template is cancelled already; name another with --template": (
            *("--url", process.base, "--sandbox", stand_in.url, "--template", "apt_cancelled"),
        ),
        "facade: --only fault-refusd: there is no such check; did you mean fault-refused?": (
            *("--url", process.base, "--only", "fault-refusd"),
        ),
    }
    for sentence, arguments in message.items():
        error = verify(*arguments, code=2).stderr
        assert error.startswith(sentence)
        assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("--url", "http://facade.example"), ("--url", "http://127.0.0.1:9", "--sandbox", "here")]
)
def test_a_malformed_url_or_one_with_a_key_is_a_wrong_command(arguments):
    assert "Usage: " in verify(*arguments, code=2).stderr


# Wrong ones


def test_there_is_a_wrong_facade_for_every_check():
    assert EXPECTED.keys() == WRONG.keys()
    assert set().union(*EXPECTED.values()) == CHECKS.keys()
    assert all(EXPECTED.values())


@pytest.mark.parametrize("name", ["right"])
def test_the_real_facade_is_green_where_the_wrong_ones_stand(reports, name):
    report = json.loads(reports[name].get(timeout=600))
    assert failed(report) == {}
    assert report["counts"] == {"passed": len(CHECKS), "failed": 0, "skipped": 0}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_wrong_facade_fails_exactly_its_checks(reports, name):
    found = failed(json.loads(reports[name].get(timeout=600)))
    assert found.keys() == EXPECTED[name], found
    for findings in found.values():
        for finding in findings:
            assert re.search(r"expected .+, saw .+", finding), finding
            assert KEY not in finding


# The docs


def test_the_docs_have_every_check_and_no_other():
    rows = dict(
        re.findall(
            r"^\| `([a-z0-9][a-z0-9-]*)` \| (.+) \|$", DOCS.partition("## Authentication and access")[2], re.MULTILINE
        )
    )
    faults = {name for name in CHECKS if name.startswith("fault-")}
    assert rows == {name: check.promise for name, check in CHECKS.items() if name not in faults}
    assert [line.removeprefix("## ") for line in DOCS.splitlines() if line.startswith("## ")][3:] == list(catalogue())
    assert "`fault-<name>`" in DOCS
    assert any(fault.commit is Commit.LATE for fault in FAULTS.values())
