"""What a cancel costs on the way to PostgreSQL: round trips, connections, a distant server, a pooler in between."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from facade import SourceAdapter
from facade.app import compose
from facade.cancellation.stored_request import Requester
from facade.cancellation.timers import Timers
from facade.errors import Unavailable
from facade.ledger.engine import CONNECTIONS, connect
from facade.ledger.store import AuditRecord, JournalEntry, Ledger
from facade.plugin.contract import CancelRequest
from facade.testing.conformance.harness import Shares
from tests.support.postgresql_wire import wire
from tests.support.stores import store_url

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
        timers = Timers.for_response_within(40.0)
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
        ledger.check_writable()
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
        ledger.check_writable()
        entry = JournalEntry(event="claim", state="claimed")
        values = {"state": "claimed", "cancel_request": {}, "read_before": False}
        acts = [
            lambda: ledger.claim(KEY, None, values, entry),
            lambda: ledger.change(KEY, {}, {"state": "sending"}, entry),
            lambda: ledger.append(KEY, entry),
            lambda: ledger.append(KEY, done=AuditRecord(who="x", action="cancel", outcome="cancelled")),
        ]
        messages = [sent(act) for act in acts]
        taken = sent(lambda: ledger.take_due(ledger.find(KEY), {"read_due": 1.0}))  # type: ignore[arg-type]  # a double, or known to be there
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
            facade.ledger.check_writable()
        facade.ledger.check_writable()
        assert cancel(facade, "apt_2") == "cancelled"
        facade.ledger.engine.dispose()
