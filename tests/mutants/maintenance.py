"""Mutants of what is done to the ledger as a whole: purge, rename, migrations, and which sources may start."""

from tests.mutants.mutant import of

LEDGER = "tests/integration/test_ledger.py"
NEWER = f"{LEDGER}::test_a_row_of_a_newer_version_is_left_untouched"
MAINTENANCE = "tests/integration/test_maintenance.py"
BATCHES = f"{MAINTENANCE}::test_many_batches_are_purged_and_what_is_unsettled_stays"
DURING = f"{MAINTENANCE}::test_a_row_claimed_during_a_purge_stays_complete"
PURGED = f"{LEDGER}::test_a_purge_deletes_old_settled_rows_completely"
PRESENT = f"{MAINTENANCE}::test_a_silent_process_is_gone_by_the_stores_clock_alone"
AT_WORK = f"{MAINTENANCE}::test_nothing_is_renamed_while_a_facade_is_at_work"
KNOWN = f"{MAINTENANCE}::test_doubt_under_the_old_name_stops_a_renamed_source"
CANONICAL = "tests/integration/test_canonical_ids.py"

MAINTENANCE_MUTANTS = [
    *of(
        "facade/ledger/maintenance.py",
        (
            "purge deletes what it found, whatever became of it",
            "delete(cancellations).where(old, tuple_",
            "delete(cancellations).where(tuple_",
            DURING,
        ),
        ("purge deletes the journal of what stayed", "its_key.in_(keys)", "its_key.in_(candidates)", DURING),
        (
            "purge deletes the audit of what stayed",
            "for table in (journal, audit):\n                    its_key",
            "for table in (journal,):\n                    its_key",
            PURGED,
        ),
        (
            "purge ends after one batch",
            "            if len(candidates) < _BATCH:\n                return deleted",
            "            return deleted",
            BATCHES,
        ),
        (
            "purge deletes what is unsettled",
            "cancellations.c.state.in_(states), cancellations.c.changed_at < before",
            "cancellations.c.changed_at < before",
            BATCHES,
        ),
        (
            "purge deletes what is young",
            "cancellations.c.state.in_(states), cancellations.c.changed_at < before",
            "cancellations.c.state.in_(states)",
            PURGED,
        ),
        (
            "purge deletes rows of a newer version",
            "cancellations.c.changed_at < before, cancellations.c.format <= ROW_FORMAT\n",
            "cancellations.c.changed_at < before\n",
            NEWER,
        ),
        (
            "a row is moved over another",
            "            if connection.execute(taken).first() is not None:\n                return False\n",
            "",
            f"{MAINTENANCE}::test_a_row_is_not_moved_over_another",
        ),
        (
            "a row is moved without its journal and audit",
            "                return False\n            for table in (cancellations, journal, audit):",
            "                return False\n            for table in (cancellations,):",
            KNOWN,
        ),
        (
            "who is gone is there",
            "processes.c.seen_at > _now(self._ledger) - SILENT_AFTER",
            "processes.c.seen_at > 0",
            PRESENT,
        ),
        ("who is there is gone", "- SILENT_AFTER, processes.c.id", "- SILENT_AFTER / 12, processes.c.id", PRESENT),
        (
            "presence is recorded by the host's clock",
            "        now = _now(self._ledger)\n        values",
            "        now = self._ledger.clock.now()\n        values",
            PRESENT,
        ),
        (
            "a process counts itself among the others",
            "SILENT_AFTER, processes.c.id != self._id",
            "SILENT_AFTER",
            AT_WORK,
        ),
        (
            "a process leaves for all others",
            "delete(processes).where(processes.c.id == self._id)",
            "delete(processes).where(processes.c.id != self._id)",
            AT_WORK,
        ),
    ),
    *of(
        "facade/ledger/migrate.py",
        (
            "a store of another version is used",
            "if found != _scripts().get_current_head():",
            "if False:",
            f"{LEDGER}::test_a_store_without_tables_or_no_database_is_unavailable",
        ),
        (
            "a store of a newer version is used",
            "    if found is not None and found not in {",
            "    if False and found not in {",
            f"{LEDGER}::test_a_store_of_a_newer_version_is_refused_by_every_command",
        ),
        (
            "two upgrade a PostgreSQL at once",
            'connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")',
            "pass",
            f"{LEDGER}::test_who_upgrades_a_postgresql_waits_for_another_who_does",
        ),
    ),
    *of(
        "facade/cancellation/known_sources.py",
        (
            "a source under another name starts afresh",
            "matter = rows[name] if unreadable else unsettled.get(name, 0)",
            "matter = 0",
            KNOWN,
        ),
        (
            "what cannot be read need not be known",
            "matter = rows[name] if unreadable else unsettled.get(name, 0)",
            "matter = unsettled.get(name, 0)",
            f"{MAINTENANCE}::test_of_a_source_without_reads_every_record_counts",
        ),
        (
            "what is settled keeps a source from going",
            "matter = rows[name] if unreadable else unsettled.get(name, 0)",
            "matter = rows[name]",
            f"{MAINTENANCE}::test_settled_rows_do_not_stop_a_renamed_readable_source",
        ),
        (
            "a source that was renamed starts",
            "if remembered is not None and remembered.renamed_to is not None:",
            "if False:",
            KNOWN,
        ),
        (
            "another form of the ids is taken",
            "remembered.id_form != declared.id_form and _has_keys",
            "False and _has_keys",
            f"{CANONICAL}::test_another_canonical_form_needs_a_rekey_before_start",
        ),
        (
            "ids that are being moved are taken",
            "return bool(rows) or remembered.id_form == UNFINISHED",
            "return bool(rows) and remembered.id_form != UNFINISHED",
            f"{CANONICAL}::test_an_interrupted_rekey_blocks_starts_and_can_resume",
        ),
        (
            "a name with records of the same appointment is taken",
            "    if taken:\n",
            "    if False:\n",
            f"{MAINTENANCE}::test_a_rename_onto_a_record_of_the_same_id_is_refused",
        ),
        (
            "a source is renamed while a facade is at work",
            "    others = Presence(ledger).others()\n",
            "    others = []\n",
            AT_WORK,
        ),
        (
            "what is under way is moved",
            "if maintenance.count(IN_FLIGHT).get(source.name):",
            "if False:",
            f"{CANONICAL}::test_what_is_under_way_keeps_the_rows_where_they_are",
        ),
        (
            "the old name may be claimed while it is renamed",
            "    maintenance.remember(old, replace(before, renamed_to=new))\n",
            "",
            KNOWN,
        ),
        (
            "of two rows the one that knows less is kept",
            "sorted((row, other), key=_precedence, reverse=True)",
            "sorted((row, other), key=_precedence)",
            f"{CANONICAL}::test_of_two_rows_the_fuller_is_kept_with_both_histories",
        ),
    ),
]
