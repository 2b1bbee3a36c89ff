"""A store that the code of revision 0002 wrote is upgraded without losing or changing a record."""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from click.testing import CliRunner
from sqlalchemy import Connection, Engine, event, inspect, text
from sqlalchemy.exc import SQLAlchemyError

from facade.cancellation.states import State
from facade.cli import main
from facade.errors import ConfigurationError
from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.ledger.store import JournalEntry, Ledger
from tests.histories.postgresql import empty_schema
from tests.support.stores import POSTGRESQL, need_postgresql

STORES = Path(__file__).parent / "stores"
# Tables and what orders their rows.
TABLES = {
    "audit": "number",
    "cancellations": "source, appointment_id",
    "journal": "number",
    "processes": "id",
    "sources": "name",
}
# What revision 0003 renames: columns of a table, and values of a column.
COLUMNS = {
    "cancellations": {
        "epoch": "attempt_number",
        "wish": "cancel_request",
        "answer": "response",
        "told": "reported",
        "judged": "by_operator",
    },
    "journal": {"epoch": "attempt_number"},
}
VALUES = {
    ("cancellations", "outcome"): {"not-done": "not-executed"},
    ("audit", "outcome"): {"not-done": "not-executed"},
    ("journal", "event"): {
        "not-done": "not-executed",
        "stale-version": "version-conflict",
        "judged-cancelled": "resolved-cancelled",
        "judged-not-applied": "resolved-not-applied",
        "told": "reported",
    },
}
EVENTS = {
    *("claim", "send", "proof", "not-executed", "version-conflict", "doubt", "settle", "escalate", "undo"),
    *("resolved-cancelled", "resolved-not-applied", "repeat", "reported", "hint", "read", "revised", "unscheduled"),
    *("renamed", "rekeyed"),
}
JSON = {"detail", "wish", "told", "cancel_request", "reported"}
BOOLEANS = {"read_before", "judged", "by_operator", "readable"}

Rows = dict[str, list[dict[str, Any]]]


@contextmanager
def written() -> Iterator[sqlite3.Connection]:
    """The store of revision 0002, in memory."""
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((STORES / "0002.sql").read_text("utf-8"))
        connection.row_factory = sqlite3.Row
        yield connection


def plain(name: str, value: Any) -> Any:
    """A value as both kinds of store can be compared by."""
    if name in JSON and isinstance(value, str):
        return json.loads(value)
    return bool(value) if name in BOOLEANS else value


@pytest.fixture(scope="module")
def before() -> Rows:
    """Every row that was written."""
    with written() as store:
        return {
            table: [
                {name: plain(name, row[name]) for name in row.keys()}  # noqa: SIM118 - a Row iterates over its values
                for row in store.execute(f"SELECT * FROM {table} ORDER BY {order}")
            ]
            for table, order in TABLES.items()
        }


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A store of revision 0002 with what was written."""
    if request.param == "sqlite":
        with written() as store, closing(sqlite3.connect(tmp_path / "ledger.db")) as file:
            store.backup(file)
        yield f"sqlite:///{tmp_path / 'ledger.db'}"
        return
    need_postgresql()
    with empty_schema(POSTGRESQL) as found:
        engine = connect(found)
        with engine.begin() as connection:
            _load(connection)
        engine.dispose()
        yield found


def _load(connection: Connection) -> None:
    """Make the tables of revision 0002 in PostgreSQL and fill them."""
    config = migrate._config()
    config.attributes["connection"] = connection
    command.upgrade(config, "0002")
    with written() as store:
        for table in TABLES:
            for row in store.execute(f"SELECT * FROM {table}"):
                values = {name: bool(row[name]) if name in BOOLEANS else row[name] for name in row.keys()}  # noqa: SIM118
                names = ", ".join(values)
                connection.exec_driver_sql(
                    f"INSERT INTO {table} ({names}) VALUES ({', '.join(f'%({name})s' for name in values)})", values
                )
        last = dict(store.execute("SELECT 'audit', max(number) FROM audit").fetchall())
        last |= dict(store.execute("SELECT name, seq FROM sqlite_sequence WHERE name = 'journal'").fetchall())
        for table, number in last.items():
            connection.exec_driver_sql(f"SELECT setval(pg_get_serial_sequence('{table}', 'number'), {number})")


@pytest.fixture
def engine(url: str) -> Iterator[Engine]:
    found = connect(url)
    yield found
    found.dispose()


@pytest.fixture
def upgraded(engine: Engine) -> Engine:
    """The store at this version's revision."""
    assert migrate.upgrade(engine) == "0003"
    return engine


