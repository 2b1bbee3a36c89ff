"""Mutants of the transitions: what a row must be like for it to be changed, and what a change writes."""

# ruff: noqa: E501 - a guard is quoted as it is written

from tests.mutants.mutant import of

RECORDS = "tests/unit/test_repository.py"
STATES = "tests/unit/test_states.py"
OWNER = '{"state": owned.state, "attempt_number": owned.attempt_number}'
WAS = f"{RECORDS}::test_a_row_that_is_not_as_it_was_seen_is_left_as_it_is"
LAST = f"{RECORDS}::test_what_was_recorded_survives_a_power_cut"
CLAIMED = f"{RECORDS}::test_a_new_claim_keeps_nothing_of_the_attempt_before"

TRANSITIONS = [
    *of(
        "facade/cancellation/states.py",
        (
            "doubt may be claimed",
            "    (State.NOT_APPLIED, Event.CLAIM): State.CLAIMED,\n",
            "    (State.NOT_APPLIED, Event.CLAIM): State.CLAIMED,\n    (State.IN_DOUBT, Event.CLAIM): State.CLAIMED,\n",
            STATES,
        ),
        (
            "cancelled may be refused",
            "    (State.SENDING, Event.VERSION_CONFLICT): State.CLAIMED,\n",
            "    (State.SENDING, Event.VERSION_CONFLICT): State.CLAIMED,\n    (State.CANCELLED, Event.NOT_EXECUTED): State.REFUSED,\n",
            STATES,
        ),
    ),
    *of(
        "facade/cancellation/repository.py",
        ("an owner's own transition ignores the state", OWNER, '{"attempt_number": owned.attempt_number}', WAS),
        ("an owner's own transition ignores the attempt", OWNER, '{"state": owned.state}', WAS),
        (
            "an owner's own transition is not flushed",
            "done = self._ledger.change(owned.key, expected, changed, entry)",
            "done = self._ledger.change(owned.key, expected, changed, entry, flushed=False)",
            LAST,
        ),
        (
            "sending does not say since when",
            '"sending_at": self.clock.now(), **facts}',
            '"sending_at": None, **facts}',
            f"{RECORDS}::test_a_write_that_may_have_left_says_since_when",
        ),
        (
            "a claim keeps the time of the write before",
            '            "sending_at": None,\n            "doubt_since": None,\n',
            '            "doubt_since": None,\n',
            CLAIMED,
        ),
        (
            "a claim keeps an operator's resolution",
            '            "by_operator": False,\n        }\n',
            "        }\n",
            CLAIMED,
        ),
        (
            "evidence is fenced by the attempt",
            'detail={"by": by}, fenced=False)',
            'detail={"by": by})',
            f"{RECORDS}::test_evidence_is_recorded_whoever_claims_now",
        ),
        (
            "an outcome ignores the attempt that was seen",
            "while row is not None and (row.attempt_number == seen.attempt_number or not fenced):",
            "while row is not None:",
            f"{RECORDS}::test_an_outcome_is_of_its_own_attempt",
        ),
        (
            "an outcome ignores the state",
            'expected = {"state": row.state, "attempt_number": row.attempt_number}\n            if next_state',
            'expected = {"attempt_number": row.attempt_number}\n            if next_state',
            f"{RECORDS}::test_an_outcome_never_overwrites_what_another_recorded",
        ),
        (
            "an outcome ignores the attempt in the store",
            'expected = {"state": row.state, "attempt_number": row.attempt_number}\n            if next_state',
            'expected = {"state": row.state}\n            if next_state',
            f"{RECORDS}::test_an_outcome_is_of_its_own_attempt",
        ),
        (
            "a change is not flushed",
            'return self._ledger.change(seen.key, expected, {**values, "state": state}, entry, audit)',
            'return self._ledger.change(seen.key, expected, {**values, "state": state}, entry, audit, flushed=False)',
            LAST,
        ),
        (
            "a new version ignores the state",
            'expected = {"state": State.CANCELLED, "version"',
            'expected = {"version"',
            WAS,
        ),
        (
            "a new version ignores the version",
            '"version": seen.version, "read_due": seen.read_due}',
            '"read_due": seen.read_due}',
            WAS,
        ),
        (
            "a new version ignores a hint",
            '"version": seen.version, "read_due": seen.read_due}',
            '"version": seen.version}',
            WAS,
        ),
        (
            "a claim is given up whatever became of it",
            'expected = {"state": State.CLAIMED, "attempt_number": seen.attempt_number, "changed_at": seen.changed_at}',
            'expected = {"attempt_number": seen.attempt_number, "changed_at": seen.changed_at}',
            WAS,
        ),
        (
            "another attempt's claim is given up",
            'expected = {"state": State.CLAIMED, "attempt_number": seen.attempt_number, "changed_at": seen.changed_at}',
            'expected = {"state": State.CLAIMED, "changed_at": seen.changed_at}',
            WAS,
        ),
        (
            "a claim made again after a stale version is given up",
            'expected = {"state": State.CLAIMED, "attempt_number": seen.attempt_number, "changed_at": seen.changed_at}',
            'expected = {"state": State.CLAIMED, "attempt_number": seen.attempt_number}',
            WAS,
        ),
        (
            "a read ignores the state",
            '("state", "attempt_number", "negative_reads", "read_due")',
            '("attempt_number", "negative_reads", "read_due")',
            WAS,
        ),
        (
            "a read ignores the attempt",
            '("state", "attempt_number", "negative_reads", "read_due")',
            '("state", "negative_reads", "read_due")',
            WAS,
        ),
        (
            "two reads count as one",
            '("state", "attempt_number", "negative_reads", "read_due")',
            '("state", "attempt_number", "read_due")',
            WAS,
        ),
        (
            "a read undoes a hint",
            '("state", "attempt_number", "negative_reads", "read_due")',
            '("state", "attempt_number", "negative_reads")',
            WAS,
        ),
        (
            "a hint ignores the state",
            'expected = {"state": seen.state, "attempt_number": seen.attempt_number, "read_due": seen.read_due}',
            'expected = {"attempt_number": seen.attempt_number, "read_due": seen.read_due}',
            WAS,
        ),
        (
            "a hint to what is in flight schedules a read",
            "if seen.state in IN_FLIGHT or (",
            "if (",
            f"{RECORDS}::test_a_hint_schedules_nothing_while_a_read_is_due",
        ),
        (
            "every hint is a read",
            "seen.read_due is not None and seen.read_due <= due",
            "False",
            f"{RECORDS}::test_a_hint_schedules_nothing_while_a_read_is_due",
        ),
        (
            "a row whose read ends the process does not back off",
            "step = seen.read_step + 1",
            "step = seen.read_step",
            f"{RECORDS}::test_each_read_that_is_taken_delays_the_next_one_further",
        ),
        (
            "a taken read is not held",
            "max(self._timers.hold, self._timers.read_after(step))",
            "self._timers.read_after(step)",
            f"{RECORDS}::test_each_read_that_is_taken_delays_the_next_one_further",
        ),
        (
            "a lease is as long as a silence",
            "return self.observed.in_state(row) >= self._timers.lease",
            "return self.observed.in_state(row) >= self._timers.sending",
            f"{RECORDS}::test_an_owner_has_the_whole_lease_and_the_whole_silence",
        ),
        (
            "a write is in doubt at once",
            "return self.observed.in_state(row) >= self._timers.sending",
            "return True",
            f"{RECORDS}::test_an_owner_has_the_whole_lease_and_the_whole_silence",
        ),
    ),
]
