"""Create other spellings of an id, and find out whether a source accepts one."""

import re
from contextlib import suppress

from facade.errors import FacadeError
from facade.testing.conformance.harness import Trial


def of(appointment_id: str, id_pattern: str) -> list[str]:
    """Return spellings in another case or with other leading zeros that the pattern accepts."""
    plain = appointment_id.lstrip("0")
    cases = {appointment_id.upper(), appointment_id.lower(), appointment_id.swapcase(), appointment_id.title()}
    zeros = {f"0{appointment_id}", f"00{appointment_id}", plain, f"0{plain}"}
    spellings = sorted(one for one in cases | zeros if one and one != appointment_id)
    return [one for one in spellings if re.fullmatch(id_pattern, one)]


def finds(trial: Trial, appointment_id: str, spelling: str) -> bool:
    """Return whether a read, or a cancel, by another spelling reaches this appointment."""
    if trial.readable:
        with suppress(FacadeError):
            return isinstance(trial.read_directly(spelling), dict)
        return False
    before = trial.simulator.get(appointment_id)
    request, current = trial.prepared(spelling)
    with suppress(FacadeError):
        trial.cancel_directly(request, current, lambda: None)
    changed = trial.simulator.get(appointment_id) != before
    if changed and before is not None:
        trial.simulator.put(appointment_id, before)
    return changed
