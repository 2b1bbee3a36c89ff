"""What a plugin's declaration must be: every field of a SourceSystem, checked once at start."""

import re
from collections.abc import Iterator

from marshmallow import RAISE

from facade.config import SourceSettings
from facade.contract import Can, Capabilities, NativeReasons, SourceSystem
from facade.errors import ConfigurationError
from facade.fhir import concept_map
from facade.sentences import in_one_line


def problems(system: SourceSystem) -> Iterator[str]:
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
    elif not all(isinstance(member, Can) for member in (can.read, can.reason, can.note)):
        yield "capabilities.read, reason and note must each be a facade.Can"
    elif not isinstance(can.lacks, frozenset):
        yield 'capabilities.lacks must be a frozenset of FHIR elements, like frozenset({"slot"})'
    if system.simulator is not None and not callable(system.simulator):
        yield "simulator must be a function without parameters that builds one, or None"
    if isinstance(system.reasons, NativeReasons):
        yield from _reason_problems(system.name, system.reasons)
    elif system.reasons is not None:
        yield "reasons must be a facade.NativeReasons, or None"


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
