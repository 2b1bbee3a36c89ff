"""Changes to native records in any format: another id, moved instants, a merge patch."""

import re
from datetime import datetime, timedelta
from typing import Any

Native = dict[str, Any]
"""An appointment in the source's own format."""

# A date with a time to the second; a fraction and a zone after it stay as they are.
_INSTANT = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(\.\d+)?(Z|[+-]\d\d:\d\d)?")


def renamed(native: Native, old: str, new: str) -> Native:
    """Return the record with another id, wherever the id is a whole text or a segment of a URL or reference."""
    whole = re.compile(rf"(?:(?<=/)|\A){re.escape(old)}(?=[/?#]|\Z)")

    def rename(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: rename(member) for name, member in value.items()}
        if isinstance(value, list):
            return [rename(member) for member in value]
        if isinstance(value, int) and str(value) == old and new.isdecimal():
            return int(new)
        return whole.sub(lambda _: new, value) if isinstance(value, str) else value

    return {name: rename(member) for name, member in native.items()}


def moved(value: Any, by: timedelta) -> Any:
    """Return the JSON value with every instant in it moved. Raises OverflowError outside the years 1 to 9999."""
    if isinstance(value, dict):
        return {name: moved(member, by) for name, member in value.items()}
    if isinstance(value, list):
        return [moved(member, by) for member in value]
    found = _INSTANT.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        return value
    instant = datetime.fromisoformat(found[1]) + by
    return instant.isoformat(timespec="seconds") + (found[2] or "") + (found[3] or "")


def patched(target: Any, patch: Any) -> Any:
    """Return the value with a JSON merge patch applied (RFC 7396, section 2)."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = patched(merged.get(name), value)
    return merged
