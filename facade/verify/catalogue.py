"""Every check there is, by theme, in the order of the report."""

from collections.abc import Iterator, Mapping
from functools import cache
from types import ModuleType

from facade.verify.check import Check
from facade.verify.checks import access, appointments, bodies, cancels, faults, hostile_ids, reasons, repeats, responses

_THEMES: Mapping[str, ModuleType] = {
    "Who may ask, and for what": access,
    "What a request may be": bodies,
    "Ids that mean harm": hostile_ids,
    "One cancel": cancels,
    "The reason": reasons,
    "The same wish again": repeats,
    "A source that misbehaves": faults,
    "Every answer": responses,
    "Every Appointment": appointments,
}


@cache
def catalogue() -> Mapping[str, tuple[Check, ...]]:
    """The checks by theme; a check's name is unique and stays."""
    return {theme: tuple(_checks(module)) for theme, module in _THEMES.items()}


def _checks(module: ModuleType) -> Iterator[Check]:
    for value in vars(module).values():
        for member in value if isinstance(value, tuple) else (value,):
            if isinstance(member, Check):
                yield member
