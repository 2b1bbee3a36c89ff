"""What a cancel costs on the way to PostgreSQL: round trips, connections, a distant server, a pooler in between."""

import shutil
import socket
import subprocess
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace

import pytest
from sqlalchemy import create_engine, make_url

from facade import SourceAdapter
from facade.app import compose
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.errors import Unavailable
from facade.ledger import migrate
from facade.ledger.engine import CONNECTIONS, connect
from facade.ledger.store import AuditRecord, JournalEntry, Ledger
from facade.plugin.contract import CancelRequest
from facade.testing.conformance.harness import Shares
from tests.support.postgresql_wire import wire
from tests.support.stores import POSTGRESQL, need_postgresql, store_url

KEY = ("heim", "apt_1")
MOST = 8  # round trips of one cancel, as docs/reference/ledger.md says


class Calm(SourceAdapter):
    """A source without network."""

    def __init__(self):
        self.cancelled = set()
        self.writes = 0

    def read(self, appointment_id):
        return {"id": appointment_id, "status": "cancelled" if appointment_id in self.cancelled else "booked"}

    def cancel(self, request, current, permit):
        permit()
        self.writes += 1
        self.cancelled.add(request.appointment_id)
        return self.read(request.appointment_id)


@pytest.fixture
def before(make):
    """A facade on any store."""
    built = make().facade

    def build(url, budget=None):
        source = replace(built.sources["heim"], adapter=Calm())
        ledger = Ledger(connect(url))
        timers = Timers.for_answers_within(40.0)
        return compose(built.config, {"heim": source}, ledger, timers, budget or Shares())

    return build


def cancel(facade, appointment_id="apt_1"):
    source = facade.sources["heim"]
    return facade.cancellations.cancel(
        source, CancelRequest(appointment_id=appointment_id), Requester("x", "r")
    ).outcome


def counted(found, act):
    before = len(found.messages)
    result = act()
    assert all(kind == b"Q" for kind, _ in found.messages[before:])  # one message, one answer
    return result, len(found.messages) - before


def test_a_cancel_makes_four_round_trips_and_a_repeat_two(tmp_path, before):
    with store_url("postgresql", tmp_path) as url, wire(url) as (found, through):
        facade = before(through)
        cancel(facade, "apt_0")  # connects
        outcome, trips = counted(found, lambda: cancel(facade))
        assert outcome == "cancelled"
        assert trips == 4 <= MOST
        outcome, trips = counted(found, lambda: cancel(facade))
        assert (outcome, trips) == ("cancelled", 2)
        facade.ledger.engine.dispose()


def test_an_idle_reconciler_makes_two_round_trips_a_tick(tmp_path, before):
    with store_url("postgresql", tmp_path) as url, wire(url) as (found, through):
        facade = before(through)
        cancel(facade)
        facade.reconciler.tick(facade.sources["heim"])  # the first one sweeps
        assert counted(found, lambda: facade.reconciler.tick(facade.sources["heim"])) == (False, 2)
        facade.ledger.engine.dispose()


def test_a_server_a_tenth_of_a_second_away_only_takes_longer(tmp_path, before):
    with store_url("postgresql", tmp_path) as url, wire(url) as (found, through):
        facade = before(through)
        cancel(facade, "apt_0")
        found.delay = 0.1
        assert cancel(facade) == "cancelled"
        facade.ledger.engine.dispose()


def test_no_setting_outlives_its_transaction(tmp_path):
    with store_url("postgresql", tmp_path) as url:
        engine = connect(url, pool_size=1)
        ledger = Ledger(engine)
        ledger.check()
        names = ("lock_timeout", "statement_timeout", "synchronous_commit", "idle_in_transaction_session_timeout")
        with engine.raw_connection() as raw:
            cursor = raw.driver_connection.cursor()
            found = [cursor.execute(f"SHOW {name}").fetchone()[0] for name in names]
            cursor.execute("RESET ALL")
            assert found == [cursor.execute(f"SHOW {name}").fetchone()[0] for name in names]
        engine.dispose()