def rows(engine: Engine) -> Rows:
    """Every row of a store, in the same order as ``before``."""
    binary = 'COLLATE "C"' if engine.dialect.name == "postgresql" else "COLLATE BINARY"
    with engine.connect() as connection:
        return {
            table: [
                {name: plain(name, value) for name, value in row.items()}
                for row in connection.execute(
                    text(f"SELECT * FROM {table} ORDER BY {_ordered(order, binary)}")
                ).mappings()
            ]
            for table, order in TABLES.items()
        }


def _ordered(order: str, binary: str) -> str:
    return order if order == "number" else ", ".join(f"{name} {binary}" for name in order.split(", "))


def booked(appointment_id: str) -> dict[str, str]:
    """An appointment as Heim has it before it is cancelled."""
    times = {"windowStart": "2026-06-09T08:00:00Z", "windowEnd": "2026-06-09T10:00:00Z"}
    return {"id": appointment_id, "status": "scheduled", "estimatedTimeOfArrival": "2026-06-09T09:00:00Z", **times}


def run(*arguments: str) -> str:
    """What a command prints."""
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_the_store_holds_every_state_event_and_audited_outcome(before):
    assert {row["state"] for row in before["cancellations"]} == set(State)
    mapped = VALUES["journal", "event"]
    assert {mapped.get(row["event"], row["event"]) for row in before["journal"]} == EVENTS
    outcomes = {"cancelled", "not-applied", "undone", "in-doubt", "not-done", "not-found"}
    assert {row["outcome"] for row in before["audit"]} == outcomes
    assert all(before.values())


def test_no_row_is_lost_and_every_value_is_mapped(upgraded, before):
    def mapped(table: str, row: dict[str, Any]) -> dict[str, Any]:
        found = {
            COLUMNS.get(table, {}).get(name, name): VALUES.get((table, name), {}).get(value, value)
            if isinstance(value, str)
            else value
            for name, value in row.items()
        }
        stored = found.get("cancel_request")
        if stored:
            found["cancel_request"] = {"expected" if name == "stated" else name: stored[name] for name in stored}
        return found

    assert rows(upgraded) == {table: [mapped(table, row) for row in found] for table, found in before.items()}


def test_no_old_word_is_left_in_any_value_that_code_reads(upgraded):
    old = {"not-done", "stale-version", "judged-cancelled", "judged-not-applied", "told", "epoch", "wish", "stated"}
    for table, found in rows(upgraded).items():
        for row in found:
            values = {value for name, value in row.items() if name not in JSON and isinstance(value, str)}
            members = {name for value in row.values() if isinstance(value, dict) for name in value}
            assert not old & (values | members), (table, row)


def test_the_next_attempt_number_is_larger_than_any_before(upgraded, before):
    numbers = {row["epoch"] or 0 for table in ("cancellations", "journal") for row in before[table]}
    numbers |= {row["number"] for row in before["journal"]}
    values = {"state": State.CLAIMED, "cancel_request": {}, "read_before": False}
    entry = JournalEntry(event="claim", state=State.CLAIMED)
    claimed = Ledger(upgraded).claim(("heim", "apt_new"), None, values, entry)
    assert claimed is not None
    assert claimed.attempt_number > max(numbers)


def test_recorded_responses_are_kept_byte_for_byte(upgraded, before):
    ledger = Ledger(upgraded)
    for row in before["cancellations"]:
        found = ledger.find((row["source"], row["appointment_id"]))
        assert found is not None
        assert (found.response, found.version) == (row["answer"], row["version"])


def test_a_repeat_is_answered_as_by_the_code_before(upgraded, url, make):
    client = make(facade=f'store = "{url}"')
    expected = json.loads((STORES / "0002.responses.json").read_text("utf-8"))
    assert len(expected) > 5
    for appointment_id, response in expected.items():
        repeated = client.cancel(appointment_id)
        assert (repeated.status_code, repeated.headers["ETag"]) == (200, response["etag"])
        assert repeated.text == response["body"]


