"""Ids that a source takes for one: one cancellation whatever the spelling, and keys that move when the form changes."""

import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from facade import CanonicalId, ConfigurationError, OutcomeUnknown, SourceAdapter
from facade.app import compose
from facade.cancellation import known_sources
from facade.cancellation.known_sources import check_sources, rekey
from facade.cancellation.timers import Timers
from facade.errors import Cause
from facade.ledger.engine import connect
from facade.ledger.maintenance import KnownSource, Maintenance
from facade.ledger.statements import UNFINISHED
from facade.ledger.store import AuditRecord, JournalEntry, Ledger
from facade.testing.conformance.harness import Shares
from facade.web import create_app
from tests.conftest import FacadeClient
from tests.support.stores import store_url
from tests.support.waiting import LIMIT

STATE = "urn:fhir-facade:extension:cancellation-state"
PATTERN = r"[A-Za-z]?[0-9]{1,9}"
FORM = CanonicalId(version=1, form=lambda spelling: re.sub(r"(?<![0-9])0+(?=[0-9])", "", spelling.lower()))


class Echo(SourceAdapter):
    """A source in memory that takes 007 and 7 for one appointment, and returns the id as ``shown`` makes it."""

    def __init__(self, shown=str, ends=()):
        self.shown = shown
        self.ends = list(ends)
        self.cancelled = set()
        self.asked = []
        self.writes = []

    def read(self, appointment_id):
        self.asked.append(appointment_id)
        status = "cancelled" if FORM.form(appointment_id) in self.cancelled else "booked"
        return {"id": self.shown(appointment_id), "status": status}

    def cancel(self, request, current, permit):
        permit()
        self.writes.append(request.appointment_id)
        if self.ends:
            raise self.ends.pop(0)
        self.cancelled.add(FORM.form(request.appointment_id))
        return self.read(request.appointment_id)


@pytest.fixture
def before(make):
    built = make().facade

    def build(adapter, form=FORM):
        source = built.sources["heim"]
        declared = replace(source.plugin, canonical_id=form, id_pattern=PATTERN)
        source = replace(source, adapter=adapter, plugin=declared)
        facade = compose(built.config, {"heim": source}, built.ledger, Timers.for_response_within(40.0), Shares())
        return FacadeClient(create_app(facade), facade)

    return build


def test_every_spelling_is_one_cancellation(before):
    client = before(source := Echo())
    first = client.cancel("A007")
    assert first.json["status"] == "cancelled"
    for spelling in ("a7", "A7", "a07", "A007"):
        repeat = client.cancel(spelling)
        assert (repeat.status_code, repeat.data) == (200, first.data)
        assert client.read(spelling).json["status"] == "cancelled"
    assert source.writes == ["a7"]
    assert [row.appointment_id for row in client.facade.ledger.in_states(["cancelled"])] == ["a7"]


def test_two_spellings_at_once_write_once(before):
    client = before(source := Echo())
    start = threading.Barrier(4, timeout=LIMIT)

    def cancel(spelling):
        start.wait()
        return client.cancel(spelling).json["status"]

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(cancel, ("7", "07", "007", "0007"))) == {"cancelled"}
    assert len(source.writes) == 1


def test_doubt_under_one_spelling_is_doubt_under_every_one(before):
    client = before(source := Echo(ends=[OutcomeUnknown(Cause.TIMEOUT)]))
    for spelling in ("007", "7", "07"):
        assert client.cancel(spelling).json["status"] == "proposed"
    assert len(source.writes) == 1
    far = JournalEntry(event="read", state="in-doubt")
    client.facade.ledger.change(("heim", "7"), {}, {"read_due": 1e12}, far)
    client.facade.cancellations.hint(client.facade.sources["heim"], "0007")
    assert client.facade.ledger.timeline(("heim", "7"))[-1]["event"] == "hint"


def test_the_identifier_is_as_the_source_gives_it(before):
    client = before(Echo(shown=lambda appointment_id: appointment_id.zfill(5)))
    for answer in (client.cancel("07").json, client.read("7").json):
        assert answer["status"] == "cancelled"
        assert answer["identifier"][1]["value"] == answer["id"] == "00007"


@pytest.mark.parametrize("other", ["8", "b7", "", "x-x", None, 7])
def test_another_appointments_id_is_no_spelling(before, other):
    client = before(source := Echo(shown=lambda _: other))
    assert client.cancel("07").json["status"] == "proposed"
    assert source.writes == []


@pytest.mark.parametrize("form", [lambda _: "../7", lambda _: 7, lambda _: 1 / 0])
def test_a_canonical_form_that_is_no_id_is_a_bug(before, form):
    client = before(source := Echo(), CanonicalId(version=1, form=form))
    assert client.cancel("7").status_code == client.read("7").status_code == 500
    assert source.asked == source.writes == []


# The keys in the ledger


