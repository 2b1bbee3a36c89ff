"""Finds plugins, refuses bad ones by name, and builds the adapter of each configured source."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pluggy
from marshmallow import RAISE, ValidationError

from facade import hookspecs
from facade.config import SourceSettings, sentences
from facade.contract import NativeReasons, SourceAdapter, SourceConfig, SourceSystem
from facade.errors import ConfigurationError
from facade.fhir import concept_map
from facade.fhir.appointment import Identity
from facade.fhir.reasons import ReasonMap

GROUP = "facade.plugins"


@dataclass(frozen=True)
class Plugin:
    """A declaration and the distribution it comes from."""

    system: SourceSystem
    distribution: str
    version: str


@dataclass(frozen=True, kw_only=True)
class Source:
    """One configured source system, ready to work."""

    name: str
    system: SourceSystem
    adapter: SourceAdapter = field(repr=False)
    identity: Identity = field(repr=False)
    mapping: ReasonMap | None = field(repr=False)


Registry = Mapping[str, Source]


def installed() -> list[str]:
    """The names of the plugins that are installed, sorted."""
    return sorted({entry_point.name for entry_point in entry_points(group=GROUP)})


def load_plugin(name: str) -> Plugin:
    """The plugin of this name, imported and checked. Raises ConfigurationError naming it."""
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        known = ", ".join(installed()) or "none"
        raise ConfigurationError(f'plugin "{name}" is not installed; install its distribution (installed: {known})')
    # One distribution seen through two paths gives the same entry point twice; two distributions are a conflict.
    owners = sorted({_distribution(entry_point)[0] for entry_point in found})
    if len(owners) > 1:
        raise ConfigurationError(f'plugin "{name}" is claimed by {" and ".join(owners)}; uninstall one')
    distribution, version = _distribution(found[0])
    who = f'plugin "{name}" of {distribution}'
    try:
        module = found[0].load()
    except Exception as error:
        raise ConfigurationError(
            f"{who} cannot be imported ({type(error).__name__}: {error}); reinstall or mend it"
        ) from error
    return Plugin(_declared(name, module, who), distribution, version)


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    dist = entry_point.dist
    return (dist.name, dist.version) if dist is not None else ("an unnamed distribution", "")


def _declared(name: str, module: object, who: str) -> SourceSystem:
    # A manager for each plugin: one plugin's exception must not keep another from being heard.
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    try:
        manager.register(module, name=name)
        manager.check_pending()
        answers = manager.hook.facade_source_systems()
        systems = [system for answer in answers for system in answer]
    except Exception as error:
        raise ConfigurationError(
            f"{who} fails when asked what it declares ({type(error).__name__}: {error}); mend facade_source_systems"
        ) from error
    if not answers:
        raise ConfigurationError(f"{who} has no hook; add @hookimpl def facade_source_systems() to its module")
    mine = [system for system in systems if isinstance(system, SourceSystem) and system.name == name]
    if len(mine) != 1:
        raise ConfigurationError(
            f'{who} declares {len(mine)} source systems named "{name}"; it must declare one, named as its entry point'
        )
    problems = list(_declaration_problems(mine[0]))
    if problems:
        raise ConfigurationError(*(f"{who} is misdeclared: {problem}" for problem in problems))
    return mine[0]


def _declaration_problems(system: SourceSystem) -> list[str]:
    problems = []
    if not callable(system.adapter):
        problems.append("adapter must be callable with a SourceConfig")
    if not (isinstance(system.settings, type) and issubclass(system.settings, SourceSettings)):
        problems.append("settings must be a subclass of facade.SourceSettings")
    elif system.settings.Meta.unknown != RAISE:
        problems.append("settings must refuse unknown keys (Meta.unknown = RAISE)")
    try:
        re.compile(system.id_pattern)
    except (re.error, TypeError):
        problems.append("id_pattern must be a regular expression")
    if system.repeat not in {"errors", "idempotent", "harmful"}:
        problems.append('repeat must be "errors", "idempotent" or "harmful"')
    if system.reasons is not None and not isinstance(system.reasons, NativeReasons):
        problems.append("reasons must be a facade.NativeReasons")
    return problems


def build(tables: Mapping[str, Mapping[str, Any]], source_system: str) -> Registry:
    """Every configured source with its adapter, by name.

    ``tables`` are the settings by source; ``source_system`` is the system URI of the identifier that
    names the source. Raises ConfigurationError with every problem.
    """
    sources: dict[str, Source] = {}
    problems: list[str] = []
    reached: dict[tuple[Any, Any], str] = {}
    for name, table in tables.items():
        try:
            source, settings = _build_one(name, table, source_system)
        except ConfigurationError as error:
            problems += [f"sources.{name}: {problem}" for problem in error.problems]
            continue
        sources[name] = source
        if "base_url" in settings:
            # One appointment under two names would be two cancellations of it.
            other = reached.setdefault((settings["base_url"], settings.get("api_key")), name)
            if other != name:
                problems.append(f"sources.{name}: has the base URL and key of sources.{other}; remove one of them")
    if problems:
        raise ConfigurationError(*problems)
    return MappingProxyType(sources)


def _build_one(name: str, table: Mapping[str, Any], source_system: str) -> tuple[Source, Mapping[str, Any]]:
    plugin_name = table.get("plugin")
    if not isinstance(plugin_name, str):
        raise ConfigurationError(f"plugin: name one of the installed plugins ({', '.join(installed())})")
    system = load_plugin(plugin_name).system
    schema = system.settings()
    problems: list[str] = []
    settings: Mapping[str, Any] = {}
    try:
        settings = schema.load(table)
    except ValidationError as error:
        problems += sentences(error, schema)
    mapping = None
    try:
        mapping = _mapping(system, settings or table)
    except ConfigurationError as error:
        problems += error.problems
    if problems:
        raise ConfigurationError(*problems)
    source_config = SourceConfig(plugin=plugin_name, name=name, settings=MappingProxyType(dict(settings)))
    try:
        adapter = system.adapter(source_config)
    except Exception as error:
        raise ConfigurationError(f'plugin "{plugin_name}" cannot build its adapter ({type(error).__name__})') from error
    if not isinstance(adapter, SourceAdapter):
        raise ConfigurationError(f'plugin "{plugin_name}" builds no facade.SourceAdapter; mend its adapter factory')
    identity = Identity(
        source=name,
        source_system=source_system,
        native_system=source_config.identifier_system,
        lacks=system.capabilities.lacks,
    )
    return Source(name=name, system=system, adapter=adapter, identity=identity, mapping=mapping), settings


def _mapping(system: SourceSystem, settings: Mapping[str, Any]) -> ReasonMap | None:
    """The plugin's reason mapping, or the one configured in its place; None for a source without reasons."""
    if system.reasons is None:
        for key in ("concept_map_file", "fallback_reason"):
            if key in settings:
                raise ConfigurationError(f"{key}: plugin {system.name} maps no reasons; remove the setting")
        return None
    resource: Any = system.reasons.concept_map
    path = settings.get("concept_map_file")
    if isinstance(path, str):
        try:
            resource = json.loads(Path(path).read_text("utf-8"))
        except OSError as error:
            raise ConfigurationError(f"concept_map_file: {path} cannot be read: {error.strerror}") from None
        except ValueError:
            raise ConfigurationError(f"concept_map_file: {path} is not JSON") from None
    return concept_map.load(
        resource,
        system.reasons,
        plugin=system.name,
        code_systems=settings.get("code_systems", {}),
        fallback=settings.get("fallback_reason"),
    )
