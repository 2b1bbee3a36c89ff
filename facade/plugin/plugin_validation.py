"""What a plugin's declaration must be: every field of a SourcePlugin, checked once at start."""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from marshmallow import RAISE

from facade.config_messages import in_one_line, nearest, setting
from facade.errors import ConfigurationError
from facade.fhir import concept_map
from facade.fhir.appointment import REQUIRED_ELEMENTS
from facade.plugin.contract import CanonicalId, Capabilities, NativeReasons, SourcePlugin, Support
from facade.setting_fields import SourceSettings, WebhookSettings


def problems(system: SourcePlugin) -> Iterator[str]:
    """Everything wrong with it, each as what must be: types first, since a plugin may be written without any."""
    if not callable(system.adapter):
        yield "adapter must be callable with a SourceConfig; give the adapter's class"
    elif missing := sorted(getattr(system.adapter, "__abstractmethods__", ())):
        yield f"adapter {system.adapter.__name__} has no {' and no '.join(missing)}; write it"
    if not (isinstance(system.settings, type) and issubclass(system.settings, SourceSettings)):
        yield "settings must be a subclass of facade.SourceSettings"
    elif system.settings.opts.unknown != RAISE:
        yield "settings must refuse unknown keys; take Meta.unknown away"
    if not _is_pattern(system.id_pattern):
        yield "id_pattern must be a regular expression, as a string"
    if system.repeat not in ("errors", "idempotent", "harmful"):
        yield 'repeat must be "errors", "idempotent" or "harmful"'
    can = system.capabilities
    if not isinstance(can, Capabilities):
        yield "capabilities must be a facade.Capabilities"
    elif not isinstance(can.read, Support):
        yield "capabilities.read must be a facade.Support"
    elif not isinstance(can.versioned_writes, Support):
        yield "capabilities.versioned_writes must be a facade.Support"
    elif not isinstance(can.note, Support):
        yield "capabilities.note must be a facade.Support"
    elif can.max_connections is not None and (type(can.max_connections) is not int or can.max_connections < 1):
        yield "capabilities.max_connections must be a whole number, 1 or more, or None"
    elif not (isinstance(can.lacks, frozenset) and can.lacks <= REQUIRED_ELEMENTS):
        yield f"capabilities.lacks must be a frozenset of some of {', '.join(sorted(REQUIRED_ELEMENTS))}"
    for name in ("identifiers", "code_systems"):
        words = getattr(system, name)
        if not (isinstance(words, tuple) and all(isinstance(word, str) for word in words)):
            yield f"{name} must be a tuple of names"
    if system.webhook is not None and not (callable(system.webhook) and issubclass(system.settings, WebhookSettings)):
        yield "webhook must be a function, and settings then a subclass of facade.WebhookSettings"
    if system.simulator is not None and not callable(system.simulator):
        yield "simulator must be a function without parameters that builds one, or None"
    if system.canonical_id is not None:
        yield from _canonical_id_problems(system.canonical_id)
    if isinstance(system.reasons, NativeReasons):
        yield from _reason_problems(system.name, system.reasons)
    elif system.reasons is not None:
        yield "reasons must be a facade.NativeReasons, or None"


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
    """What is wrong with the plugin's own map, whatever a source configures in its place."""
    try:
        concept_map.load(reasons.concept_map, reasons, plugin=plugin, code_systems={}, fallback=None)
    except ConfigurationError as error:
        yield from (f"reasons: {problem}" for problem in error.problems)
    except Exception as error:  # noqa: BLE001 - codes, properties and map may be of any type
        yield f"reasons cannot be used ({in_one_line(error)}); look at its codes, properties and concept_map"


def unknown_systems(system: SourcePlugin, settings: Mapping[str, Any]) -> Iterator[str]:
    """Configured system URIs of identifiers and codes that this plugin does not have."""
    reasons = system.reasons
    own = () if reasons is None or reasons.system else (reasons.name,)
    codes = (*system.code_systems, *own, *(reasons.properties if reasons is not None else ()))
    for table, known in (("identifier_systems", ("Appointment", *system.identifiers)), ("code_systems", codes)):
        for name in settings.get(table, {}):
            if name not in known:
                yield f"{setting(table, name)}: unknown key; {nearest(name, known)}"
