"""Keep security labels (``meta.security``). They state who may see a resource, so it is never shown without them."""

from typing import Any


def may_be_present(meta: Any) -> bool:
    """Return whether ``meta`` has labels, or may have had them: a ``meta`` that is not an object cannot be read."""
    return bool(meta.get("security") if isinstance(meta, dict) else meta)


def are_kept(meta: Any, cleaned: Any) -> bool:
    """Return whether the sanitized ``cleaned`` has every label of the source's ``meta``."""
    if not may_be_present(meta):
        return True
    return isinstance(meta, dict) and _coded(meta["security"]) == _coded((cleaned or {}).get("security"))


def merge(before: Any, after: Any) -> Any:
    """Merge a later ``meta`` over an earlier one. If the later one has no labels, the earlier labels stay."""
    if not after:
        return before
    if not before or not isinstance(after, dict):
        return after
    if not isinstance(before, dict):
        return after if may_be_present(after) else before
    kept = {**before, **after}
    return {**kept, "security": before["security"]} if may_be_present(before) and not may_be_present(after) else kept


def _coded(labels: Any) -> list[Any]:
    """Return each label as its system and code."""
    if not isinstance(labels, list):
        return [labels]
    return [(label.get("system"), label.get("code")) if isinstance(label, dict) else label for label in labels]
