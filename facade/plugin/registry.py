"""Builds every configured source: loads its plugin, validates its settings, builds its adapter and reason map."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from marshmallow import ValidationError

from facade.config_messages import sentences, setting
from facade.errors import ConfigurationError
from facade.fhir.appointment import Identity
from facade.observability import logs
from facade.plugin import connection_limit, plugin_validation, reason_maps
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import SourceAdapter, SourceConfig
from facade.plugin.discovery import PLUGIN_FAILURES, InstalledPlugin, installed, load_plugin
from facade.setting_fields import Secret, secret_files

Registry = Mapping[str, ConfiguredSource]
"""The configured sources by name."""


def build(
    tables: Mapping[str, Mapping[str, Any]], source_system: str, load: Callable[[str], InstalledPlugin] = load_plugin
) -> Registry:
    """Build every configured source with its adapter, by name.

    ``tables`` holds the settings by source. ``source_system`` is the system URI of the identifier that names
    the source. ``load`` returns a plugin by name. Raises ConfigurationError with every problem.
    """
    load = functools.cache(load)  # several sources may share a plugin; its hook is called once
    sources: dict[str, ConfiguredSource] = {}
    problems: list[str] = []
    reached: dict[tuple[str, frozenset[Secret]], str] = {}
    for name, table in tables.items():
        try:
            source = sources[name] = _build_one(name, table, source_system, load)
        except ConfigurationError as error:
            problems += error.problems
            continue
        settings = source.settings
        if "base_url" in settings:
            # One appointment under two source names would be two cancellations of it.
            # Webhook secrets do not count: they give no access to the source. They may be several, in a tuple.
            secrets = frozenset(value for value in settings.values() if isinstance(value, Secret))
            other = reached.setdefault((settings["base_url"], secrets), name)
            if other != name:
                problems.append(f"sources.{name}: has the base URL and key of sources.{other}; remove one of them")
    if problems:
        raise ConfigurationError(*problems)
    return MappingProxyType(sources)


def renewed(sources: Registry) -> Registry:
    """Return the same sources, each with a new adapter."""
    adapters = {source.name: source.plugin.adapter(source.config) for source in sources.values()}
    return MappingProxyType({name: replace(source, adapter=adapters[name]) for name, source in sources.items()})


def _build_one(
    name: str, table: Mapping[str, Any], source_system: str, load: Callable[[str], InstalledPlugin]
) -> ConfiguredSource:
    where = setting("sources", name)
    plugin_name = table.get("plugin")
    if not isinstance(plugin_name, str):
        raise ConfigurationError(f"{where}.plugin: name one of the installed plugins ({', '.join(installed())})")
    try:
        plugin = load(plugin_name)
    except ConfigurationError as error:
        raise ConfigurationError(*(f"{where}: {problem}" for problem in error.problems)) from error
    declaration = plugin.declaration
    settings, problems = _settings(plugin, table, where)
    problems += [f"{where}.{problem}" for problem in plugin_validation.unknown_systems(declaration, settings)]
    mapping = None
    try:
        mapping = reason_maps.load(plugin, settings)
    except ConfigurationError as error:
        problems += [f"{where}.{problem}" for problem in error.problems]
    if problems:
        raise ConfigurationError(*problems)
    config = SourceConfig(plugin=plugin_name, name=name, settings=MappingProxyType(dict(settings)))
    identity = Identity(
        source=name,
        source_system=source_system,
        native_system=config.identifier_system,
        lacks=declaration.capabilities.lacks,
    )
    return ConfiguredSource(
        name=name,
        plugin=declaration,
        adapter=connection_limit.limited(_adapter(plugin, config, where), declaration.capabilities.max_connections),
        identity=identity,
        mapping=mapping,
        settings=config.settings,
        secret_files=tuple(secret_files(declaration.settings(), table)),
    )


def _settings(plugin: InstalledPlugin, table: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], list[str]]:
    """Load the settings with the plugin's schema. Returns the valid ones, and the problems of the rest."""
    try:
        settings = (schema := plugin.declaration.settings()).load(table)
    except ValidationError as error:
        return dict(error.valid_data or {}), sentences(error, schema, where)
    except PLUGIN_FAILURES as error:
        raise ConfigurationError(
            f"{where}: {plugin.label} fails while it checks its settings ({_place(error)}); fix its schema"
        ) from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{where}: {plugin.label} loads settings that are no dict; fix its schema's post_load")
    return settings, []


def _adapter(plugin: InstalledPlugin, config: SourceConfig, where: str) -> SourceAdapter:
    try:
        adapter = plugin.declaration.adapter(config)
    except ConfigurationError as error:
        raise ConfigurationError(*(f"{where}: {problem}" for problem in error.problems)) from error
    except PLUGIN_FAILURES as error:
        raise ConfigurationError(
            f"{where}: {plugin.label} cannot build its adapter ({_place(error)}); fix its adapter factory"
        ) from error
    if not isinstance(adapter, SourceAdapter):
        raise ConfigurationError(f"{where}: {plugin.label} builds no facade.SourceAdapter; fix its adapter factory")
    return adapter


def _place(error: BaseException) -> str:
    """Name the exception's type and where it was raised. Its text may hold a secret, so it is left out."""
    return f"{type(error).__name__} in {logs.where(error)[-1]}"
