"""Validates a plugin's declaration: every field of its SourcePlugin, once, at start."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import RAISE

from facade.config_messages import in_one_line, nearest, setting
from facade.errors import ConfigurationError
from facade.fhir import concept_map
from facade.fhir.appointment import REQUIRED_ELEMENTS
from facade.plugin import api_version
from facade.plugin.contract import CanonicalId, Capabilities, NativeReasons, SourcePlugin, Support
from facade.plugin.settings import SourceSettings, WebhookSettings


def problems(plugin: SourcePlugin) -> Iterator[str]:
    """Yield everything that is wrong with a declaration, each as what it must be.

    Types are checked too: a plugin may be written without a type checker.
    """
    if not api_version.is_version(plugin.api):
        yield f'api must be a version of the plugin API, like "{api_version.PLUGIN_API}"'
    if not callable(plugin.adapter):
        yield "adapter must be callable with a SourceConfig; give the adapter's class"
    elif missing := sorted(getattr(plugin.adapter, "__abstractmethods__", ())):
        yield f"adapter {plugin.adapter.__name__} has no {' and no '.join(missing)}; write it"
    if not (isinstance(plugin.settings, type) and issubclass(plugin.settings, SourceSettings)):
        yield "settings must be a subclass of facade.SourceSettings"
    elif plugin.settings.opts.unknown != RAISE:
        yield "settings must reject unknown keys; remove Meta.unknown"
    if not _is_pattern(plugin.id_pattern):
        yield "id_pattern must be a regular expression, as a string"
    if plugin.repeat not in ("errors", "idempotent", "harmful"):
        yield 'repeat must be "errors", "idempotent" or "harmful"'
    yield from _capability_problems(plugin.capabilities)
    for name in ("identifiers", "code_systems"):
        kinds = getattr(plugin, name)
        if not (isinstance(kinds, tuple) and all(isinstance(kind, str) for kind in kinds)):
            yield f"{name} must be a tuple of names"
    if plugin.webhook is not None and not (callable(plugin.webhook) and issubclass(plugin.settings, WebhookSettings)):
        yield "webhook must be a function, and settings then a subclass of facade.WebhookSettings"
    if plugin.simulator is not None and not callable(plugin.simulator):
        yield "simulator must be a function without parameters that builds one, or None"
    if plugin.canonical_id is not None:
        yield from _canonical_id_problems(plugin.canonical_id)
    if isinstance(plugin.reasons, NativeReasons):
        yield from _reason_problems(plugin.name, plugin.reasons)
    elif plugin.reasons is not None:
        yield "reasons must be a facade.NativeReasons, or None"


def _capability_problems(declared: object) -> Iterator[str]:
    """Yield the first thing that is wrong with the capabilities."""
    if not isinstance(declared, Capabilities):
        yield "capabilities must be a facade.Capabilities"
        return
    for name in ("read", "versioned_writes", "note"):
        if not isinstance(getattr(declared, name), Support):
            yield f"capabilities.{name} must be a facade.Support"
            return
    limit = declared.max_connections
    if limit is not None and (type(limit) is not int or limit < 1):
        yield "capabilities.max_connections must be a whole number, 1 or more, or None"
    elif not (isinstance(declared.lacks, frozenset) and declared.lacks <= REQUIRED_ELEMENTS):
        yield f"capabilities.lacks must be a frozenset of some of {', '.join(sorted(REQUIRED_ELEMENTS))}"


def _canonical_id_problems(declared: object) -> Iterator[str]:
    if not isinstance(declared, CanonicalId):
        yield "canonical_id must be a facade.CanonicalId, or None"
        return
    if type(declared.version) is not int or declared.version < 1:
        yield "canonical_id.version must be a whole number, 1 or more"
    if not callable(declared.form):
        yield "canonical_id.form must be a function of an id"


def _is_pattern(pattern: object) -> bool:
    try:
        re.compile(pattern if isinstance(pattern, str) else "(")
    except (re.error, OverflowError, RecursionError):
        return False
    return True


def _reason_problems(plugin: str, reasons: NativeReasons) -> Iterator[str]:
    """Yield what is wrong with the plugin's own map. It must be valid even if every source configures another."""
    try:
        concept_map.load(reasons.concept_map, reasons, plugin=plugin, code_systems={}, fallback=None)
    except ConfigurationError as error:
        yield from (f"reasons: {problem}" for problem in error.problems)
    except Exception as error:  # noqa: BLE001 - codes, properties and map may be of any type
        yield f"reasons cannot be used ({in_one_line(error)}); check its codes, properties and concept_map"


def unknown_systems(plugin: SourcePlugin, settings: Mapping[str, Any]) -> Iterator[str]:
    """Yield a problem for each configured system URI whose kind of identifier or code the plugin does not have."""
    reasons = plugin.reasons
    own = () if reasons is None or reasons.system else (reasons.name,)
    codes = (*plugin.code_systems, *own, *(reasons.properties if reasons is not None else ()))
    for table, known in (("identifier_systems", ("Appointment", *plugin.identifiers)), ("code_systems", codes)):
        for name in settings.get(table, {}):
            if name not in known:
                yield f"{setting(table, name)}: unknown key; {nearest(name, known)}"
