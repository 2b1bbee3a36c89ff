"""One run: what its checks share, in which order they are proven, and what became of each."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from facade.errors import ConfigurationError
from facade.verify.check import Check, Skipped
from facade.verify.http import NoAnswer, NobodyListens, WireResponse
from facade.verify.sandbox import Sandbox
from facade.verify.target import Target

_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of one check: its findings, or why it was skipped."""

    check: Check
    outcome: Literal["passed", "failed", "skipped"]
    findings: tuple[str, ...] = ()
    seconds: float = 0.0


class Run:
    """A facade and the sandbox behind it. ``out_of_reach`` is a source that exists and that the key may not know of."""

    def __init__(self, facade: Target, sandbox: Sandbox, out_of_reach: str | None = None) -> None:
        self.facade = facade
        self.sandbox = sandbox
        self.out_of_reach = out_of_reach
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], _Made]) -> _Made:
        """What ``make`` gave the first time; several checks look at different sides of one exchange."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._made:
                self._made[name] = make()
            return cast(_Made, self._made[name])

    def meet(self, fault: str) -> tuple[str, WireResponse]:
        """An appointment whose source always fails this way, and the answer to its first cancel."""

        def make() -> tuple[str, WireResponse]:
            appointment_id = self.sandbox.fresh(fault)
            return appointment_id, self.facade.cancel(appointment_id)

        return self.once(f"fault {fault}", make)

    def cancelled(self) -> tuple[str, WireResponse]:
        """An appointment that the facade was asked to cancel once, and the answer."""

        def make() -> tuple[str, WireResponse]:
            appointment_id = self.sandbox.fresh()
            return appointment_id, self.facade.cancel(appointment_id)

        return self.once("cancelled", make)

    def begin(self) -> None:
        """Make sure that this facade stands in front of this sandbox.

        Raises ConfigurationError where it does not, where either is not reached, where the key is refused, or where
        the sandbox fails by chance.
        """
        if share := self.sandbox.chance():
            raise ConfigurationError(
                f"the sandbox at {self.sandbox.url} lets {100 * share:g}% of the requests fail by chance, so a "
                "right facade would be found wrong; start it without --chaos"
            )
        appointment_id = self.sandbox.fresh()
        url, source = self.facade.url, self.facade.source
        try:
            answer = self.facade.cancel(appointment_id)
        except NoAnswer as error:
            raise ConfigurationError(f"no facade at {url} ({error}); name another with --url") from None
        if answer.status in {401, 403}:
            what = "refuses the key" if self.facade.key else "wants a key"
            raise ConfigurationError(
                f"the facade at {url} {what} (HTTP {answer.status}); set FACADE_CLIENT_KEY to one that may cancel"
            )
        if not self.sandbox.log(appointment_id):
            misfit = ", or let its id pattern allow such ids as the sandbox makes" if answer.status == 404 else ""
            raise ConfigurationError(
                f'the facade at {url} answered {answer.verdict} to a cancel of source {source}, id "{appointment_id}", '
                f"and asked the sandbox's {self.sandbox.simulator} nothing; point that source at "
                f"{self.sandbox.address}, or name another with --source or --simulator{misfit}"
            )
        if answer.verdict == "200 cancelled" and not self.sandbox.cancels(appointment_id):
            raise ConfigurationError(
                "the sandbox's template is cancelled already; name another with --template, or reset the sandbox"
            )


def run_checks(run: Run, checks: Iterable[Check], parallel: int) -> list[Result]:
    """Prove the checks, so many side by side, the slow ones first; the results in the checks' own order.

    More than the facade makes native calls at once would be refused by its cap. Raises ConfigurationError when the
    facade or the sandbox is not reached any more.
    """
    checks = list(checks)
    alone = [check for check in checks if check.alone]
    end = [check for check in checks if check.end]
    beside = [check for check in checks if not check.alone and not check.end]
    results = {check.name: _prove(run, check) for check in alone}
    with ThreadPoolExecutor(parallel) as pool:
        ordered = sorted(beside, key=lambda check: not check.slow)
        results |= zip(
            [check.name for check in ordered], pool.map(lambda check: _prove(run, check), ordered), strict=True
        )
    results |= {check.name: _prove(run, check) for check in end}
    return [results[check.name] for check in checks]


def _prove(run: Run, check: Check) -> Result:
    begun = time.monotonic()
    findings: list[str] = []
    try:
        findings.extend(check.prove(run))
    except Skipped as why:
        return Result(check=check, outcome="skipped", findings=(str(why),), seconds=time.monotonic() - begun)
    except ConfigurationError:
        raise  # the sandbox is gone: nothing can be proven any more
    except NobodyListens as error:
        raise ConfigurationError(
            f"the facade at {run.facade.url} stopped answering ({error}); start it again and repeat the run"
        ) from None
    except NoAnswer as error:
        findings.append(str(error))
    except Exception as error:  # noqa: BLE001 - whatever a facade answers, the run goes on and tells of it
        findings.append(f"an answer has a shape that cannot be judged ({type(error).__name__})")
    seconds = time.monotonic() - begun
    return Result(check=check, outcome="failed" if findings else "passed", findings=tuple(findings), seconds=seconds)