@pytest.fixture(params=["sqlite", "postgresql"])
def ledger(request, tmp_path):
    with store_url(request.param, tmp_path) as url:
        engine = connect(url)
        yield Ledger(engine)
        engine.dispose()


@pytest.fixture
def source(make):
    found = make().facade.sources["heim"]
    return replace(found, plugin=replace(found.plugin, canonical_id=FORM, id_pattern=PATTERN))


def add(ledger, appointment_id, state, **values):
    first = {"state": state, "cancel_request": {}, "read_before": False, **values}
    entry = JournalEntry(event="claim", state=state, request_id=f"r-{appointment_id}")
    ledger.claim(("heim", appointment_id), None, first, entry)
    ledger.append(("heim", appointment_id), done=AuditRecord(who=appointment_id, action="cancel", outcome=state))


def plain(source):
    return replace(source, plugin=replace(source.plugin, canonical_id=None))


def test_another_canonical_form_needs_a_rekey_before_start(ledger, source):
    check_sources(ledger, [plain(source)])
    add(ledger, "007", "cancelled")
    check_sources(ledger, [plain(source)])
    with pytest.raises(ConfigurationError, match=r"sources\.heim: .*version 1.*facade ledger rekey heim"):
        check_sources(ledger, [source])
    assert rekey(ledger, source) == (1, 0)
    check_sources(ledger, [source])
    with pytest.raises(ConfigurationError, match="version 0"):
        check_sources(ledger, [plain(source)])


def test_a_source_without_rows_takes_any_form(ledger, source):
    check_sources(ledger, [plain(source)])
    check_sources(ledger, [source])
    check_sources(ledger, [replace(source, name="another")])
    known = {"heim": KnownSource(1, True, None), "another": KnownSource(1, True, None)}
    assert Maintenance(ledger).sources() == known


def test_a_row_moves_with_its_journal_and_audit(ledger, source):
    add(ledger, "007", "refused", response="{}")
    before = ledger.find(("heim", "007"))
    assert rekey(ledger, source) == (1, 0)
    assert ledger.find(("heim", "007")) is None
    assert ledger.find(("heim", "7")) == replace(before, appointment_id="7")
    assert [(line["event"], line["detail"]) for line in ledger.timeline(("heim", "7"))] == [
        ("claim", {}),
        ("rekeyed", {"from": "007"}),
    ]
    assert [line["who"] for line in ledger.audit_records(("heim", "7"))] == ["007"]
    assert ledger.timeline(("heim", "007")) == ledger.audit_records(("heim", "007")) == []


@pytest.mark.parametrize("other", ["refused", "not-applied", "in-doubt", "operator"])
@pytest.mark.parametrize("moved", ["007", "7"])
def test_of_two_rows_the_fuller_is_kept_with_both_histories(ledger, source, other, moved):
    known, less = ("007", "7") if moved == "007" else ("7", "007")
    add(ledger, known, "cancelled")
    add(ledger, less, other)
    assert rekey(ledger, source) == (0, 1)
    assert [(row.appointment_id, row.state) for row in ledger.in_states(["cancelled", other])] == [("7", "cancelled")]
    assert sorted(line["request_id"] or "" for line in ledger.timeline(("heim", "7"))) == ["", "r-007", "r-7"]
    assert sorted(line["who"] for line in ledger.audit_records(("heim", "7"))) == ["007", "7"]


def test_what_is_under_way_keeps_the_rows_where_they_are(ledger, source):
    add(ledger, "007", "cancelled")
    add(ledger, "8", "sending")
    with pytest.raises(ConfigurationError, match="under way; let facade reconcile run"):
        rekey(ledger, source)
    assert ledger.find(("heim", "007")) is not None


def test_an_interrupted_rekey_blocks_starts_and_can_resume(ledger, source, monkeypatch):
    for appointment_id in ("001", "002", "003"):
        add(ledger, appointment_id, "cancelled")
    move = Maintenance.move

    def broken(self, old, new, entry):
        if old[1] == "002":
            raise KeyboardInterrupt
        return move(self, old, new, entry)

    monkeypatch.setattr(known_sources.Maintenance, "move", broken)  # type: ignore[attr-defined]  # set or patched by the test
    with pytest.raises(KeyboardInterrupt):
        rekey(ledger, source)
    monkeypatch.undo()
    assert Maintenance(ledger).sources()["heim"].id_form == UNFINISHED
    for each in (source, plain(source)):
        with pytest.raises(ConfigurationError):
            check_sources(ledger, [each])
    assert rekey(ledger, source) == (2, 0)
    check_sources(ledger, [source])


def test_an_id_that_the_source_cannot_have_any_more_stays(ledger, source):
    add(ledger, "old_007", "cancelled")
    assert rekey(ledger, source) == (0, 0)
    assert ledger.find(("heim", "old_007")) is not None
