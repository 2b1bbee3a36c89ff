"""What ``facade check`` finds out about the ledger; it creates and changes nothing."""

from collections.abc import Iterator

from facade.app import Facade
from facade.cancellation.known_sources import look_at_sources
from facade.cli.findings import Finding
from facade.errors import ConfigurationError, Unavailable
from facade.ledger import migrate

_ABOUT = "ledger"


def of_ledger(facade: Facade) -> Iterator[Finding]:
    """Whether a start could use it, and what it holds that a start would be refused for, each with its next step."""
    ledger = facade.ledger
    try:
        if not migrate.exists(ledger.engine, ledger.option):
            yield Finding(_ABOUT, "store", "ok", "is created, or brought to this version, by the first start")
            return
        problems, _ = look_at_sources(ledger, facade.sources.values())
    except ConfigurationError as error:
        yield from (Finding(_ABOUT, "store", "problem", problem) for problem in error.problems)
        return
    except Unavailable as error:
        yield Finding(_ABOUT, "store", "problem", f"cannot be read now: {error.text}")
        return
    finally:
        ledger.engine.dispose()
    yield Finding(_ABOUT, "store", "ok", "is there, at this version")
    yield from (Finding(_ABOUT, "sources", "problem", problem) for problem in problems)
