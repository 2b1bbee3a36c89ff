"""The composition root: configuration, registry and use case made one, every start problem collected."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from facade import config as configuration
from facade import registry
from facade.cancellation.budget import Budget
from facade.cancellation.use_case import Cancellations
from facade.config import Config
from facade.errors import ConfigurationError
from facade.registry import Source


@dataclass(frozen=True, kw_only=True)
class Facade:
    """Everything that serving needs; read-only."""

    config: Config
    sources: Mapping[str, Source]
    cancellations: Cancellations

    @property
    def single_source(self) -> Source | None:
        """The source of the single-source routes: the default, or the only one."""
        if self.config.default_source is not None:
            return self.sources[self.config.default_source]
        return next(iter(self.sources.values())) if len(self.sources) == 1 else None


def assemble(path: Path) -> Facade:
    """The facade that a configuration file describes. Raises ConfigurationError with every problem."""
    document = configuration.read(path)
    problems: list[str] = []
    config, sources = None, None
    try:
        config = configuration.check(document)
    except ConfigurationError as error:
        problems += error.problems
    try:
        # Also when the rest is wrong: an operator wants to hear of every problem in one start.
        tables = document.get("sources", {})
        tables = (
            {name: table for name, table in tables.items() if isinstance(table, dict)}
            if isinstance(tables, dict)
            else {}
        )
        source_system = config.source_identifier_system if config else configuration.SOURCE_IDENTIFIER_SYSTEM
        sources = registry.build(tables, source_system)
    except ConfigurationError as error:
        problems += error.problems
    if config is None or sources is None:
        raise ConfigurationError(*problems)
    return Facade(
        config=config,
        sources=sources,
        cancellations=Cancellations(Budget(config.answer_within), explain=config.explain_proposed),
    )
