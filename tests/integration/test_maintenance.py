"""What people do to the ledger as a whole, while others work on it: purge, rename, and the list of those at work."""

import threading
from contextlib import suppress
from dataclasses import replace

import pytest
from sqlalchemy import event, text

from facade.cancellation.known_sources import check_sources, rename
from facade.cancellation.states import SETTLED
from facade.clock import Clock
from facade.errors import ConfigurationError, Unavailable
from facade.ledger import engine as engines
from facade.ledger.engine import connect
from facade.ledger.maintenance import SILENT_AFTER, KnownSource, Maintenance, Presence
from facade.ledger.statements import UNFINISHED
from facade.ledger.store import AuditRecord, JournalEntry, Ledger
from tests.support.stores import store_url

KEY = ("heim", "apt_1")
DONE = AuditRecord(who="scheduler", action="cancel", outcome="not-executed")


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    with store_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def ledger(url):
    engine = connect(url)
    yield Ledger(engine)
    engine.dispose()


@pytest.fixture
def another(url):
    """The same ledger, as another process has it."""
    engine = connect(url)
    yield Ledger(engine)
    engine.dispose()


def add(ledger, key, state, **values):
    ledger.claim(
        key, None, {"state": state, "cancel_request": {}, "read_before": False, **values}, JournalEntry(event="claim")
    )
    ledger.append(key, done=DONE)


def kept(ledger, key):
    return ledger.find(key), ledger.timeline(key), ledger.audit_records(key)


# Purge


@pytest.mark.parametrize("at", ["DELETE FROM cancellations", "DELETE FROM journal", "DELETE FROM audit"])
def test_a_row_claimed_during_a_purge_stays_complete(url, ledger, at, monkeypatch):
    add(ledger, KEY, "refused")
    seen = ledger.find(KEY)
    claimed = []

    def claim(connection, cursor, statement, *_):
        if statement.startswith(at) and not claimed:
            with suppress(Unavailable):  # the purge holds the store, or the row, already
                claimed.append(another.claim(KEY, seen, {"state": "sending"}, JournalEntry(event="claim")))  # type: ignore[attr-defined]  # set or patched by the test

    if ledger.engine.dialect.name == "sqlite":
        monkeypatch.setattr(engines, "LOCK_WAIT", 0.1)
    another = Ledger(connect(url))
    event.listen(ledger.engine, "before_cursor_execute", claim)
    deleted = Maintenance(ledger).purge(list(SETTLED), before=1e12)
    event.remove(ledger.engine, "before_cursor_execute", claim)
    another.engine.dispose()
    row, timeline, audits = kept(ledger, KEY)
    if claimed and claimed[0] is not None:
        assert (deleted, row.state, len(timeline), len(audits)) == (0, "sending", 2, 1)
    else:
        assert (deleted, row, timeline, audits) == (1, None, [], [])
    if at.endswith("cancellations") and ledger.engine.dialect.name == "postgresql":
        assert claimed, "PostgreSQL lets a row be claimed between finding and deleting it"


def test_a_purged_and_reclaimed_row_is_a_new_row(ledger):
    add(ledger, KEY, "claimed")
    frozen = ledger.find(KEY)
    ledger.change(KEY, {"state": "claimed"}, {"state": "refused"}, JournalEntry(event="not-executed"))
    assert Maintenance(ledger).purge(list(SETTLED), before=1e12) == 1
    add(ledger, KEY, "claimed")
    expected = {"state": "claimed", "attempt_number": frozen.attempt_number}
    assert not ledger.change(KEY, expected, {"state": "refused"}, JournalEntry(event="not-executed"))
    assert ledger.find(KEY).state == "claimed"


def test_many_batches_are_purged_and_what_is_unsettled_stays(ledger):
    columns = "source, appointment_id, format, state, attempt_number, read_before, cancel_request, changed_at"
    rows = [
        {"id": f"{number:05}", "state": ("cancelled", "refused", "in-doubt")[number % 3], "attempt_number": number}
        for number in range(1800)
    ]
    values = "'heim', :id, 1, :state, :attempt_number, :read, '{}', 1.0"
    with ledger.engine.begin() as connection:
        connection.execute(
            text(f"INSERT INTO cancellations ({columns}) VALUES ({values})"), [{**row, "read": False} for row in rows]
        )
    assert Maintenance(ledger).purge(list(SETTLED), before=2.0) == 1200
    assert Maintenance(ledger).count(["cancelled", "refused", "in-doubt"]) == {"heim": 600}


# Sources that have another name


@pytest.fixture
def source(make):
    return make().facade.sources["heim"]


def test_doubt_under_the_old_name_stops_a_renamed_source(ledger, source):
    check_sources(ledger, [source])
    add(ledger, KEY, "in-doubt", read_due=1.0)
    with pytest.raises(ConfigurationError, match=r"sources\.heim: .*1 unsettled.*facade ledger rename heim NEW"):
        check_sources(ledger, [replace(source, name="heim-live")])
    assert rename(ledger, "heim", "heim-live") == 1
    check_sources(ledger, [replace(source, name="heim-live")])
    row, timeline, audits = kept(ledger, ("heim-live", "apt_1"))
    assert (row.state, row.read_due) == ("in-doubt", 1.0)
    assert (timeline[-1]["event"], timeline[-1]["detail"]) == ("renamed", {"from": "heim"})
    assert len(audits) == 1
    assert kept(ledger, KEY) == (None, [], [])
    # A start under the old name reports where the records are.
    with pytest.raises(ConfigurationError, match=r"heim-live.*facade ledger rename heim-live heim"):
        check_sources(ledger, [source, replace(source, name="heim-live")])
    assert rename(ledger, "heim-live", "heim") == 1
    check_sources(ledger, [source])


