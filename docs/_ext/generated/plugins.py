"""Find the plugins of this distribution."""

from collections.abc import Iterator
from importlib.metadata import entry_points

from facade import SourcePlugin


def own_plugins() -> Iterator[SourcePlugin]:
    """Yield the plugins of this distribution."""
    for entry_point in sorted(entry_points(group="facade.plugins")):
        if entry_point.dist is not None and entry_point.dist.name == "fhir-facade":
            yield entry_point.load().facade_source_plugin()
