"""Finds plugins, refuses bad ones by name, and builds the adapter of each configured source."""

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pluggy
from marshmallow import ValidationError

from facade import strict_json
from facade.config_messages import in_one_line, nearest, sentences, setting
from facade.errors import ConfigurationError
from facade.fhir import concept_map
from facade.fhir.appointment import Identity
from facade.fhir.reasons import ReasonMap
from facade.observability import logs
from facade.plugin import connection_limit, hookspec, plugin_validation
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import SourceAdapter, SourceConfig, SourcePlugin
from facade.setting_fields import Secret, secret_files

GROUP = "facade.plugins"
_HOOK = "@hookimpl def facade_source_plugin()"
# A plugin may fail in any way, its operators hear of it in one sentence.
_FAILURE = (Exception, SystemExit)


@dataclass(frozen=True)
class InstalledPlugin:
    """A declaration and the distribution it comes from."""

    declaration: SourcePlugin
    distribution: str
    version: str

    @property
    def who(self) -> str:
        """How a sentence names it."""
        return _who(self.declaration.name, self.distribution)


Registry = Mapping[str, ConfiguredSource]


def installed() -> list[str]:
    """The names of the plugins that are installed, sorted."""
    return sorted({entry_point.name for entry_point in entry_points(group=GROUP)})


def load_plugin(name: str) -> InstalledPlugin:
    """The plugin of this name, imported and checked. Raises ConfigurationError naming it and its distribution."""
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise ConfigurationError(
            f'plugin "{name}" is not installed; install its distribution, or: {nearest(name, installed())}'
        )
    # One distribution seen through two paths gives the same entry point twice; two distributions are a conflict.
    owners = sorted({_distribution(entry_point)[0] for entry_point in found})
    if len(owners) > 1:
        raise ConfigurationError(f'plugin "{name}" is claimed by {" and ".join(owners)}; uninstall all but one')
    distribution, version = _distribution(found[0])
    who = _who(name, distribution)
    try:
        module = found[0].load()
    except _FAILURE as error:
        raise ConfigurationError(f"{who} cannot be imported ({in_one_line(error)}); reinstall or fix it") from error
    return InstalledPlugin(_declared(name, module, who), distribution, version)


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    dist = entry_point.dist
    return (dist.name, dist.version) if dist is not None else ("an unnamed distribution", "")


def _who(plugin: str, distribution: str) -> str:
    return f'plugin "{plugin}" of {distribution}'


def _declared(name: str, module: object, who: str) -> SourcePlugin:
    # A manager for each plugin: one plugin's exception must not keep another from being heard.
    manager = pluggy.PluginManager(hookspec.PROJECT)
    manager.add_hookspecs(hookspec)
    hook = manager.hook.facade_source_plugin
    try:
        manager.register(module, name=name)
        manager.check_pending()
    except _FAILURE as error:
        raise ConfigurationError(f"{who} has a wrong hook ({in_one_line(error)}); write it as {_HOOK}") from error
    if not hook.get_hookimpls():
        raise ConfigurationError(f"{who} has no hook; add {_HOOK} to its module")
    try:
        # What each function gave; pluggy leaves out a None.
        systems = [system for answer in hook() for system in answer]
    except _FAILURE as error:
        raise ConfigurationError(
            f"{who} fails when asked what it declares ({in_one_line(error)}); fix its facade_source_plugin"
        ) from error
    names = [system.name if isinstance(system, SourcePlugin) else type(system) for system in systems]
    if names.count(name) != 1 or not all(isinstance(system, SourcePlugin) for system in systems):
        told = " and ".join(f'"{n}"' if isinstance(n, str) else f"a {n.__name__}" for n in names) or "nothing"
        raise ConfigurationError(
            f'{who} declares {told}; yield one SourcePlugin named "{name}" as its entry point is, and nothing else'
        )
    system: SourcePlugin = systems[names.index(name)]
    problems = list(plugin_validation.problems(system))
    if problems:
        raise ConfigurationError(*(f"{who} is misdeclared: {problem}" for problem in problems))
    return system


def build(
    tables: Mapping[str, Mapping[str, Any]], source_system: str, load: Callable[[str], InstalledPlugin] = load_plugin
) -> Registry:
    """Every configured source with its adapter, by name.

    ``tables`` are the settings by source; ``source_system`` is the system URI of the identifier that names
    the source; ``load`` gives a plugin by name. Raises ConfigurationError with every problem.
    """
    load = functools.cache(load)  # several sources may share a plugin; it is asked once
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
            # One appointment under two names would be two cancellations of it.
            # Without webhook secrets, which may be several: they open nothing there.
            secrets = frozenset(value for value in settings.values() if isinstance(value, Secret))
            other = reached.setdefault((settings["base_url"], secrets), name)
            if other != name:
                problems.append(f"sources.{name}: has the base URL and key of sources.{other}; remove one of them")
    if problems:
        raise ConfigurationError(*problems)
    return MappingProxyType(sources)


