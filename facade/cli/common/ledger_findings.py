"""The findings of ``facade check`` about the ledger. The check creates and changes nothing."""

from collections.abc import Iterator

from facade.app import Facade
from facade.cancellation.known_sources import compare_sources
from facade.cli.common.findings import Finding
from facade.errors import ConfigurationError, Unavailable
from facade.ledger import migrate

_ABOUT = "ledger"


def check_ledger(facade: Facade) -> Iterator[Finding]:
    """Report whether a start can use the ledger, and each record that would make a start fail."""
    ledger = facade.ledger
    try:
        if not migrate.exists(ledger.engine, ledger.option):
            yield Finding(_ABOUT, "store", "ok", "the first start creates it, or upgrades it to this version")
            return
        problems, _ = compare_sources(ledger, facade.sources.values())
    except ConfigurationError as error:
        yield from (Finding(_ABOUT, "store", "problem", problem) for problem in error.problems)
        return
    except Unavailable as error:
        yield Finding(_ABOUT, "store", "problem", f"cannot be read now: {error.text}")
        return
    finally:
        ledger.engine.dispose()
    yield Finding(_ABOUT, "store", "ok", "exists, at this version")
    yield from (Finding(_ABOUT, "sources", "problem", problem) for problem in problems)
