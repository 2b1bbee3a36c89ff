"""How the time to answer is shared out."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Budget:
    """Seconds for each part of one cancel, all scaled from ``answer_within``.

    Of 8 s, 7 are for all that talks to the source, the time that the request took to arrive included: the read before
    1.5, the write 4, the read after 1. The 0.5 that these leave, and the last second, are for the ledger and for the
    answer; a ledger that answers at once needs a few milliseconds of them. One that is locked may take longer
    (``LOCK_WAIT`` of facade/ledger/engine.py): then the write is not begun once less of the 7 is left than it and the
    read after need.
    """

    answer_within: float

    @property
    def work(self) -> float:
        """Everything that talks to the source, from the first read to the last."""
        return self._share(7.0)

    @property
    def read(self) -> float:
        """The read before."""
        return self._share(1.5)

    @property
    def write(self) -> float:
        """The one native write, from name resolution to the last byte of its answer."""
        return self._share(4.0)

    @property
    def probe(self) -> float:
        """The read after a write that proved nothing."""
        return self._share(1.0)

    def _share(self, seconds: float) -> float:
        return seconds * self.answer_within / 8.0
