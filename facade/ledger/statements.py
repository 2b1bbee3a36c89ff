"""Build the SQL statements of every cancel, as text. Each is built once.

Parameters have the form ``:name``. Column names come from the code only, never from input.
"""

from functools import cache

from facade.ledger.tables import ROW_FORMAT, audit, cancellations, journal

COLUMNS = tuple(column.name for column in cancellations.columns)
_ALL = ", ".join(COLUMNS)
_JOURNAL = tuple(column.name for column in journal.columns if column.name != "number")
_AUDIT = tuple(column.name for column in audit.columns if column.name != "number")
JSON = frozenset({"cancel_request", "reported", "detail"})
BOOLEANS = ("read_before", "by_operator")
SKIP_LOCKED = "FOR UPDATE SKIP LOCKED"
"""PostgreSQL only: skip rows that another transaction has locked, instead of waiting for them."""
UNFINISHED = -1
"""The ``id_form`` of a source while ``facade ledger rekey`` moves its rows."""
DUE_AT_ONCE = 3
"""The limit of due rows of one source in one scan. One is probed at a time; other processes may take the rest."""

_KEY = "source = :source AND appointment_id = :appointment_id"
_KNOWN = f"format <= {ROW_FORMAT}"

FIND = f"SELECT {_ALL} FROM cancellations WHERE {_KEY}"  # noqa: S608 - column names of our own, here and below
# Steps from source to source along the index, so that a source with many due rows does not delay the others.
_SOURCES_WITH_ROWS = """
    WITH RECURSIVE with_rows(source) AS (
        SELECT min(source) FROM cancellations WHERE read_due IS NOT NULL
        UNION ALL
        SELECT (SELECT min(c.source) FROM cancellations c WHERE c.read_due IS NOT NULL AND c.source > with_rows.source)
        FROM with_rows WHERE with_rows.source IS NOT NULL
    )
"""
_FIRST_DUE = (
    f"WHERE d.source = with_rows.source AND d.read_due <= :now AND d.{_KNOWN} ORDER BY d.read_due LIMIT {DUE_AT_ONCE}"
)
_DUE = f"{_SOURCES_WITH_ROWS} SELECT {', '.join(f'c.{name}' for name in COLUMNS)} FROM with_rows"  # noqa: S608
DUE = (
    f"{_DUE} CROSS JOIN LATERAL (SELECT * FROM cancellations d {_FIRST_DUE} {SKIP_LOCKED}) c "  # noqa: S608
    "ORDER BY c.read_due"
)
DUE_ON_SQLITE = (
    f"{_DUE} JOIN cancellations c ON c.source = with_rows.source WHERE c.read_due <= :now AND c.{_KNOWN} "  # noqa: S608
    f"AND c.appointment_id IN (SELECT d.appointment_id FROM cancellations d {_FIRST_DUE}) ORDER BY c.read_due"
)
"""The same query for SQLite, which has neither LATERAL nor row locks."""
# Without the recorded responses, since a sweep reads many rows.
SCHEDULED = (
    f"SELECT {', '.join('NULL' if name == 'response' else name for name in COLUMNS)} FROM cancellations "  # noqa: S608
    f"WHERE read_due IS NOT NULL AND {_KNOWN} AND (source, appointment_id) > (:source, :appointment_id) "
    "ORDER BY source, appointment_id LIMIT :limit"
)


@cache
def in_flight(states: tuple[str, ...]) -> str:
    """Build the query for the rows in these states. They are literals, so that the store uses the partial index."""
    literals = ", ".join(f"'{state}'" for state in states)
    return (
        f"SELECT {_ALL} FROM cancellations WHERE state IN ({literals}) AND {_KNOWN} "  # noqa: S608
        f"ORDER BY changed_at LIMIT :limit {SKIP_LOCKED}"
    )


def _parameter(name: str, prefix: str = "") -> str:
    return f"CAST(:{prefix}{name} AS json)" if name in JSON else f":{prefix}{name}"


@cache
def insert_row(columns: tuple[str, ...]) -> str:
    """Build the insert of a row, unless its key has one or its source was renamed. It returns the attempt number."""
    return (
        f"INSERT INTO cancellations ({', '.join(columns)}) SELECT {', '.join(map(_parameter, columns))} "  # noqa: S608
        "WHERE NOT EXISTS (SELECT 1 FROM sources WHERE name = :source "
        f"AND (renamed_to IS NOT NULL OR id_form = {UNFINISHED})) "
        "ON CONFLICT DO NOTHING RETURNING attempt_number"
    )


@cache
def update_row(columns: tuple[str, ...], expected: tuple[str, ...]) -> str:
    """Build the update of a row that has the values ``:expected_NAME``. It returns the attempt number."""
    settings = ", ".join(f"{name} = {_parameter(name)}" for name in columns)
    same = "".join(f" AND {name} IS NOT DISTINCT FROM :expected_{name}" for name in expected)
    return f"UPDATE cancellations SET {settings} WHERE {_KEY} AND {_KNOWN}{same} RETURNING attempt_number"  # noqa: S608


@cache
def insert_entry(*, numbered: bool = False, condition: str = "") -> str:
    """Build the insert of a journal entry with the values ``:entry_NAME``; its number too, if ``numbered``.

    ``condition`` names a relation: one entry is inserted for each of its rows.
    """
    columns = (*(("number",) if numbered else ()), *_JOURNAL)
    return _insert("journal", columns, "entry_", condition)


@cache
def insert_audit(*, condition: str = "") -> str:
    """Build the insert of an audit record with the values ``:audit_NAME``. ``condition`` is as for ``insert_entry``."""
    return _insert("audit", _AUDIT, "audit_", condition)


def _insert(table: str, columns: tuple[str, ...], prefix: str, condition: str) -> str:
    values = ", ".join(_parameter(name, prefix) for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}" + (f" FROM {condition}" if condition else "")  # noqa: S608
