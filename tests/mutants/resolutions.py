"""Mutants of an operator's resolution: which write it is for, and until when it can be taken back."""

from tests.mutants.mutant import of

RECORDS = "tests/unit/test_repository.py"
WAS = f"{RECORDS}::test_a_row_that_is_not_as_it_was_seen_is_left_as_it_is"
RESOLUTION = f"{RECORDS}::test_a_resolution_is_for_the_write_that_was_seen"
TAKEN_BACK = f"{RECORDS}::test_a_resolution_that_a_client_got_is_not_undone"

RESOLUTIONS = [
    *of(
        "facade/cancellation/repository.py",
        (
            "a resolution is for whatever attempt there is",
            "(row.attempt_number, row.sending_at) == (seen.attempt_number, seen.sending_at)",
            "True",
            RESOLUTION,
        ),
        (
            "a resolution ignores the state",
            'expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            'expected = {"attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            RESOLUTION,
        ),
        (
            "a resolution ignores the attempt",
            'expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            'expected = {"state": row.state, "sending_at": row.sending_at}',
            RESOLUTION,
        ),
        (
            "a resolution ignores the write",
            'expected = {"state": row.state, "attempt_number": row.attempt_number, "sending_at": row.sending_at}',
            'expected = {"state": row.state, "attempt_number": row.attempt_number}',
            RESOLUTION,
        ),
        (
            "what no operator resolved is undone",
            "if next_state(seen.state, Event.UNDO) is None or not seen.by_operator:",
            "if next_state(seen.state, Event.UNDO) is None:",
            TAKEN_BACK,
            "the compare-and-set asks for an operator's resolution too; the check only saves its round trip",
        ),
        (
            "a reported resolution is undone",
            'expected = {"state": seen.state, "attempt_number": seen.attempt_number, "by_operator": True}',
            'expected = {"state": seen.state, "attempt_number": seen.attempt_number}',
            WAS,
        ),
        (
            "a resolution is taken back from another attempt",
            'expected = {"state": seen.state, "attempt_number": seen.attempt_number, "by_operator": True}',
            'expected = {"state": seen.state, "by_operator": True}',
            WAS,
        ),
        (
            "a resolution is reported and can be undone",
            "if row.by_operator and row.state == State.CANCELLED:",
            "if False:",
            TAKEN_BACK,
        ),
        (
            "an undone resolution is reported",
            "if now is None or now.state != State.CANCELLED or now.by_operator:",
            "if False:",
            TAKEN_BACK,
        ),
    ),
]
