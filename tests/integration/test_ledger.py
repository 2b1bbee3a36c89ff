"""The ledger on each store: compare-and-set, one transaction a transition, and what happens without a store."""

import contextlib
import sqlite3
import threading
from dataclasses import replace

import pytest
from sqlalchemy import inspect, text

from facade.cancellation.states import IN_FLIGHT
from facade.clock import Clock
from facade.errors import ConfigurationError, Unavailable
from facade.ledger import engine as engines
from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.ledger.maintenance import KnownSource, Maintenance
from facade.ledger.store import AuditRecord, JournalEntry, Ledger
from facade.ledger.tables import ROW_FORMAT, cancellations, metadata
from tests.support.process import eventually
from tests.support.stores import store_url
from tests.support.waiting import LIMIT, join

KEY = ("heim", "apt_1")
FIRST = {"state": "claimed", "cancel_request": {"text": "ü"}, "read_before": False}
CLAIM = JournalEntry(event="claim", state="claimed", request_id="r-1", detail={"codes": []})


class Still(Clock):
    """A clock that stands where it is put."""

    at = 1000.0

    def now(self):
        return self.at


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    with store_url(request.param, tmp_path) as found:
        yield found


@pytest.fixture
def ledger(url):
    engine = connect(url)
    yield Ledger(engine, clock=Still())
    engine.dispose()


def test_a_row_is_created_once_and_comes_back_as_it_was_given(ledger):
    created = ledger.claim(KEY, None, FIRST, CLAIM)
    assert ledger.claim(KEY, None, FIRST, CLAIM) is None
    assert ledger.find(KEY) == created
    assert (created.state, created.version, created.cancel_request) == ("claimed", 0, {"text": "ü"})
    assert ledger.find(("heim", "apt_2")) is None
    assert [line["event"] for line in ledger.timeline(KEY)] == ["claim"]


def test_a_change_needs_the_expected_row_and_is_journalled(ledger):
    ledger.claim(KEY, None, FIRST, CLAIM)
    entry = JournalEntry(event="send", state="sending", attempt_number=1)
    done = AuditRecord(who="scheduler", action="cancel", outcome="cancelled", request_id="r-1")
    assert not ledger.change(KEY, {"state": "sending"}, {"state": "cancelled"}, entry, done)
    assert not ledger.change(KEY, {"state": "claimed", "attempt_number": 2}, {"state": "cancelled"}, entry, done)
    assert ledger.audit_records(KEY) == []
    assert ledger.change(
        KEY, {"state": "claimed", "read_due": None}, {"state": "sending", "read_due": 3.5}, entry, done
    )
    assert (ledger.find(KEY).state, ledger.find(KEY).read_due) == ("sending", 3.5)
    assert [line["event"] for line in ledger.timeline(KEY)] == ["claim", "send"]
    assert [(line["who"], line["outcome"]) for line in ledger.audit_records(KEY)] == [("scheduler", "cancelled")]


def test_a_claim_needs_the_row_to_be_as_it_was_seen(ledger):
    row = ledger.claim(KEY, None, {**FIRST, "state": "refused"}, CLAIM)
    for other in (replace(row, state="not-applied"), replace(row, attempt_number=row.attempt_number + 1)):
        assert ledger.claim(KEY, other, {"state": "claimed"}, CLAIM) is None
    assert ledger.find(KEY) == row
    assert len(ledger.timeline(KEY)) == 1


def test_a_claim_and_a_change_say_when(ledger):
    assert ledger.claim(KEY, None, FIRST, CLAIM).changed_at == ledger.find(KEY).changed_at == 1000.0
    ledger.clock.at = 2000.0
    assert ledger.change(KEY, {}, {"state": "refused"}, CLAIM)
    assert ledger.find(KEY).changed_at == 2000.0
    ledger.clock.at = 3000.0
    assert ledger.claim(KEY, ledger.find(KEY), {"state": "claimed"}, CLAIM).changed_at == 3000.0
    assert [line["at"] for line in ledger.timeline(KEY)] == [1000.0, 2000.0, 3000.0]


