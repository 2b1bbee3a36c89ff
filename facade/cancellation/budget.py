"""How the time of one cancel is divided among its steps."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Seconds for each step of one cancel, all scaled from ``answer_within``.

    With 8 s: 7 for everything that talks to the source, including the time in which the request arrived. Of these, 1.5
    are for the read before the write, 4 for the write, 1 for the probe after it, and 0.5 for the ledger. The last
    second is for the response. The write starts only if enough time is left for the write and its probe, so a ledger
    that is locked for long (``LOCK_WAIT`` in facade/ledger/engine.py) costs a cancel, and never the time limit.
    """

    answer_within: float

    @property
    def work(self) -> float:
        """Everything that talks to the source, from the first read to the last."""
        return self._share(7.0)

    @property
    def read(self) -> float:
        """The read before the write."""
        return self._share(1.5)

    @property
    def write(self) -> float:
        """The one native write, from name resolution to the last byte of its response."""
        return self._share(4.0)

    @property
    def probe(self) -> float:
        """The probe after a write that proved nothing."""
        return self._share(1.0)

    def _share(self, seconds: float) -> float:
        return seconds * self.answer_within / 8.0
