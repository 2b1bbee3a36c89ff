"""Check that a Period does not end before it begins (per-1)."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

# http://hl7.org/fhir/R4/datatypes.html#dateTime: a year, a month, a day, or an instant with a zone.
_DATE = re.compile(r"([0-9]{4})(?:-([0-9]{2}))?(?:-([0-9]{2}))?")


def is_reversed(period: Mapping[str, Any]) -> bool:
    """Return whether the start is certainly after the end, compared at the precision that both have, in UTC."""
    start, end = _parts(period.get("start")), _parts(period.get("end"))
    common = min(len(start), len(end))
    return start[:common] > end[:common]


def _parts(moment: Any) -> tuple[float, ...]:
    """Return year, month, day and second of the day in UTC, as far as given; empty for an invalid dateTime."""
    if not isinstance(moment, str):
        return ()
    if match := _DATE.fullmatch(moment):
        return tuple(int(part) for part in match.groups() if part)
    try:
        instant = datetime.fromisoformat(moment)
        utc = instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError):
        return ()
    if utc is None:
        return ()
    return utc.year, utc.month, utc.day, utc.hour * 3600 + utc.minute * 60 + utc.second + utc.microsecond / 1e6