def test_a_broken_transaction_leaves_no_change_and_no_journal(url):
    def crash(_):
        raise KeyboardInterrupt

    engine = connect(url)
    Ledger(engine).claim(KEY, None, FIRST, CLAIM)
    broken = Ledger(engine, crash_point=crash)
    with pytest.raises(KeyboardInterrupt):
        broken.change(KEY, {"state": "claimed"}, {"state": "sending"}, CLAIM)
    assert Ledger(engine).find(KEY).state == "claimed"
    assert len(Ledger(engine).timeline(KEY)) == 1
    engine.dispose()


def test_of_many_who_claim_at_once_one_wins(ledger):
    start, won = threading.Barrier(8, timeout=LIMIT), []

    def claim():
        start.wait()
        if (row := ledger.claim(KEY, None, FIRST, CLAIM)) is not None:
            won.append(row)

    threads = [threading.Thread(target=claim) for _ in range(8)]
    for thread in threads:
        thread.start()
    join(*threads)
    assert won == [ledger.find(KEY)]
    assert len(ledger.timeline(KEY)) == 1


def test_an_attempt_number_is_never_given_twice(ledger):
    numbers = []
    for _ in range(3):
        row = ledger.claim(KEY, None, {**FIRST, "state": "refused"}, CLAIM)
        again = ledger.claim(KEY, row, {"state": "refused"}, CLAIM)
        assert ledger.claim(KEY, row, {"state": "refused"}, CLAIM) is None  # not as it was seen
        numbers += [row.attempt_number, again.attempt_number, ledger.claim(("heim", "apt_2"), None, FIRST, CLAIM)]
        numbers[-1] = numbers[-1].attempt_number if numbers[-1] else None
        assert [line["attempt_number"] for line in ledger.timeline(KEY)] == [row.attempt_number, again.attempt_number]
        ledger.clock.at += 1.0
        assert Maintenance(ledger).purge(["refused"], before=ledger.clock.at) == 1
    numbers = [number for number in numbers if number is not None]
    assert numbers == sorted(set(numbers))


def test_a_renamed_sources_old_name_takes_no_claim(ledger):
    Maintenance(ledger).remember("heim", KnownSource(0, True, "heim-live"))
    assert ledger.claim(KEY, None, FIRST, CLAIM) is None
    assert ledger.timeline(KEY) == []
    assert ledger.claim(("heim-live", "apt_1"), None, FIRST, CLAIM) is not None


def test_a_due_row_is_taken_by_one(ledger):
    ledger.claim(KEY, None, {**FIRST, "state": "in-doubt", "read_due": 999.0}, CLAIM)
    (due,) = ledger.due()
    assert due == ledger.find(KEY)
    later = {"read_due": 1030.0, "read_step": 1}
    taken = ledger.take_due(due, later)
    assert (taken.read_due, taken.read_step) == (1030.0, 1)
    assert ledger.find(KEY) == taken
    assert ledger.take_due(due, later) is None
    assert ledger.due() == []


def test_a_source_with_very_many_due_rows_hides_no_others(ledger):
    for n in range(20):
        ledger.claim(("busy", str(n)), None, {**FIRST, "state": "in-doubt", "read_due": 1.0 + n}, CLAIM)
    for source in ("another", "heim", "last"):
        ledger.claim((source, "1"), None, {**FIRST, "state": "in-doubt", "read_due": 900.0}, CLAIM)
    ledger.claim(("ahead", "1"), None, {**FIRST, "state": "in-doubt", "read_due": 1e9}, CLAIM)
    ledger.claim(("settled", "1"), None, FIRST, CLAIM)
    found = [row.key for row in ledger.due()]
    assert found[:3] == [("busy", "0"), ("busy", "1"), ("busy", "2")]
    assert sorted(found[3:]) == [("another", "1"), ("heim", "1"), ("last", "1")]