def test_settled_rows_do_not_stop_a_renamed_readable_source(ledger, source):
    add(ledger, KEY, "cancelled")
    check_sources(ledger, [replace(source, name="another")])


def test_of_a_source_without_reads_every_record_counts(ledger, source):
    Maintenance(ledger).remember("blind", KnownSource(0, False, None))
    add(ledger, ("blind", "1"), "cancelled")
    with pytest.raises(ConfigurationError, match=r"1 records of cancellations.*purge --older-than 1d --source blind"):
        check_sources(ledger, [source])


def test_a_rename_onto_a_record_of_the_same_id_is_refused(ledger):
    add(ledger, KEY, "in-doubt")
    add(ledger, ("other", "apt_1"), "cancelled")
    with pytest.raises(ConfigurationError, match="other has records of 1 appointments that heim has"):
        rename(ledger, "heim", "other")
    assert ledger.find(KEY).state == "in-doubt"
    with pytest.raises(ConfigurationError, match="the ledger has no source nowhere"):
        rename(ledger, "nowhere", "other")


def test_a_row_is_not_moved_over_another(ledger):
    add(ledger, KEY, "in-doubt")
    add(ledger, ("other", "apt_1"), "cancelled")
    before = kept(ledger, KEY), kept(ledger, ("other", "apt_1"))
    assert not Maintenance(ledger).move(KEY, ("other", "apt_1"), JournalEntry(event="renamed"))
    assert (kept(ledger, KEY), kept(ledger, ("other", "apt_1"))) == before


# Who is at work


class Moved(Clock):
    """A host's clock that is wrong."""

    def now(self):
        return super().now() + 1e6


def test_nothing_is_renamed_while_a_facade_is_at_work(ledger, another):
    add(ledger, KEY, "in-doubt")
    there = Presence(another)
    there.announce()
    assert there.others() == []
    with pytest.raises(ConfigurationError, match=r"a facade uses this ledger \(.*process [0-9]+\)"):
        rename(ledger, "heim", "other")
    there.leave()
    assert rename(ledger, "heim", "other") == 1


def test_a_silent_process_is_gone_by_the_stores_clock_alone(ledger, another):
    another.clock = Moved()
    Presence(another).announce()
    assert len(Presence(ledger).others()) == 1
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE processes SET seen_at = seen_at - :silent"), {"silent": SILENT_AFTER - 10})
    assert len(Presence(ledger).others()) == 1
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE processes SET seen_at = seen_at - 20"))
    assert Presence(ledger).others() == []


def test_a_facade_that_runs_is_on_the_list_until_it_stops(client):
    watching = Presence(client.facade.ledger)
    reconciler = client.facade.reconciler
    original = reconciler._presence.announce
    begun = threading.Event()
    reconciler._presence.announce = lambda: (original(), begun.set())
    reconciler.start()
    try:
        assert begun.wait(60)
        assert len(watching.others()) == 1
    finally:
        reconciler.stop()
        reconciler.wait(60)
    assert watching.others() == []


def test_a_cancel_under_a_name_that_was_moved_ends_at_once(client):
    facade = client.facade
    facade.check_sources()
    rename(facade.ledger, "heim", "heim-live")
    refused = client.cancel("apt_1")
    assert (refused.status_code, refused.headers["Retry-After"] != "") == (503, True)
    assert facade.ledger.find(("heim", "apt_1")) is None


def test_no_first_claim_is_made_while_keys_are_moved(ledger):
    Maintenance(ledger).remember("heim", KnownSource(UNFINISHED, True, None))
    first = {"state": "claimed", "cancel_request": {}, "read_before": False}
    assert ledger.claim(KEY, None, first, JournalEntry(event="claim")) is None


def test_a_rename_needs_another_name_and_the_same_id_form(ledger):
    maintenance = Maintenance(ledger)
    maintenance.remember("old", KnownSource(2, True, None))
    maintenance.remember("new", KnownSource(1, True, None))
    with pytest.raises(ConfigurationError, match="old has that name already"):
        rename(ledger, "old", "old")
    add(ledger, ("new", "APT_1"), "in-doubt")
    add(ledger, ("old", "apt_9"), "in-doubt")
    with pytest.raises(ConfigurationError, match=r"in version 2 .* in version 1; .*facade ledger rekey"):
        rename(ledger, "old", "new")
    assert (maintenance.sources()["new"].id_form, ledger.find(("old", "apt_9")).state) == (1, "in-doubt")


def test_a_locked_row_of_the_list_keeps_no_process_off_it(ledger, another):
    if ledger.engine.dialect.name == "sqlite":
        pytest.skip("SQLite locks no rows")
    Presence(another).announce()
    with ledger.engine.begin() as connection:
        connection.execute(text("UPDATE processes SET seen_at = 0"))
    with another.engine.begin() as holding, pytest.MonkeyPatch.context() as patched:
        holding.execute(text("SELECT * FROM processes FOR UPDATE"))
        patched.setattr(engines, "LOCK_WAIT", 0.1)
        mine = Presence(ledger)
        mine.announce()
        assert len(Presence(another).others()) == 1