def test_what_may_be_retried_is_claimed_anew(upgraded, url, make, simulator):
    client = make(facade=f'store = "{url}"')
    for appointment_id in ("apt_not-applied", "apt_said-not-applied", "apt_other-version"):
        simulator.put(appointment_id, booked(appointment_id))
        assert client.cancel(appointment_id).json["status"] == "cancelled"
        assert client.cancel(appointment_id).json["status"] == "cancelled"
        assert simulator.log.count("cancel", appointment_id) == 1


def test_a_row_in_doubt_is_never_sent_again(upgraded, url, make, simulator):
    client = make(facade=f'store = "{url}"')
    for appointment_id in ("apt_in-doubt", "apt_operator", "apt_undone"):
        simulator.put(appointment_id, booked(appointment_id))
        assert client.cancel(appointment_id).json["status"] == "proposed"
        assert simulator.log.count("cancel", appointment_id) == 0


@pytest.mark.parametrize("verdict", ["cancelled", "not-applied"])
def test_an_operator_row_is_resolved_and_that_is_undone(upgraded, url, verdict):
    because = ("--because", "by phone", "--by", "ada", "--store", url)
    assert run("ledger", "resolve", "heim", "apt_operator", "--as", verdict, *because) == (
        f"heim apt_operator is {verdict} now\n"
    )
    assert "operator" in run("ledger", "resolve", "heim", "apt_operator", "--undo", *because)


def test_what_a_person_said_before_the_upgrade_is_undone(upgraded, url):
    undo = ("--undo", "--because", "wrong appointment", "--store", url)
    for appointment_id in ("apt_said-cancelled", "apt_said-not-applied"):
        assert "operator" in run("ledger", "resolve", "heim", appointment_id, *undo)
    refused = CliRunner().invoke(main, ["ledger", "resolve", "heim", "apt_said-and-told", *undo])
    assert refused.exit_code == 1


def test_the_commands_of_the_ledger_show_every_row(upgraded, url, before):
    listed = run("ledger", "list", "--store", url)
    for row in before["cancellations"]:
        assert f"{row['source']} {row['appointment_id']}" in listed
        shown = run("ledger", "show", row["source"], row["appointment_id"], "--store", url)
        assert f"{row['state']}, attempt {row['epoch']}, version {row['version']}" in shown


def test_an_upgrade_that_fails_half_way_changes_nothing(engine, before):
    def fail(connection: Any, cursor: Any, statement: str, *_: Any) -> None:
        if statement.startswith("UPDATE journal"):
            raise SQLAlchemyError("the disk is full")

    event.listen(engine, "before_cursor_execute", fail)
    with pytest.raises(ConfigurationError, match="cannot be upgraded"):
        migrate.upgrade(engine)
    event.remove(engine, "before_cursor_execute", fail)
    with engine.connect() as connection:
        assert migrate.revision(connection) == "0002"
    assert rows(engine) == before
    assert migrate.upgrade(engine) == "0003"


def test_a_postgresql_store_is_upgraded_by_a_person_only(url, engine):
    if engine.dialect.name == "sqlite":
        assert not migrate.exists(engine)
        migrate.make_ready(engine)
    else:
        with pytest.raises(ConfigurationError, match="is not at this version; run facade db upgrade"):
            migrate.make_ready(engine)
        assert run("db", "upgrade", "--store", url) == "the ledger is at revision 0003\n"
    migrate.check(engine)
    assert "attempt_number" in {column["name"] for column in inspect(engine).get_columns("journal")}


def test_a_long_migration_is_not_cut_off(url, engine, monkeypatch):
    if engine.dialect.name == "sqlite":
        pytest.skip("SQLite does not limit a statement")

    def slow(config: Any, _: str) -> None:
        config.attributes["connection"].exec_driver_sql("SELECT pg_sleep(0.3)")

    monkeypatch.setattr("facade.ledger.engine.LOCK_WAIT", 0.1)
    monkeypatch.setattr(command, "upgrade", slow)
    assert migrate.upgrade(engine) == "0002"
