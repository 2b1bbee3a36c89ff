"""The ledger in memory, which the explorer explores, and the real one on each store: whatever is done, they agree."""

from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, multiple, rule, run_state_machine_as_test
from sqlalchemy import event

from facade.cancellation.states import IN_FLIGHT, SETTLED, State
from facade.clock import Clock
from facade.errors import Unavailable
from facade.ledger.engine import connect
from facade.ledger.maintenance import Maintenance
from facade.ledger.store import AuditRecord, JournalEntry, Ledger
from facade.ledger.tables import audit, cancellations, journal
from tests.explorer.memory import MemoryLedger, Store
from tests.support.stores import store_url

KEYS = (("heim", "1"), ("heim", "2"), ("other", "1"))
ENTRY = JournalEntry(event="done", request_id="r", detail={"why": "ü"})
DONE = AuditRecord(who="x", action="cancel", outcome="cancelled")

keys = st.sampled_from(KEYS)
values = st.fixed_dictionaries(
    {"state": st.sampled_from([str(state) for state in State])},
    optional={
        "read_due": st.sampled_from([None, 500.0, 1500.0, 2500.0]),
        "read_in": st.sampled_from([None, 5.0]),
        "sending_at": st.sampled_from([None, 10.5]),
        "version": st.integers(0, 2),
        "negative_reads": st.integers(0, 3),
        "by_operator": st.booleans(),
        "read_before": st.booleans(),
        "reported": st.sampled_from([{}, {"status": "cancelled"}]),
        "response": st.sampled_from(["{}", '{"a": "ü"}']),
    },
)
names = st.sets(
    st.sampled_from(
        [
            "state",
            "attempt_number",
            "read_due",
            "version",
            "negative_reads",
            "by_operator",
            "read_before",
            "sending_at",
            "changed_at",
        ]
    )
)


class Settable(Clock):
    def __init__(self):
        self.at = 1000.0

    def now(self):
        return self.at


