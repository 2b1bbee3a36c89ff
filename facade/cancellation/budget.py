"""How the time to respond is divided among the steps of one cancel."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Seconds for each step of one cancel, all scaled from ``answer_within``.

    Of 8 s, 7 are for everything that talks to the source, including the time in which the request arrived: 1.5 for the
    read before the write, 4 for the write, 1 for the probe after it. The remaining 0.5 and the last second are for the
    ledger and for sending the response. A ledger that responds at once needs a few milliseconds. One that is locked
    may need longer (``LOCK_WAIT`` in facade/ledger/engine.py): then no write starts once less of the 7 s is left than
    the write and its probe need.
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
