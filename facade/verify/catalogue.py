"""All checks, by theme, in the order of the report."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

from facade.verify.check import Check
from facade.verify.checks import access, appointments, bodies, cancels, faults, hostile_ids, reasons, repeats, responses

_THEMES: Mapping[str, ModuleType] = {
    "Authentication and access": access,
    "Request bodies and formats": bodies,
    "Hostile ids": hostile_ids,
    "One cancel": cancels,
    "Cancellation reasons": reasons,
    "Repeated requests": repeats,
    "A source that fails": faults,
    "Every response": responses,
    "Every Appointment": appointments,
}


@cache
def catalogue() -> Mapping[str, tuple[Check, ...]]:
    """Return the checks by theme. A check's name is unique and stable."""
    return {theme: tuple(_checks(module)) for theme, module in _THEMES.items()}


def _checks(module: ModuleType) -> Iterator[Check]:
    for value in vars(module).values():
        for member in value if isinstance(value, tuple) else (value,):
            if isinstance(member, Check):
                yield member
