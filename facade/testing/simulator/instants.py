"""Moves every instant in a native record, whatever the record's format calls it."""

import re
from datetime import datetime, timedelta
from typing import Any

# A date with a time to the second; what follows (a fraction, a zone) stays as it was written.
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?")


def moved(value: Any, by: timedelta) -> Any:
    """The same JSON with every string that is an instant moved. Raises OverflowError outside the years 1 to 9999."""
    if isinstance(value, dict):
        return {name: moved(member, by) for name, member in value.items()}
    if isinstance(value, list):
        return [moved(member, by) for member in value]
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    instant = datetime.fromisoformat(found[1]) + by
    return instant.isoformat(timespec="seconds") + (found[2] or "") + (found[3] or "")