def test_what_must_last_is_flushed_even_if_turned_off(tmp_path):
    with store_url("postgresql", tmp_path) as url, wire(url) as (found, through):
        engine = connect(through)
        ledger = Ledger(engine)

        def sent(act):
            before = len(found.messages)
            act()
            return found.messages[-1][1].decode() if len(found.messages) > before else ""

        on, off = "SELECT set_config('synchronous_commit', 'on', true) WHERE", "SET LOCAL synchronous_commit = off"
        ledger.check()
        entry = JournalEntry(event="claim", state="claimed")
        values = {"state": "claimed", "cancel_request": {}, "read_before": False}
        acts = [
            lambda: ledger.claim(KEY, None, values, entry),
            lambda: ledger.change(KEY, {}, {"state": "sending"}, entry),
            lambda: ledger.note(KEY, entry),
            lambda: ledger.note(KEY, done=AuditRecord(who="x", action="cancel", outcome="cancelled")),
        ]
        messages = [sent(act) for act in acts]
        taken = sent(lambda: ledger.take_due(ledger.find(KEY), {"read_due": 1.0}))
        engine.dispose()
    assert all(on in message and off not in message for message in messages)
    assert off in taken
    assert on not in taken


def test_no_more_connections_are_open_than_are_documented(tmp_path):
    with store_url("postgresql", tmp_path) as url, wire(url) as (found, through):
        ledger = Ledger(connect(through))
        with ThreadPoolExecutor(3 * CONNECTIONS) as pool:
            list(pool.map(lambda n: ledger.find(("heim", str(n))), range(20 * CONNECTIONS)))
        assert found.connections <= CONNECTIONS
        ledger.engine.dispose()


def test_cut_connections_cost_one_failure_at_most_and_no_read(tmp_path, before):
    with store_url("postgresql", tmp_path) as url, wire(url) as (found, through):
        facade = before(through)
        assert cancel(facade) == "cancelled"
        found.cut()
        assert facade.ledger.find(("heim", "apt_1")).state == "cancelled"
        found.cut()
        with pytest.raises(Unavailable):
            facade.ledger.check()
        facade.ledger.check()
        assert cancel(facade, "apt_2") == "cancelled"
        facade.ledger.engine.dispose()


# A pooler


@contextmanager
def pgbouncer(folder):
    """A pooler in transaction mode in front of a database of its own; each transaction may get another connection."""
    executable = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
    if not shutil.which(executable):
        pytest.skip("pgbouncer is not installed here; apt-get install pgbouncer")
    need_postgresql()
    parsed = make_url(POSTGRESQL)
    name = f"facade_{uuid.uuid4().hex[:12]}"
    admin = create_engine(POSTGRESQL, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        user = connection.exec_driver_sql("SELECT current_user").scalar()
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (folder / "users.txt").write_text(f'"{user}" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n{name} = host={parsed.host or '127.0.0.1'} port={parsed.port or 5432} user={user}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nauth_type = any\npool_mode = transaction\n"
        f"default_pool_size = 4\nserver_round_robin = 1\nlogfile = {folder / 'log'}\nunix_socket_dir =\n"
    )
    command = [executable, *(["-u", "nobody"] if user == "root" else []), str(folder / "pgbouncer.ini")]
    folder.chmod(0o777)
    for parent in folder.parents[:3]:
        parent.chmod(parent.stat().st_mode | 0o055)
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        ends_at = time.monotonic() + 60
        while not _listens(port):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < ends_at
            time.sleep(0.02)
        yield f"postgresql+psycopg://{user}@127.0.0.1:{port}/{name}"
    finally:
        process.terminate()
        process.wait(60)
        with admin.connect() as connection:
            connection.exec_driver_sql(f"DROP DATABASE {name} WITH (FORCE)")
        admin.dispose()


def _listens(port):
    with socket.socket() as connection:
        return connection.connect_ex(("127.0.0.1", port)) == 0


def test_behind_a_transaction_pooler_each_cancel_is_made_once(tmp_path, before):
    with pgbouncer(tmp_path) as url:
        engine = connect(url)
        migrate.upgrade(engine)
        engine.dispose()
        facades = [before(url) for _ in range(2)]
        adapter = facades[0].sources["heim"].adapter
        facades[1].sources["heim"].adapter.__dict__ = adapter.__dict__  # one source behind both
        start = threading.Barrier(8, timeout=60)

        def work(n):
            start.wait()
            return [cancel(facades[n % 2], f"apt_{number}") for number in range(10)]

        with ThreadPoolExecutor(8) as pool:
            assert {outcome for outcomes in pool.map(work, range(8)) for outcome in outcomes} == {"cancelled"}
        assert adapter.writes == 10
        for facade in facades:
            facade.ledger.engine.dispose()
