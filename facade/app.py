"""The composition root: builds the facade from its configuration and collects every start problem."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facade import config as configuration
from facade.cancellation.attempt_context import AttemptContext
from facade.cancellation.budget import Budget
from facade.cancellation.in_doubt import InDoubtResolver
from facade.cancellation.known_sources import check_sources
from facade.cancellation.reconciler import Reconciler
from facade.cancellation.repository import CancellationRepository
from facade.cancellation.service import CancellationService
from facade.cancellation.timers import Timers
from facade.config import Config
from facade.config_tables import SOURCE_IDENTIFIER_SYSTEM
from facade.errors import ConfigurationError
from facade.ledger import migrate
from facade.ledger.engine import connect
from facade.ledger.maintenance import Presence
from facade.ledger.store import Ledger
from facade.plugin import registry
from facade.plugin.configured_source import ConfiguredSource
from facade.web import auth
from facade.web.auth.authenticator import Authenticator


@dataclass(frozen=True, kw_only=True)
class Facade:
    """Everything that serving needs. It does not change."""

    config: Config
    sources: Mapping[str, ConfiguredSource]
    cancellations: CancellationService
    ledger: Ledger
    reconciler: Reconciler
    repository: CancellationRepository
    authenticator: Authenticator

    def open_store(self) -> None:
        """Prepare the store: create or upgrade SQLite; any other database must have this version's schema.

        Raises ConfigurationError where it has another version, or cannot be opened.
        """
        migrate.make_ready(self.ledger.engine, self.ledger.option)

    def check_sources(self) -> None:
        """Check that the store's records belong to the configured sources. Raises ConfigurationError."""
        check_sources(self.ledger, self.sources.values())

    def renewed(self) -> "Facade":
        """Return the same facade with new adapters, connections, locks and threads, for a forked process."""
        old = self.ledger
        ledger = Ledger(connect(old.engine.url.render_as_string(hide_password=False)), option=old.option)
        sources = registry.renewed(self.sources)
        return compose(self.config, sources, ledger, Timers.for_response_within(self.config.answer_within))

    @property
    def single_source(self) -> ConfiguredSource | None:
        """The source of the single-source routes: the default source, or the only one; None if there is neither."""
        if self.config.default_source is not None:
            return self.sources[self.config.default_source]
        return next(iter(self.sources.values())) if len(self.sources) == 1 else None


def assemble(path: Path, *, store: str | None = None) -> Facade:
    """Build the facade that a configuration file describes, on another ``store`` if one is given.

    Raises ConfigurationError with every problem.
    """
    document = configuration.read(path)
    problems: list[str] = []
    config, sources = None, None
    try:
        config = configuration.check(document, auth.AUTHENTICATORS)
    except ConfigurationError as error:
        problems += error.problems
    try:
        # Also when the rest is wrong, so that one start reports every problem.
        tables = document.get("sources", {})
        tables = (
            {name: table for name, table in tables.items() if isinstance(table, dict)}
            if isinstance(tables, dict)
            else {}
        )
        source_system = config.source_identifier_system if config else SOURCE_IDENTIFIER_SYSTEM
        sources = registry.build(tables, source_system)
    except ConfigurationError as error:
        problems += error.problems
    ledger = None
    try:
        ledger = _ledger(path, config.store, store) if config is not None else None
    except ConfigurationError as error:
        problems += error.problems
    if config is None or sources is None or ledger is None:
        raise ConfigurationError(*problems)
    return compose(config, sources, ledger, Timers.for_response_within(config.answer_within))


def open_ledger(path: Path | None, store: str | None) -> Ledger:
    """Open the ledger that ``store`` names, or else the configuration file, of which nothing else is read.

    Neither secrets nor plugins are needed. Raises ConfigurationError.
    """
    if path is None and store is None:
        raise ConfigurationError("which ledger? name its configuration file with --config, or its URL with --store")
    configured = configuration.read_store(path) if path is not None and store is None else ""
    return _ledger(path, configured, store)


def _ledger(path: Path | None, configured: str, store: str | None) -> Ledger:
    if store is not None:
        return Ledger(connect(store, setting="--store"))
    option = f"--config {shlex.quote(str(path.resolve()))}" if path is not None else ""
    return Ledger(connect(configured), option=option)


def compose(
    config: Config,
    sources: Mapping[str, ConfiguredSource],
    ledger: Ledger,
    timers: Timers,
    budget: Budget | None = None,
) -> Facade:
    """Build a facade from its parts."""
    budget = budget or Budget(config.answer_within)
    repository = CancellationRepository(ledger, timers, ledger.clock)
    doubt = InDoubtResolver(repository, timers, ledger.clock)
    context = AttemptContext(budget=budget, timers=timers, repository=repository, explain=config.explain_proposed)
    return Facade(
        config=config,
        sources=sources,
        cancellations=CancellationService(context, doubt),
        ledger=ledger,
        reconciler=Reconciler(sources.values(), repository, doubt, timers, budget, Presence(ledger)),
        repository=repository,
        authenticator=auth.build(config),
    )