def test_scheduled_rows_come_in_turn_without_their_responses(ledger):
    for source, name in (("b", "1"), ("a", "2"), ("a", "1"), ("c", "1")):
        values = {**FIRST, "state": "in-doubt", "read_due": 1e9, "response": "{}"}
        ledger.claim((source, name), None, values, CLAIM)
    ledger.claim(("a", "3"), None, FIRST, CLAIM)
    assert [row.key for row in ledger.scheduled(("", ""), limit=3)] == [("a", "1"), ("a", "2"), ("b", "1")]
    (last,) = ledger.scheduled(("b", "1"))
    assert (last.key, last.response) == (("c", "1"), None)


def test_of_over_ten_thousand_rows_in_doubt_none_is_left_out(ledger):
    columns = "source, appointment_id, format, state, attempt_number, read_before, cancel_request, changed_at"
    columns += ", read_due, read_in"
    values = "'heim', :id, 1, 'in-doubt', :attempt_number, :read, '{}', 1.0, 1e9, 60.0"
    rows = [{"id": f"{number:06}", "attempt_number": number, "read": False} for number in range(10_500)]
    with ledger.engine.begin() as connection:
        connection.execute(text(f"INSERT INTO cancellations ({columns}) VALUES ({values})"), rows)
    seen, at = set(), ("", "")
    while page := ledger.scheduled(at):
        seen |= {row.appointment_id for row in page}
        at = page[-1].key
    assert seen == {row["id"] for row in rows}
    assert len(ledger.in_states(["in-doubt"], limit=20_000)) == len(rows)


def test_in_flight_rows_are_found_and_no_others(ledger):
    for state in ("claimed", "sending", "in-doubt", "cancelled", "refused"):
        ledger.claim(("heim", state), None, {**FIRST, "state": state}, CLAIM)
    assert {row.state for row in ledger.in_flight(IN_FLIGHT)} == {"claimed", "sending"}


def test_an_orphaned_lock_on_a_row_hides_no_other_row(tmp_path):
    with store_url("postgresql", tmp_path) as url:
        engine = connect(url)
        ledger = Ledger(engine, clock=Still())
        for n in range(5):
            ledger.claim(("heim", str(n)), None, {**FIRST, "state": "in-doubt", "read_due": 1.0 + n}, CLAIM)
        with engine.connect() as orphan:
            orphan.execute(text("UPDATE cancellations SET state = state WHERE appointment_id IN ('0', '1', '2')"))
            assert [row.appointment_id for row in ledger.due()] == ["3", "4"]
            orphan.rollback()
        assert [row.appointment_id for row in ledger.due()] == ["0", "1", "2"]
        engine.dispose()


def test_a_row_of_a_newer_version_is_left_untouched(ledger):
    ledger.claim(KEY, None, FIRST, CLAIM)
    with ledger.engine.begin() as connection:
        connection.execute(cancellations.update().values(format=ROW_FORMAT + 1, read_due=1.0))
    with pytest.raises(Unavailable, match="newer version"):
        ledger.find(KEY)
    assert not ledger.change(KEY, {"state": "claimed"}, {"state": "sending"}, CLAIM)
    assert ledger.due() == ledger.in_flight(IN_FLIGHT) == ledger.scheduled(("", "")) == []
    assert ledger.in_states(["claimed"]) == []
    assert Maintenance(ledger).purge(["claimed"], before=1e12) == 0


def test_a_purge_deletes_old_settled_rows_completely(ledger):
    done = AuditRecord(who="x", action="cancel", outcome="cancelled")
    for name, state in (("old", "cancelled"), ("open", "in-doubt")):
        ledger.claim(("heim", name), None, {**FIRST, "state": state}, CLAIM)
        ledger.append(("heim", name), done=done)
    ledger.clock.at = 2000.0
    ledger.claim(("heim", "young"), None, {**FIRST, "state": "cancelled"}, CLAIM)
    assert Maintenance(ledger).purge(["cancelled", "refused"], before=1500.0) == 1
    assert ledger.find(("heim", "old")) is None
    assert ledger.timeline(("heim", "old")) == []
    assert ledger.audit_records(("heim", "old")) == []
    assert ledger.find(("heim", "open")) is not None
    assert ledger.find(("heim", "young")) is not None


