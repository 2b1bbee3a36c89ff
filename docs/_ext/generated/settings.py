"""Write every setting, from its declaration."""

from collections.abc import Iterable, Iterator
from itertools import groupby

from facade import config_reference
from facade.config_reference import Setting
from generated.plugins import own_plugins


def settings_of_the_facade() -> Iterator[str]:
    """The tables that every configuration has."""
    for path, settings in groupby(config_reference.core_settings(), lambda setting: setting.path.rpartition(".")[0]):
        yield from _section(f"[{path}]", settings)


def settings_of_the_sources() -> Iterator[str]:
    """The settings that sources share, and the own ones of each plugin in this distribution."""
    yield from _section("Every source", config_reference.shared_settings())
    for plugin in own_plugins():
        yield from _section(f"Sources of the plugin {plugin.name}", config_reference.plugin_settings(plugin))


def _section(title: str, settings: Iterable[Setting]) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield config_reference.table(settings)