def renewed(sources: Registry) -> Registry:
    """The same sources, each with an adapter of its own."""
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
    settings, problems = _settings(plugin, table, where)
    problems += [f"{where}.{problem}" for problem in plugin_validation.unknown_systems(plugin.declaration, settings)]
    mapping = None
    try:
        mapping = _mapping(plugin, settings)
    except ConfigurationError as error:
        problems += [f"{where}.{problem}" for problem in error.problems]
    if problems:
        raise ConfigurationError(*problems)
    config = SourceConfig(plugin=plugin_name, name=name, settings=MappingProxyType(dict(settings)))
    identity = Identity(
        source=name,
        source_system=source_system,
        native_system=config.identifier_system,
        lacks=plugin.declaration.capabilities.lacks,
    )
    return ConfiguredSource(
        name=name,
        plugin=plugin.declaration,
        adapter=connection_limit.limited(
            _adapter(plugin, config, where), plugin.declaration.capabilities.max_connections
        ),
        identity=identity,
        mapping=mapping,
        settings=config.settings,
        secret_files=tuple(secret_files(plugin.declaration.settings(), table)),
    )


def _settings(plugin: InstalledPlugin, table: Mapping[str, Any], where: str) -> tuple[Mapping[str, Any], list[str]]:
    """The settings as the plugin's schema loads them, or what of them is sound and the problems of the rest."""
    try:
        settings = (schema := plugin.declaration.settings()).load(table)
    except ValidationError as error:
        return dict(error.valid_data or {}), sentences(error, schema, where)
    except _FAILURE as error:
        raise ConfigurationError(
            f"{where}: {plugin.who} fails while it checks its settings ({_place(error)}); fix its schema"
        ) from error
    if not isinstance(settings, dict):
        raise ConfigurationError(f"{where}: {plugin.who} loads settings that are no dict; fix its schema's post_load")
    return settings, []


def _adapter(plugin: InstalledPlugin, config: SourceConfig, where: str) -> SourceAdapter:
    try:
        adapter = plugin.declaration.adapter(config)
    except ConfigurationError as error:
        raise ConfigurationError(*(f"{where}: {problem}" for problem in error.problems)) from error
    except _FAILURE as error:
        raise ConfigurationError(
            f"{where}: {plugin.who} cannot build its adapter ({_place(error)}); fix its adapter factory"
        ) from error
    if not isinstance(adapter, SourceAdapter):
        raise ConfigurationError(f"{where}: {plugin.who} builds no facade.SourceAdapter; fix its adapter factory")
    return adapter


def _place(error: BaseException) -> str:
    """Which exception, and where. Not its text: it was raised near secrets."""
    return f"{type(error).__name__} in {logs.where(error)[-1]}"


def _mapping(plugin: InstalledPlugin, settings: Mapping[str, Any]) -> ReasonMap | None:
    """The plugin's reason mapping, or the one configured in its place; None for a source without reasons."""
    native = plugin.declaration.reasons
    if native is None:
        unused = [key for key in ("concept_map_file", "fallback_reason") if key in settings]
        if unused:
            raise ConfigurationError(*(f"{key}: {plugin.who} maps no reasons; remove the setting" for key in unused))
        return None
    resource: Any = native.concept_map
    problems: list[str] = []
    path = settings.get("concept_map_file")
    try:
        if path is not None:
            resource = strict_json.loads(Path(path).read_bytes())
    except OSError as error:
        problems.append(f"concept_map_file: {path} cannot be read: {error.strerror}; name a FHIR ConceptMap")
    except ValueError as error:
        problems.append(f"concept_map_file: {path} is not JSON to rely on: {error}; fix it")
    try:
        mapping = concept_map.load(
            resource,
            native,
            plugin=plugin.declaration.name,
            code_systems=settings.get("code_systems", {}),
            fallback=settings.get("fallback_reason"),
        )
    except ConfigurationError as error:
        # The plugin's own map was found sound, so what is wrong with a map is wrong with the file.
        problems += [f"concept_map_file: {p}" if p.startswith("the ConceptMap") else p for p in error.problems]
    if problems:
        raise ConfigurationError(*problems)
    return mapping
