"""Mutants of the ledger: its statements, what it flushes, its limits of time, and what people do to it as a whole."""

# ruff: noqa: E501 - a guard is quoted as it is written

from tests.mutants.mutant import of

LEDGER = "tests/integration/test_ledger.py"
FLUSHED = f"{LEDGER}::test_sqlite_runs_in_wal_mode_and_flushes_what_must_last"
CHANGE = f"{LEDGER}::test_a_change_needs_the_expected_row_and_is_journalled"
NEWER = f"{LEDGER}::test_a_row_of_a_newer_version_is_left_untouched"
NUMBER = f"{LEDGER}::test_an_attempt_number_is_never_given_twice"
LIMITS = f"{LEDGER}::test_postgresql_waits_for_no_lock_and_no_statement_for_long"
MESSAGES = "tests/integration/test_ledger_round_trips.py"
ON_POSTGRESQL = f"{MESSAGES}::test_what_must_last_is_flushed_even_if_turned_off"

LEDGER_MUTANTS = [
    *of(
        "facade/ledger/statements.py",
        (
            "a change expects nothing",
            " AND {_KNOWN}{same} RETURNING attempt_number",
            " AND {_KNOWN} RETURNING attempt_number",
            CHANGE,
        ),
        (
            "what is expected to be empty is never so",
            "IS NOT DISTINCT FROM :expected_{name}",
            "= :expected_{name}",
            CHANGE,
        ),
        ("a row of a newer version is changed", "WHERE {_KEY} AND {_KNOWN}{same}", "WHERE {_KEY}{same}", NEWER),
        (
            "a source that was renamed is claimed",
            "(renamed_to IS NOT NULL OR ",
            "(FALSE OR ",
            f"{LEDGER}::test_a_renamed_sources_old_name_takes_no_claim",
        ),
        (
            "a claim is made while the keys are being moved",
            " OR id_form = {UNFINISHED})",
            ")",
            "tests/integration/test_maintenance.py::test_no_first_claim_is_made_while_keys_are_moved",
        ),
        (
            "a read that is not due is due",
            "WHERE d.source = with_rows.source AND d.read_due <= :now AND",
            "WHERE d.source = with_rows.source AND",
            f"{LEDGER}::test_a_source_with_very_many_due_rows_hides_no_others",
        ),
        (
            "a locked row keeps all others waiting",
            'SKIP_LOCKED = "FOR UPDATE SKIP LOCKED"',
            'SKIP_LOCKED = "FOR UPDATE"',
            f"{LEDGER}::test_an_orphaned_lock_on_a_row_hides_no_other_row",
        ),
        (
            "what is in doubt is in flight",
            'literals = ", ".join(f"\'{state}\'" for state in states)',
            "literals = \", \".join(f\"'{state}'\" for state in (*states, 'in-doubt'))",
            f"{LEDGER}::test_in_flight_rows_are_found_and_no_others",
        ),
    ),
    *of(
        "facade/ledger/store.py",
        (
            "a claim ignores the state that was seen",
            '("state", "attempt_number")), seen',
            '("attempt_number",)), seen',
            f"{LEDGER}::test_a_claim_needs_the_row_to_be_as_it_was_seen",
        ),
        (
            "a claim ignores the attempt that was seen",
            '("state", "attempt_number")), seen',
            '("state",)), seen',
            f"{LEDGER}::test_a_claim_needs_the_row_to_be_as_it_was_seen",
        ),
        (
            "a due read is taken by everybody",
            'statements.update_row(tuple(values), ("read_due",))',
            "statements.update_row(tuple(values), ())",
            f"{LEDGER}::test_a_due_row_is_taken_by_one",
        ),
        ("a row of a newer version is read", "found[0].format > ROW_FORMAT", "False", NEWER),
        (
            "what is changed is not flushed",
            "        flushed: bool = True,\n",
            "        flushed: bool = False,\n",
            FLUSHED,
        ),
        (
            "a change does not say when",
            'values = {**values, "changed_at": self.clock.now()}',
            "values = {**values}",
            f"{LEDGER}::test_a_claim_and_a_change_say_when",
        ),
    ),
    *of(
        "facade/ledger/backend.py",
        (
            "SQLite: an attempt number is given again after a purge",
            "SELECT seq FROM sqlite_sequence WHERE name = 'journal'",
            "SELECT max(attempt_number) FROM cancellations HAVING max(attempt_number) IS NOT NULL",
            NUMBER,
        ),
        ("SQLite: every commit is quick", "'FULL' if flushed else 'NORMAL'", "'NORMAL'", FLUSHED),
        (
            "SQLite: journal and audit are not flushed",
            "        with self._transaction(flushed=True) as execute:\n            if journalled:",
            "        with self._transaction(flushed=False) as execute:\n            if journalled:",
            FLUSHED,
        ),
        (
            "SQLite: a change that was lost is journalled",
            "            if execute(statement, values) is None:\n                return False\n",
            "            execute(statement, values)\n",
            CHANGE,
        ),
        (
            "SQLite: who breaks off has written",
            '                if connection.in_transaction:\n                    connection.execute("ROLLBACK")',
            '                if connection.in_transaction:\n                    connection.execute("COMMIT")',
            f"{LEDGER}::test_a_broken_transaction_leaves_no_change_and_no_journal",
        ),
        (
            "SQLite: who waits for its turn waits for ever",
            "self._turn.acquire(timeout=engines.LOCK_WAIT)",
            "self._turn.acquire()",
            f"{LEDGER}::test_waiting_for_a_turn_to_write_ends_after_a_moment",
        ),
        (
            "PostgreSQL: a claim is not flushed",
            "return self._attempt_number(parts, values, flushed=True)",
            "return self._attempt_number(parts, values, flushed=False)",
            ON_POSTGRESQL,
        ),
        (
            "PostgreSQL: a change is not flushed",
            "return self._attempt_number(parts, values, flushed=flushed) is not None",
            "return self._attempt_number(parts, values, flushed=False) is not None",
            ON_POSTGRESQL,
        ),
        (
            "PostgreSQL: journal and audit are not flushed",
            'self._first_value("; ".join(parts), values, flushed=True)',
            'self._first_value("; ".join(parts), values, flushed=False)',
            ON_POSTGRESQL,
        ),
        (
            "PostgreSQL: flushing stays off where it was turned off",
            "    True: \"SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'; \",",
            '    True: "",',
            ON_POSTGRESQL,
        ),
        (
            "PostgreSQL: a statement waits for a lock for ever",
            'f"SET LOCAL lock_timeout = {int(engines.LOCK_WAIT * 1000)}; "\n    f"SET LOCAL statement_timeout',
            'f"SET LOCAL lock_timeout = 0; "\n    f"SET LOCAL statement_timeout',
            LIMITS,
        ),
        (
            "PostgreSQL: a statement takes for ever",
            "statement_timeout = {int(engines.LOCK_WAIT * 2000)}",
            "statement_timeout = 0",
            LIMITS,
        ),
        (
            "PostgreSQL: a read fails where a connection was cut",
            "            # The connection may have been cut while it was idle; a read may be made twice.\n            return self._run(statement, values, flushed=None)",
            "            raise",
            f"{MESSAGES}::test_cut_connections_cost_one_failure_at_most_and_no_read",
        ),
        (
            "PostgreSQL: a change that was lost is journalled",
            "entered AS ({statements.insert_entry(condition='done')})\"]\n        if audited",
            'entered AS ({statements.insert_entry()})"]\n        if audited',
            CHANGE,
        ),
        (
            "the store's own errors are let through",
            "except (SQLAlchemyError, self._error, OSError, json.JSONDecodeError) as error:",
            "except OSError as error:",
            f"{LEDGER}::test_a_store_without_tables_or_no_database_is_unavailable",
        ),
    ),
    *of(
        "facade/ledger/engine.py",
        (
            "a maintainer waits for a lock for ever",
            'f"SET LOCAL lock_timeout = {int(LOCK_WAIT * 1000)}; ',
            'f"',
            f"{LEDGER}::test_a_transaction_of_a_maintainers_has_its_limits_too",
        ),
        (
            "a maintainer's statement takes for ever",
            "SET LOCAL statement_timeout = {int(LOCK_WAIT * 2000)}; ",
            "",
            f"{LEDGER}::test_a_transaction_of_a_maintainers_has_its_limits_too",
        ),
        (
            "an orphaned transaction stays open",
            'f"SET LOCAL idle_in_transaction_session_timeout = {int(LOCK_WAIT * 10_000)}; "\n',
            '""\n',
            f"{LEDGER}::test_a_transaction_of_a_maintainers_has_its_limits_too",
        ),
        (
            "connections are not bounded",
            '"max_overflow": 0',
            '"max_overflow": -1',
            f"{MESSAGES}::test_no_more_connections_are_open_than_are_documented",
        ),
        (
            "SQLite: what a maintainer writes is not flushed",
            'connection.exec_driver_sql("PRAGMA synchronous = FULL")',
            'connection.exec_driver_sql("PRAGMA synchronous = NORMAL")',
            FLUSHED,
        ),
        (
            "a ledger in memory is a ledger",
            "if not url.database or url.database",
            "if False and url.database",
            f"{LEDGER}::test_another_store_is_refused_with_the_next_step",
        ),
    ),
]
