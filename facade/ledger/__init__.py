"""The durable record of cancellations: one row a key, an append-only journal, the audit record."""
