"""The served configuration: checked in the master before any worker gets it; SIGHUP reloads it or has no effect."""

from pathlib import Path

import structlog

from facade.app import Facade, assemble
from facade.cli.common.permissions import refuse_open_keys
from facade.errors import ConfigurationError, Unavailable
from facade.observability.logs import where

log = structlog.get_logger()


class Served:
    """The facade that workers are created from: the last one with a valid configuration.

    Workers read no file and no environment variable. A worker that is restarted hours later, while someone edits the
    configuration file, serves the same configuration as the others.
    """

    def __init__(self, path: Path, store: str | None, host: str, workers: int = 1) -> None:
        self._path = path
        self._store = store
        self._host = host
        self._workers = workers
        self.facade = self._checked()

    def reload(self) -> bool:
        """Read the configuration again. Returns True if it is valid; it is served from now on.

        Otherwise every problem is logged, and the old configuration stays in force.
        """
        try:
            found = self._checked()
            _refuse_what_needs_a_start(self.facade, found)
        except ConfigurationError as error:
            self._refused(error.problems)
        except Unavailable as error:
            self._refused((error.text,))
        except Exception as error:  # noqa: BLE001 - a failed reload must not end the running facade
            log.error("reload-failed", error=type(error).__name__, where=where(error))
            self._refused((f"the reload failed ({type(error).__name__}); this is a bug of the facade or of a plugin",))
        else:
            self.facade = found
            log.info("configuration-reloaded", sources=sorted(found.sources))
            return True
        return False

    def _refused(self, problems: tuple[str, ...]) -> None:
        for problem in problems:
            log.error("configuration-refused", problem=problem)
        log.error("configuration-kept", problems=len(problems), sources=sorted(self.facade.sources))

    def _checked(self) -> Facade:
        facade = assemble(self._path, store=self._store)
        facade.authenticator.check_host(self._host)
        refuse_open_keys(facade)
        _refuse_shared_connections(facade, self._workers)
        try:
            facade.open_store()
            facade.check_sources()
        finally:
            facade.ledger.engine.dispose()  # the workers must not share a connection
        return facade


def _refuse_what_needs_a_start(served: Facade, found: Facade) -> None:
    problems = []
    if found.ledger.engine.url != served.ledger.engine.url:
        # Old and new workers run side by side for some seconds, and must see each other's claims.
        problems.append("facade.store: cannot be changed by a reload; stop the facade and start it")
    if found.config.health_port != served.config.health_port:
        problems.append("facade.health_port: cannot be changed by a reload; stop the facade and start it")
    if connection_limits(served):
        problems += [
            f"sources.{name}: takes {limit}, and during a reload an old and a new worker run side by side; "
            "stop the facade and start it"
            for name, limit in connection_limits(found).items()
        ]
    if problems:
        raise ConfigurationError(*problems)


def connection_limits(facade: Facade) -> dict[str, str]:
    """Return the sources that limit their connections, by name, each with its limit in words."""
    limits = {source.name: source.plugin.capabilities.max_connections for source in facade.sources.values()}
    return {
        name: f"{limit} connection{'s' if limit > 1 else ''} at once in all"
        for name, limit in limits.items()
        if limit is not None
    }


def _refuse_shared_connections(facade: Facade, workers: int) -> None:
    """Raise ConfigurationError for a source with a limit and several workers, which do not see each other's use."""
    if workers == 1:
        return
    problems = [
        f"sources.{name}: takes {limit}, and --workers is {workers}; use --workers 1"
        for name, limit in connection_limits(facade).items()
    ]
    if problems:
        raise ConfigurationError(*problems)
