"""Every fault through a real facade process over real sockets: what the scheduler hears, when, and what was sent."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from facade_heim.simulator import HeimSimulator

from facade.testing.simulator.faults import FAULTS, Behaviour, Commit, Timings
from facade.testing.simulator.host import serve
from tests.support.process import configuration, facade
from tests.support.waiting import eventually

# Seconds, all of them so long that no machine is too slow: what a read has (3.75 of ANSWER_WITHIN), when
# a late commit comes after that write was given up, and how much longer than promised an answer may be on its way. A
# facade that waited for a silent source would wait ten times as long.
ANSWER_WITHIN, LATE, SILENT = 20.0, 25.0, 1000.0
SLACK = 60.0
AT_ONCE = 8
CANCEL = {"resourceType": "Appointment", "status": "cancelled"}

# What a call-centre agent is reported, by what the source did.
ISSUE_CODES = {
    Behaviour.SILENCE: "timeout",
    Behaviour.RESET: "transient",
    Behaviour.SERVER_ERROR: "transient",
    Behaviour.HTML_404: "processing",
    Behaviour.JSON_404: "processing",
    Behaviour.HTML_502: "transient",
    Behaviour.UNAUTHORIZED: "security",
    Behaviour.REFUSED: "business-rule",
    Behaviour.THROTTLED: "throttled",
    Behaviour.THROTTLED_FOR: "throttled",
    Behaviour.ACCEPTED_202: "processing",
    Behaviour.EMPTY_200: "processing",
    Behaviour.HTML_200: "processing",
    Behaviour.GARBAGE_200: "processing",
    Behaviour.OTHER_JSON_200: "processing",
    Behaviour.UNCHANGED_200: "processing",
    Behaviour.ERROR_200: "processing",
    Behaviour.ABOUT_ANOTHER: "processing",
    Behaviour.CUT_HEADERS: "processing",
    Behaviour.CUT_BODY: "transient",
    Behaviour.SLOW_DRIP: "timeout",
    Behaviour.ENDLESS: "processing",
    Behaviour.TWICE: "processing",
    Behaviour.REDIRECT: "processing",
}
SURELY_NOT_EXECUTED = {Behaviour.UNAUTHORIZED, Behaviour.REFUSED}
REQUIRED = "resourceType id identifier serviceType appointmentType slot participant status".split()

READS = [name for name, fault in FAULTS.items() if fault.operation == "read"]
PROPOSED = [name for name, fault in FAULTS.items() if fault.ends_in == "proposed"]
CANCELLED = [name for name, fault in FAULTS.items() if fault.ends_in == "cancelled"]


class Timed:
    """One answer and how long it took."""

    def __init__(self, process, method, name, **kwargs):
        begun = time.monotonic()
        response = process.call(method, f"/Appointment/heim/apt_{name}", **kwargs)
        self.seconds = time.monotonic() - begun
        self.status = response.status_code
        self.headers = response.headers
        self.body = response.json()


@pytest.fixture(scope="module")
def simulator():
    with serve({"heim": HeimSimulator()}, timings=Timings(silence=SILENT, drip=SILENT, late_commit=LATE)) as host:
        found = host.simulators["heim"]
        found.url = host.source_url("heim")  # type: ignore[attr-defined]  # set or patched by the test
        yield found


@pytest.fixture(scope="module")
def process(simulator, tmp_path_factory):
    with facade(configuration(tmp_path_factory.mktemp("faults"), simulator.url, answer_within=ANSWER_WITHIN)) as found:
        yield found


def asked(names, ask):
    """The answers by name: many at once, those first that the source keeps waiting."""
    ordered = sorted(names, key=lambda name: FAULTS[name].behaviour not in {Behaviour.SILENCE, Behaviour.SLOW_DRIP})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return dict(zip(ordered, pool.map(ask, ordered), strict=True))


@pytest.fixture(scope="module")
def answers(process):
    """The answer to a cancel by each fault."""
    return asked(FAULTS, lambda name: Timed(process, "POST", name, json=CANCEL))


@pytest.fixture(scope="module")
def posts(answers, simulator):
    """How many cancels the source saw by then, by fault."""
    return {name: simulator.log.count("cancel", f"apt_{name}") for name in answers}


@pytest.fixture(scope="module")
def repeats(process, posts):
    """The answer to a second cancel of each appointment that was cancelled."""
    return {name: Timed(process, "POST", name, json=CANCEL) for name in CANCELLED}


@pytest.fixture(scope="module")
def read(process, posts):
    """The answer to a read by each fault of reads."""
    return asked(READS, lambda name: Timed(process, "GET", name))


def test_the_tables_here_are_complete():
    assert ISSUE_CODES.keys() == set(Behaviour)
    assert len(CANCELLED) >= 8
    assert len(PROPOSED) >= 20


@pytest.mark.parametrize("name", FAULTS)
def test_every_fault_is_200_in_time_and_as_listed(answers, name):
    assert answers[name].status == 200
    assert answers[name].body["status"] == FAULTS[name].ends_in
    assert answers[name].seconds < ANSWER_WITHIN + SLACK
    assert not [element for element in REQUIRED if not answers[name].body.get(element)]


@pytest.mark.parametrize("name", FAULTS)
def test_the_source_sees_one_cancel_or_none_after_a_failed_read(posts, name):
    assert posts[name] == (1 if FAULTS[name].operation == "cancel" else 0)


@pytest.mark.parametrize("name", PROPOSED)
def test_a_proposed_answer_says_why_in_an_outcome_that_fits(answers, name):
    fault, body = FAULTS[name], answers[name].body
    assert "cancelationReason" not in body
    [outcome] = body["contained"]
    assert outcome["resourceType"] == "OperationOutcome"
    assert body["supportingInformation"] == [{"reference": f"#{outcome['id']}"}]
    [issue] = outcome["issue"]
    assert issue["code"] == ISSUE_CODES[fault.behaviour]
    # Only what surely was not done is an error: the rest is a doubt, and its text says what to do about it.
    surely_not = fault.operation == "cancel" and fault.behaviour in SURELY_NOT_EXECUTED
    assert issue["severity"] == ("error" if surely_not else "warning")
    unread = "This request did not cancel the appointment. Another party may have cancelled it."
    doubt = unread if fault.operation == "read" else "It is not known whether"
    assert ("was not cancelled" if surely_not else doubt) in issue["details"]["text"]


@pytest.mark.parametrize("name", CANCELLED)
def test_a_cancelled_answer_has_a_reason_and_no_outcome(answers, name):
    assert answers[name].body["cancelationReason"]
    assert "contained" not in answers[name].body


@pytest.mark.parametrize("name", CANCELLED)
def test_a_second_cancel_is_200_cancelled_and_sends_nothing(repeats, simulator, name):
    assert repeats[name].status == 200
    assert repeats[name].body["status"] == "cancelled"
    assert repeats[name].seconds < ANSWER_WITHIN + SLACK
    assert simulator.log.count("cancel", f"apt_{name}") == 1


@pytest.mark.parametrize("name", READS)
def test_a_read_that_fails_is_503_inside_the_budget(read, name):
    assert read[name].status == 503
    assert read[name].seconds < ANSWER_WITHIN + SLACK
    assert int(read[name].headers["Retry-After"]) > 0
    assert read[name].body["resourceType"] == "OperationOutcome"
    assert read[name].body["issue"][0]["code"] == "transient"


def test_a_late_cancel_is_proposed_first_and_cancelled_later(answers, process, simulator):
    late = [name for name, fault in FAULTS.items() if fault.commit is Commit.LATE]
    for name in late:
        assert answers[name].body["status"] == "proposed"
        eventually(lambda: simulator.get(f"apt_{name}")["status"] == "cancelled")  # noqa: B023 - called at once
        assert Timed(process, "GET", name).body["status"] == "cancelled"
        assert Timed(process, "POST", name, json=CANCEL).body["status"] == "cancelled"
        assert simulator.log.count("cancel", f"apt_{name}") == 1
    assert late
