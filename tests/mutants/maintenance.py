"""Mutants of what is done to the ledger as a whole: purge, rename, migrations, and which sources may start."""

from tests.mutants.mutant import of

LEDGER = "tests/integration/test_ledger.py"
NEWER = f"{LEDGER}::test_a_row_of_a_newer_version_is_left_untouched"
MAINTENANCE = "tests/integration/test_maintenance.py"
BATCHES = f"{MAINTENANCE}::test_many_batches_are_purged_and_what_is_unsettled_stays"
DURING = f"{MAINTENANCE}::test_a_row_that_is_claimed_during_a_purge_stays_with_all_that_is_its_own"
PURGED = f"{LEDGER}::test_purging_deletes_old_settled_rows_with_all_that_belongs_to_them"
PRESENT = f"{MAINTENANCE}::test_who_said_nothing_for_long_is_gone_by_the_stores_clock_alone"
AT_WORK = f"{MAINTENANCE}::test_nothing_is_renamed_while_a_facade_is_at_work"
KNOWN = f"{MAINTENANCE}::test_a_source_under_another_name_does_not_start_while_its_old_one_is_in_doubt"
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
            "processes.c.seen_at > _now(self._ledger) - SILENT",
            "processes.c.seen_at > 0",
            PRESENT,
        ),
        ("who is there is gone", "- SILENT, processes.c.id", "- SILENT / 12, processes.c.id", PRESENT),
        (
            "presence is told by the host's clock",
            "        now = _now(self._ledger)\n        values",
            "        now = self._ledger.clock.now()\n        values",
            PRESENT,
        ),
        ("a process counts itself among the others", "SILENT, processes.c.id != self._id", "SILENT", AT_WORK),
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
            f"{LEDGER}::test_a_store_without_its_tables_or_that_is_no_database_is_unavailable",
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
            "matter = rows[name] if blind else unsettled.get(name, 0)",
            "matter = 0",
            KNOWN,
        ),
        (
            "what cannot be read need not be known",
            "matter = rows[name] if blind else unsettled.get(name, 0)",
            "matter = unsettled.get(name, 0)",
            f"{MAINTENANCE}::test_of_a_source_without_reads_every_record_counts",
        ),
        (
            "what is settled keeps a source from going",
            "matter = rows[name] if blind else unsettled.get(name, 0)",
            "matter = rows[name]",
            f"{MAINTENANCE}::test_what_is_settled_keeps_no_source_that_can_be_read_from_going",
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
            f"{CANONICAL}::test_a_start_with_another_form_is_refused_until_the_rows_are_rekeyed",
        ),
        (
            "ids that are being moved are taken",
            "return bool(rows) or remembered.id_form == UNFINISHED",
            "return bool(rows) and remembered.id_form != UNFINISHED",
            f"{CANONICAL}::test_one_that_was_broken_off_keeps_every_start_refused_and_can_go_on",
        ),
        (
            "a name with records of the same appointment is taken",
            "    if taken:\n",
            "    if False:\n",
            f"{MAINTENANCE}::test_a_name_that_has_a_record_of_the_same_appointment_is_refused",
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
            "sorted((row, other), key=_knowledge, reverse=True)",
            "sorted((row, other), key=_knowledge)",
            f"{CANONICAL}::test_of_two_rows_the_one_that_knows_most_is_kept_with_both_histories",
        ),
    ),
]
