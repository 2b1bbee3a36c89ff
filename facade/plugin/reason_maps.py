"""Loads the reason map of a configured source: the plugin's own, or the file that is configured in its place."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from facade import strict_json
from facade.errors import ConfigurationError
from facade.fhir import concept_map
from facade.fhir.reasons import ReasonMap
from facade.plugin.discovery import InstalledPlugin


def load(plugin: InstalledPlugin, settings: Mapping[str, Any]) -> ReasonMap | None:
    """Load the source's reason map; None for a source that takes no reasons.

    Raises ConfigurationError with every problem. Each begins with the name of the setting.
    """
    native = plugin.declaration.reasons
    if native is None:
        unused = [key for key in ("concept_map_file", "fallback_reason") if key in settings]
        if unused:
            raise ConfigurationError(*(f"{key}: {plugin.label} maps no reasons; remove the setting" for key in unused))
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
        problems.append(f"concept_map_file: {path} is not strict JSON: {error}; fix it")
    try:
        mapping = concept_map.load(
            resource,
            native,
            plugin=plugin.declaration.name,
            code_systems=settings.get("code_systems", {}),
            fallback=settings.get("fallback_reason"),
        )
    except ConfigurationError as error:
        # The plugin's own map was validated before, so a problem of the map is a problem of the file.
        problems += [f"concept_map_file: {p}" if p.startswith("the ConceptMap") else p for p in error.problems]
    if problems:
        raise ConfigurationError(*problems)
    return mapping