class Ledgers(RuleBasedStateMachine):
    """Both ledgers, and what was seen in them: pairs of the real row and the other."""

    engine = None
    seen = Bundle("seen")

    def __init__(self):
        super().__init__()
        self.clock = Settable()
        with self.engine.begin() as connection:  # type: ignore[attr-defined]  # set or patched by the test
            for table in (cancellations, journal, audit):
                connection.execute(table.delete())
        self.real = Ledger(self.engine, clock=self.clock)  # type: ignore[arg-type]  # a double, or known to be there
        self.model = MemoryLedger(Store(), self.clock)
        self.numbers = {0: 0}  # the model's attempt numbers, by the real ones

    def same(self, real, model):
        """Whether they are one row: attempt numbers differ from store to store."""
        if real is None or model is None:
            assert real is model is None
            return
        assert replace(real, attempt_number=self.numbers[real.attempt_number]) == model

    @rule(seconds=st.sampled_from([1.0, 600.0]))
    def time_passes(self, seconds):
        self.clock.at += seconds

    @rule(target=seen, key=keys)
    def find(self, key):
        pair = self.real.find(key), self.model.find(key)
        self.same(*pair)
        return multiple(pair) if pair[0] is not None else multiple()

    @rule(target=seen, key=keys, new=values)
    def claim_the_first_time(self, key, new):
        return self.claimed(key, (None, None), {"cancel_request": {}, "read_before": False, **new})

    @rule(target=seen, pair=seen, new=values)
    def claim_again(self, pair, new):
        return self.claimed(pair[0].key, pair, new)

    def claimed(self, key, pair, new):
        real, model = self.real.claim(key, pair[0], new, ENTRY), self.model.claim(key, pair[1], new, ENTRY)
        if real is not None and model is not None:
            assert real.attempt_number not in self.numbers
            self.numbers[real.attempt_number] = model.attempt_number
        self.same(real, model)
        return multiple((real, model)) if real is not None else multiple()

    @rule(pair=seen, expected=names, new=values, done=st.sampled_from([None, DONE]), flushed=st.booleans())
    def change(self, pair, expected, new, done, flushed):
        expected_of = [{name: getattr(row, name) for name in expected} for row in pair]
        changed = self.real.change(pair[0].key, expected_of[0], new, ENTRY, done, flushed=flushed)
        assert changed == self.model.change(pair[1].key, expected_of[1], new, ENTRY, done, flushed=flushed)

    @rule(pair=seen, due=st.sampled_from([700.0, 1700.0]))
    def take_due(self, pair, due):
        later = {"read_step": 1, "read_due": due, "read_in": 1.0}
        self.same(self.real.take_due(pair[0], later), self.model.take_due(pair[1], later))

    @rule(key=keys, entry=st.sampled_from([None, ENTRY]), done=st.sampled_from([None, DONE]))
    def append(self, key, entry, done):
        if entry is not None or done is not None:
            self.real.append(key, entry, done)
            self.model.append(key, entry, done)

    @rule()
    def lists(self):
        for find in (lambda one: one.due(), lambda one: one.in_flight(IN_FLIGHT)):
            pairs = zip(*(sorted(find(one), key=lambda r: r.key) for one in (self.real, self.model)), strict=True)
            for pair in pairs:
                self.same(*pair)
        for pair in zip(self.real.scheduled(("", "")), self.model.scheduled(("", "")), strict=True):
            self.same(*pair)

    @rule(age=st.sampled_from([0.0, 500.0]))
    def purge(self, age):
        before = self.clock.at - age
        deleted = Maintenance(self.real).purge([str(state) for state in SETTLED], before=before)
        assert deleted == self.model.purge(tuple(SETTLED), before=before)

    @rule(pair=seen, new=values)
    def purge_with_a_claim_in_between(self, pair, new):
        """After the rows were found, before they are deleted: SQLite lets no one in (test_maintenance.py)."""
        if self.engine.dialect.name == "sqlite":  # type: ignore[attr-defined]  # set or patched by the test
            return
        claims = []

        def claim(connection, cursor, statement, *_):
            if statement.startswith("DELETE FROM cancellations") and not claims:
                claims.append(None)
                with suppress(Unavailable):
                    claims.append(other.claim(pair[0].key, pair[0], new, ENTRY))

        other = Ledger(self.engine, clock=self.clock)  # type: ignore[arg-type]  # a double, or known to be there
        event.listen(self.engine, "before_cursor_execute", claim)
        try:
            Maintenance(self.real).purge([str(state) for state in SETTLED], before=self.clock.at)
        finally:
            event.remove(self.engine, "before_cursor_execute", claim)
        if len(claims) == 2:
            model = self.model.claim(pair[1].key, pair[1], new, ENTRY)
            if claims[1] is not None and model is not None:
                self.numbers[claims[1].attempt_number] = model.attempt_number
            self.same(claims[1], model)
        self.model.purge(tuple(SETTLED), before=self.clock.at)

    def teardown(self):
        for key in KEYS:
            self.same(self.real.find(key), self.model.find(key))
            lines = [line["event"] for line in self.real.timeline(key)]
            assert lines == [str(entry.event) for at, entry in self.model.store.journal if at == key]
            audits = [line["who"] for line in self.real.audit_records(key)]
            assert audits == [done.who for at, done in self.model.store.audits if at == key]


@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_the_ledger_in_memory_does_what_the_real_one_does(kind, tmp_path):
    with store_url(kind, tmp_path) as url:
        engine = connect(url)
        machine = type("LedgersOfThisStore", (Ledgers,), {"engine": engine})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=60,
                    stateful_step_count=25,
                    deadline=None,
                    derandomize=True,
                    database=None,
                    suppress_health_check=list(HealthCheck),
                ),
            )
        finally:
            engine.dispose()
