"""All mutants, by name."""

from tests.mutants.attempts import ATTEMPTS
from tests.mutants.ledger import LEDGER_MUTANTS
from tests.mutants.maintenance import MAINTENANCE_MUTANTS
from tests.mutants.outside import OUTSIDE
from tests.mutants.readers import READERS
from tests.mutants.resolutions import RESOLUTIONS
from tests.mutants.settling import SETTLING_MUTANTS
from tests.mutants.transitions import TRANSITIONS
from tests.mutants.waiting import WAITING

_ALL = [
    *TRANSITIONS,
    *RESOLUTIONS,
    *WAITING,
    *ATTEMPTS,
    *SETTLING_MUTANTS,
    *LEDGER_MUTANTS,
    *MAINTENANCE_MUTANTS,
    *OUTSIDE,
    *READERS,
]
MUTANTS = {mutant.name: mutant for mutant in _ALL}
if len(MUTANTS) != len(_ALL):
    raise ValueError("two mutants have one name")
