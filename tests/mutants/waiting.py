"""Mutants of how long things last: the watch and the timers."""

from tests.mutants.mutant import of

OBSERVED = "tests/unit/test_observed_times.py"

WAITING = [
    *of(
        "facade/cancellation/observed_times.py",
        (
            "another doubt is the same doubt",
            '("state", row.key, row.attempt_number, marker)',
            '("state", row.key, marker)',
            OBSERVED,
        ),
        (
            "another write is the same write",
            "(row.state, row.changed_at)",
            "row.state",
            OBSERVED,
        ),
        (
            "a read of doubt begins the watch again",
            "None if row.state in UNRESOLVED else (row.state, row.changed_at)",
            "(row.state, row.changed_at)",
            OBSERVED,
        ),
        (
            "another due time is the same",
            '("due", row.key, row.attempt_number, row.read_due)',
            '("due", row.key, row.attempt_number)',
            OBSERVED,
        ),
        (
            "a clock that was set back counts as steady",
            "abs(offset - self._offset) > _CLOCK_STEP",
            "offset - self._offset > _CLOCK_STEP",
            OBSERVED,
        ),
        (
            "what is watched is not bounded",
            "while len(self._since) > _MAX_OBSERVATIONS:",
            "while False:",
            OBSERVED,
        ),
        (
            "what is watched is forgotten first",
            "            self._since.move_to_end(observed)\n",
            "",
            OBSERVED,
        ),
    ),
    *of(
        "facade/cancellation/timers.py",
        (
            "a lease is no longer than the write",
            "lease=seconds + LEASE_MARGIN",
            "lease=seconds / 2",
            "tests/integration/test_at_most_once.py::test_the_timers_leave_room_for_the_longest_write",
        ),
        (
            "a source puts its reads off for ever",
            "min(retry_after or 0.0, self.reads[-1])",
            "retry_after or 0.0",
            "tests/integration/test_retry_after.py::test_retry_after_delays_by_the_longest_step_at_most",
        ),
        (
            "a source that asks for time gets none",
            "least * _jitter(1.0)",
            "0.0",
            "tests/integration/test_retry_after.py::test_no_read_comes_before_retry_after_allows",
        ),
    ),
]
