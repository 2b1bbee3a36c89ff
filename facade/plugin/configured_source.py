"""One configured source system: its plugin, its settings, and the adapter that the use case calls."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from facade.fhir.appointment import Identity
from facade.fhir.reasons import ReasonMap
from facade.plugin.contract import SourceAdapter, SourceConfig, SourcePlugin, Support


@dataclass(frozen=True, kw_only=True)
class DeclaredSource:
    """A source's name and its plugin: what is known of its ids without settings and secrets."""

    name: str
    plugin: SourcePlugin

    @property
    def id_form(self) -> int:
        """The version of the canonical form of this source's ids; 0 where each spelling is an id of its own."""
        return self.plugin.canonical_id.version if self.plugin.canonical_id is not None else 0

    @property
    def readable(self) -> bool:
        """Whether appointments can be read. If not, no read is ever made, and only an operator resolves doubt."""
        return self.plugin.capabilities.read is Support.FULL

    def canonical(self, appointment_id: str) -> str:
        """Return the canonical spelling of an id. Raises ValueError where the plugin returns no valid id."""
        if self.plugin.canonical_id is None:
            return appointment_id
        found = self.plugin.canonical_id.form(appointment_id)
        if not isinstance(found, str) or not re.fullmatch(self.plugin.id_pattern, found):
            raise ValueError("the canonical form of an id does not fit id_pattern")
        return found


@dataclass(frozen=True, kw_only=True)
class ConfiguredSource(DeclaredSource):
    """One configured source system with its adapter, settings and reason map."""

    adapter: SourceAdapter = field(repr=False)
    identity: Identity = field(repr=False)
    mapping: ReasonMap | None = field(repr=False)
    settings: Mapping[str, Any] = field(repr=False)
    secret_files: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    """The settings that name files with secrets, each with the file's path."""

    @property
    def config(self) -> SourceConfig:
        """The configuration that the plugin builds an adapter from."""
        return SourceConfig(plugin=self.plugin.name, name=self.name, settings=self.settings)

    @property
    def settle_window(self) -> float:
        """Seconds after a write in which the source may still apply it."""
        window: float = self.settings["settle_window"]
        return window