def test_the_migrations_make_the_tables_that_the_code_has(url):
    engine = connect(url)
    found = inspect(engine)
    schema = found.default_schema_name if url.startswith("sqlite") else None
    for table in metadata.sorted_tables:
        columns = {column["name"]: column["nullable"] for column in found.get_columns(table.name, schema=schema)}
        assert columns == {column.name: column.nullable for column in table.columns}
        indexes = {index["name"] for index in found.get_indexes(table.name, schema=schema)}
        assert {index.name for index in table.indexes} <= indexes
    assert migrate.upgrade(engine) == "0003"
    migrate.check(engine)
    engine.dispose()


@pytest.mark.parametrize("use", [migrate.check, migrate.exists, migrate.make_ready, migrate.upgrade])
def test_a_store_of_a_newer_version_is_refused_by_every_command(url, use):
    engine = connect(url)
    with engine.begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ConfigurationError, match="was upgraded by a newer version; upgrade this facade"):
        use(engine)
    engine.dispose()


def test_many_who_upgrade_at_once_make_one_ledger(tmp_path):
    url = f"sqlite:///{tmp_path / 'new' / 'ledger.db'}"
    start, found = threading.Barrier(4, timeout=LIMIT), []

    def upgrade():
        engine = connect(url)
        start.wait()
        found.append(migrate.upgrade(engine))
        engine.dispose()

    threads = [threading.Thread(target=upgrade) for _ in range(4)]
    for thread in threads:
        thread.start()
    join(*threads)
    assert found == ["0003"] * 4


def test_who_upgrades_a_postgresql_waits_for_another_who_does(tmp_path, monkeypatch):
    with store_url("postgresql", tmp_path) as url:
        engine, other = connect(url), connect(url)
        with other.connect() as holder:
            holder.exec_driver_sql(f"SELECT pg_advisory_xact_lock({migrate._LOCK})")
            # Its wait for a lock is limited like that of everybody else.
            with monkeypatch.context() as patched:
                patched.setattr(engines, "LOCK_WAIT", 1.0)
                with pytest.raises(ConfigurationError, match="cannot be upgraded"):
                    migrate.upgrade(engine)
            holder.rollback()
        assert migrate.upgrade(engine) == migrate.upgrade(other)
        for each in (engine, other):
            each.dispose()


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("not a url", "not a database URL"),
        ("mysql://x/y", "SQLite or PostgreSQL"),
        ("postgresql://x/y", "postgresql\\+psycopg"),
        ("sqlite://", "must name a file"),
        ("sqlite:///:memory:", "must name a file"),
    ],
)
def test_another_store_is_refused_with_the_next_step(url, word):
    with pytest.raises(ConfigurationError, match=word):
        connect(url)


def test_sqlite_runs_in_wal_mode_and_flushes_what_must_last(tmp_path):
    with store_url("sqlite", tmp_path) as url:
        engine = connect(url, pool_size=1)
        ledger = Ledger(engine)
        said = []
        with engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            connection.connection.driver_connection.set_trace_callback(said.append)

        def flushed(act):
            said.clear()
            act()
            (level,) = [line for line in said if line.startswith("PRAGMA synchronous")]
            assert said.index(level) < said.index("BEGIN IMMEDIATE") < said.index("COMMIT")
            return level.endswith("FULL")

        assert not flushed(lambda: ledger.claim(KEY, None, FIRST, CLAIM))
        assert flushed(lambda: ledger.change(KEY, {}, {"state": "sending"}, CLAIM))
        assert flushed(lambda: ledger.append(KEY, CLAIM))
        assert flushed(lambda: ledger.append(KEY, done=AuditRecord(who="x", action="cancel", outcome="cancelled")))
        assert flushed(lambda: Maintenance(ledger).purge(["sending"], before=1e12))
        engine.dispose()


# Without a store


def unavailable(ledger):
    with pytest.raises(Unavailable):
        ledger.check_writable()
    with pytest.raises(Unavailable):
        ledger.claim(("heim", "another"), None, FIRST, CLAIM)
    return True


def test_a_locked_store_is_unavailable_after_a_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT", 0.05)
    with store_url("sqlite", tmp_path) as url:
        engine = connect(url)
        with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            assert unavailable(Ledger(engine))
        Ledger(engine).check_writable()
        engine.dispose()


