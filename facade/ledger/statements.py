"""The statements that every cancel makes, as text: each is built once, and the store runs it as it is.

Parameters are named ``:name``. Names of columns come from the code alone, never from outside.
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
"""For a store that knows it: a row that some transaction holds keeps no one from the others."""
UNFINISHED = -1
"""The version of the ids of a source whose rows are being moved, and are not all moved yet."""
DUE_AT_ONCE = 3
"""Rows of one source that are due, in one scan: one is read at a time, and the rest may be taken by others."""

_KEY = "source = :source AND appointment_id = :appointment_id"
_KNOWN = f"format <= {ROW_FORMAT}"

FIND = f"SELECT {_ALL} FROM cancellations WHERE {_KEY}"  # noqa: S608 - column names of our own, here and below
# From source to source along the index, so that a source with many due rows hides no other's.
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
"""The same: SQLite has no LATERAL, and locks no rows."""
# Without the recorded answers: very many may be gone through.
SCHEDULED = (
    f"SELECT {', '.join('NULL' if name == 'response' else name for name in COLUMNS)} FROM cancellations "  # noqa: S608
    f"WHERE read_due IS NOT NULL AND {_KNOWN} AND (source, appointment_id) > (:source, :appointment_id) "
    "ORDER BY source, appointment_id LIMIT :limit"
)


@cache
def in_flight(states: tuple[str, ...]) -> str:
    """Select the rows in these states, as literals: only then does the store use the partial index."""
    literals = ", ".join(f"'{state}'" for state in states)
    return (
        f"SELECT {_ALL} FROM cancellations WHERE state IN ({literals}) AND {_KNOWN} "  # noqa: S608
        f"ORDER BY changed_at LIMIT :limit {SKIP_LOCKED}"
    )


def _parameter(name: str, prefix: str = "") -> str:
    return f"CAST(:{prefix}{name} AS json)" if name in JSON else f":{prefix}{name}"


@cache
def insert_row(columns: tuple[str, ...]) -> str:
    """Insert a row unless its key has one, or its source was renamed; returns its attempt number if it was inserted."""
    return (
        f"INSERT INTO cancellations ({', '.join(columns)}) SELECT {', '.join(map(_parameter, columns))} "  # noqa: S608
        "WHERE NOT EXISTS (SELECT 1 FROM sources WHERE name = :source "
        f"AND (renamed_to IS NOT NULL OR id_form = {UNFINISHED})) "
        "ON CONFLICT DO NOTHING RETURNING attempt_number"
    )


@cache
def update_row(columns: tuple[str, ...], expected: tuple[str, ...]) -> str:
    """Change a row that is as expected; returns its attempt number if it was. Expected values are ``expected_NAME``."""
    settings = ", ".join(f"{name} = {_parameter(name)}" for name in columns)
    same = "".join(f" AND {name} IS NOT DISTINCT FROM :expected_{name}" for name in expected)
    return f"UPDATE cancellations SET {settings} WHERE {_KEY} AND {_KNOWN}{same} RETURNING attempt_number"  # noqa: S608


@cache
def insert_entry(*, numbered: bool = False, condition: str = "") -> str:
    """Append to the journal, the values named ``entry_NAME``, with a number of its own if it is ``numbered``."""
    columns = (*(("number",) if numbered else ()), *_JOURNAL)
    return _appended("journal", columns, "entry_", condition)


@cache
def insert_audit(*, condition: str = "") -> str:
    """Append to the audit, the values named ``audit_NAME``."""
    return _appended("audit", _AUDIT, "audit_", condition)


def _appended(table: str, columns: tuple[str, ...], prefix: str, condition: str) -> str:
    """``condition`` names a relation: for each of its rows there is one."""
    values = ", ".join(_parameter(name, prefix) for name in columns)
    return f"INSERT INTO {table} ({', '.join(columns)}) SELECT {values}" + (f" FROM {condition}" if condition else "")  # noqa: S608
