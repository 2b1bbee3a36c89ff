"""A native record under another id, whatever its source's format."""

import re
from typing import Any

from facade.testing.simulator import Native


def renamed(native: Native, old: str, new: str) -> Native:
    """The same record with another id, wherever the id stands alone or as a segment of a URL or reference."""
    whole = re.compile(rf"(?:(?<=/)|\A){re.escape(old)}(?=[/?#]|\Z)")

    def again(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: again(member) for name, member in value.items()}
        if isinstance(value, list):
            return [again(member) for member in value]
        if isinstance(value, int) and str(value) == old and new.isdecimal():
            return int(new)
        return whole.sub(lambda _: new, value) if isinstance(value, str) else value

    return {name: again(member) for name, member in native.items()}