def test_waiting_for_a_turn_to_write_ends_after_a_moment(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT", 0.05)
    with store_url("sqlite", tmp_path) as url:
        engine = connect(url)
        ledger, found = Ledger(engine), []

        def wait_for_it():
            found.append(unavailable(ledger))

        with ledger._backend.write_turn():
            threading.Thread(target=wait_for_it, daemon=True).start()
            eventually(lambda: found)
        ledger.check_writable()
        engine.dispose()


def test_postgresql_waits_for_no_lock_and_no_statement_for_long(tmp_path, monkeypatch):
    with store_url("postgresql", tmp_path) as url:
        engine, other = connect(url), connect(url)
        ledger = Ledger(engine)
        ledger.claim(KEY, None, FIRST, CLAIM)
        with other.connect() as holder:
            holder.execute(text("UPDATE cancellations SET state = state"))
            with pytest.raises(Unavailable) as raised:
                ledger.change(KEY, {"state": "claimed"}, {"state": "sending"}, CLAIM)
            holder.rollback()
        assert type(raised.value.__cause__).__name__ == "LockNotAvailable"
        with pytest.raises(Unavailable) as raised:
            ledger._backend.update("SELECT 1 FROM pg_sleep(30)", {})
        assert type(raised.value.__cause__).__name__ == "QueryCanceled"
        assert ledger.find(KEY).state == "claimed"
        for each in (engine, other):
            each.dispose()


def test_a_transaction_of_a_maintainers_has_its_limits_too(tmp_path, monkeypatch):
    monkeypatch.setattr(engines, "LOCK_WAIT", 1.0)
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    with store_url("postgresql", tmp_path) as url:
        engine = connect(url)
        with Ledger(engine).writing() as connection:
            assert [connection.exec_driver_sql(f"SHOW {name}").scalar() for name in names] == ["1s", "2s", "10s"]
        engine.dispose()


def test_a_store_without_tables_or_no_database_is_unavailable(tmp_path):
    empty = connect(f"sqlite:///{tmp_path / 'empty.db'}")
    assert unavailable(Ledger(empty))
    with pytest.raises(ConfigurationError, match="facade db upgrade"):
        migrate.check(empty)
    (tmp_path / "text.db").write_text("no database" * 100)
    broken = connect(f"sqlite:///{tmp_path / 'text.db'}")
    assert unavailable(Ledger(broken))
    with pytest.raises(ConfigurationError, match="cannot be upgraded"):
        migrate.upgrade(broken)
    for engine in (empty, broken):
        engine.dispose()


def test_a_full_store_is_unavailable_and_can_still_be_read(tmp_path):
    with store_url("sqlite", tmp_path) as url:
        engine = connect(url)
        ledger = Ledger(engine)
        ledger.claim(KEY, None, FIRST, CLAIM)
        with engine.connect() as connection:
            pages = connection.exec_driver_sql("PRAGMA page_count").scalar()
            connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
            connection.rollback()
        big = {**FIRST, "cancel_request": {"text": "x" * 100_000}}
        with pytest.raises(Unavailable):
            ledger.claim(("heim", "big"), None, big, CLAIM)
        assert ledger.find(KEY).state == "claimed"
        engine.dispose()


def test_a_postgresql_that_is_gone_is_unavailable():
    engine = connect("postgresql+psycopg://127.0.0.1:1/nowhere")
    assert unavailable(Ledger(engine))
    with pytest.raises(ConfigurationError, match="cannot be opened"):
        migrate.check(engine)
    engine.dispose()


def test_postgresql_connections_that_were_cut_are_replaced(tmp_path):
    with store_url("postgresql", tmp_path) as url:
        engine = connect(f"{url}&application_name=cut-off")
        ledger = Ledger(engine)
        ledger.claim(KEY, None, FIRST, CLAIM)
        other = connect(url)
        with other.begin() as connection:
            query = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'cut-off'"
            connection.execute(text(query))
        assert ledger.find(KEY) is not None
        for each in (engine, other):
            each.dispose()
