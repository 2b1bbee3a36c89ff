"""Run the checks: what they share, their order, and their results."""

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal, TypeVar, cast

from facade.errors import ConfigurationError
from facade.verify.check import Check, Skipped
from facade.verify.http import ConnectionRefused, NoResponse, WireResponse
from facade.verify.sandbox import Sandbox
from facade.verify.target import Target

_Made = TypeVar("_Made")


@dataclass(frozen=True, kw_only=True)
class Result:
    """The result of one check: its findings, or why it was skipped."""

    check: Check
    outcome: Literal["passed", "failed", "skipped"]
    findings: tuple[str, ...] = ()
    seconds: float = 0.0


class Run:
    """A facade and the sandbox behind it. ``out_of_reach`` is a source that exists and that the key must not see."""

    def __init__(self, facade: Target, sandbox: Sandbox, out_of_reach: str | None = None) -> None:
        self.facade = facade
        self.sandbox = sandbox
        self.out_of_reach = out_of_reach
        self._lock = threading.Lock()
        self._locks: dict[str, threading.Lock] = {}
        self._made: dict[str, Any] = {}

    def once(self, name: str, make: Callable[[], _Made]) -> _Made:
        """Return what ``make`` returned the first time, so that several checks share one exchange."""
        with self._lock:
            lock = self._locks.setdefault(name, threading.Lock())
        with lock:
            if name not in self._made:
                self._made[name] = make()
            return cast(_Made, self._made[name])

    def cancel_under(self, fault: str) -> tuple[str, WireResponse]:
        """Create an appointment that always fails this way. Returns its id and the response to its first cancel."""

        def make() -> tuple[str, WireResponse]:
            appointment_id = self.sandbox.create(fault)
            return appointment_id, self.facade.cancel(appointment_id)

        return self.once(f"fault {fault}", make)

    def cancelled(self) -> tuple[str, WireResponse]:
        """Create an appointment and cancel it once through the facade. Returns its id and the response."""

        def make() -> tuple[str, WireResponse]:
            appointment_id = self.sandbox.create()
            return appointment_id, self.facade.cancel(appointment_id)

        return self.once("cancelled", make)

    def prepare(self) -> None:
        """Check that this facade is in front of this sandbox.

        Raises ConfigurationError if it is not, if either is not reached, if the key is rejected, or if the sandbox
        fails by chance.
        """
        if share := self.sandbox.chance():
            raise ConfigurationError(
                f"the sandbox at {self.sandbox.url} lets {100 * share:g}% of the requests fail by chance, so "
                "correct facades would fail checks; start it without --chaos"
            )
        appointment_id = self.sandbox.create()
        url, source = self.facade.url, self.facade.source
        try:
            response = self.facade.cancel(appointment_id)
        except NoResponse as error:
            raise ConfigurationError(f"no facade at {url} ({error}); name another with --url") from None
        if response.status in {401, 403}:
            what = "rejects the key" if self.facade.key else "requires a key"
            raise ConfigurationError(
                f"the facade at {url} {what} (HTTP {response.status}); set FACADE_CLIENT_KEY to one that may cancel"
            )
        if not self.sandbox.log(appointment_id):
            misfit = ", or let its id pattern allow the sandbox's ids" if response.status == 404 else ""
            raise ConfigurationError(
                f"the facade at {url} responded {response.result} to a cancel of source {source}, id "
                f'"{appointment_id}", and sent nothing to the sandbox\'s {self.sandbox.simulator}; point that source '
                f"at {self.sandbox.address}, or name another with --source or --simulator{misfit}"
            )
        if response.result == "200 cancelled" and not self.sandbox.cancels(appointment_id):
            raise ConfigurationError(
                "the sandbox's template is cancelled already; name another with --template, or reset the sandbox"
            )


def run_checks(run: Run, checks: Iterable[Check], parallel: int) -> list[Result]:
    """Run the checks, ``parallel`` at a time, the slow ones first. Returns the results in the order of ``checks``.

    If ``parallel`` is larger than the facade's limit of concurrent native calls, the facade rejects requests. Raises
    ConfigurationError if the facade or the sandbox can no longer be reached.
    """
    checks = list(checks)
    alone = [check for check in checks if check.alone]
    end = [check for check in checks if check.end]
    beside = [check for check in checks if not check.alone and not check.end]
    results = {check.name: _run_check(run, check) for check in alone}
    with ThreadPoolExecutor(parallel) as pool:
        ordered = sorted(beside, key=lambda check: not check.slow)
        results |= zip(
            [check.name for check in ordered], pool.map(lambda check: _run_check(run, check), ordered), strict=True
        )
    results |= {check.name: _run_check(run, check) for check in end}
    return [results[check.name] for check in checks]


def _run_check(run: Run, check: Check) -> Result:
    started = time.monotonic()
    findings: list[str] = []
    try:
        findings.extend(check.prove(run))
    except Skipped as why:
        return Result(check=check, outcome="skipped", findings=(str(why),), seconds=time.monotonic() - started)
    except ConfigurationError:
        raise  # the sandbox is no longer reached, so no check can run
    except ConnectionRefused as error:
        raise ConfigurationError(
            f"the facade at {run.facade.url} stopped responding ({error}); restart it and repeat the run"
        ) from None
    except NoResponse as error:
        findings.append(str(error))
    except Exception as error:  # noqa: BLE001 - whatever a facade returns, the run continues and reports it
        findings.append(f"a response has a shape that the check cannot read ({type(error).__name__})")
    seconds = time.monotonic() - started
    return Result(check=check, outcome="failed" if findings else "passed", findings=tuple(findings), seconds=seconds)
