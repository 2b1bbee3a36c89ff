"""Mutants of a person's verdict: which write it is for, and until when it can be taken back."""

from tests.mutants.mutant import of

RECORDS = "tests/unit/test_repository.py"
WAS = f"{RECORDS}::test_a_row_that_is_not_as_it_was_seen_is_left_as_it_is"
VERDICT = f"{RECORDS}::test_a_resolution_is_for_the_write_that_was_seen"
TAKEN_BACK = f"{RECORDS}::test_a_resolution_that_a_client_got_is_not_undone"

VERDICTS = [
    *of(
        "facade/cancellation/repository.py",
        (
            "a resolution is for whatever attempt there is",
            "(row.attempt_number, row.sending_at) == (seen.attempt_number, seen.sending_at)",
            "True",
            VERDICT,
        ),
        (
            "a verdict ignores the state",
            'expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            'expected = {"attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            VERDICT,
        ),
        (
            "a verdict ignores the attempt",
            'expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            'expected = {"state": row.state, "sending_at": row.sending_at}',
            VERDICT,
        ),
        (
            "a verdict ignores the write",
            'expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            'expected = {"state": row.state, "attempt_number": row.attempt_number}',
            VERDICT,
        ),
        (
            "what no one judged is taken back",
            "if next_state(seen.state, Event.UNDO) is None or not seen.by_operator:",
            "if next_state(seen.state, Event.UNDO) is None:",
            TAKEN_BACK,
            "the compare-and-set asks for a person's verdict too; the check only saves its round trip",
        ),
        (
            "a verdict is taken back though it was told",
            'expected = {"state": seen.state, "attempt_number": seen.attempt_number, "by_operator": True}',
            'expected = {"state": seen.state, "attempt_number": seen.attempt_number}',
            WAS,
        ),
        (
            "a verdict is taken back from another attempt",
            'expected = {"state": seen.state, "attempt_number": seen.attempt_number, "by_operator": True}',
            'expected = {"state": seen.state, "by_operator": True}',
            WAS,
        ),
        (
            "a verdict is told and can be taken back",
            "if row.by_operator and row.state == State.CANCELLED:",
            "if False:",
            TAKEN_BACK,
        ),
        (
            "a verdict that was taken back is told",
            "if now is None or now.state != State.CANCELLED or now.by_operator:",
            "if False:",
            TAKEN_BACK,
        ),
    ),
]
