"""Security labels: they say who may see the rest, so nothing is shown without those that it came with."""

from typing import Any


def may_have(meta: Any) -> bool:
    """Whether there are labels, or may have been: what is no object cannot be read."""
    return bool(meta.get("security") if isinstance(meta, dict) else meta)


def are_kept(meta: Any, cleaned: Any) -> bool:
    """Whether a cleaned meta has every label of the source's."""
    if not may_have(meta):
        return True
    return isinstance(meta, dict) and _coded(meta["security"]) == _coded((cleaned or {}).get("security"))


def over(before: Any, after: Any) -> Any:
    """A later meta over an earlier one: without labels of its own it takes none away, readable or not."""
    if not after:
        return before
    if not before or not isinstance(after, dict):
        return after
    if not isinstance(before, dict):
        return after if may_have(after) else before
    kept = {**before, **after}
    return {**kept, "security": before["security"]} if may_have(before) and not may_have(after) else kept


def _coded(labels: Any) -> list[Any]:
    """Each label as its system and code."""
    if not isinstance(labels, list):
        return [labels]
    return [(label.get("system"), label.get("code")) if isinstance(label, dict) else label for label in labels]
