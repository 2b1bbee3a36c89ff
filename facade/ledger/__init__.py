"""Store cancellations durably: one row for each appointment, an append-only journal, and audit records."""
