"""Finds installed plugins by their entry points, imports one, asks its hook, and validates its declaration."""

from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import pluggy

from facade.config_messages import in_one_line, nearest
from facade.errors import ConfigurationError
from facade.plugin import api_version, hookspec, plugin_validation
from facade.plugin.contract import SourcePlugin

GROUP = "facade.plugins"
"""The entry-point group that plugins register in; the entry point's name is the plugin's name."""
PLUGIN_FAILURES = (Exception, SystemExit)
"""What a plugin's code may raise. Operators get one sentence about it, not a traceback."""
_HOOK = "@hookimpl def facade_source_plugin()"
_OWN_API = f"plugin API {api_version.PLUGIN_API}"


@dataclass(frozen=True)
class InstalledPlugin:
    """A plugin's declaration, and the name and version of the distribution that it comes from."""

    declaration: SourcePlugin
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """How a message names the plugin."""
        return _label(self.declaration.name, self.distribution)


def installed() -> list[str]:
    """Return the names of the installed plugins, sorted."""
    return sorted({entry_point.name for entry_point in entry_points(group=GROUP)})


def load_plugin(name: str) -> InstalledPlugin:
    """Import and validate the plugin of this name. Raises ConfigurationError that names it and its distribution."""
    found = list(entry_points(group=GROUP, name=name))
    if not found:
        raise ConfigurationError(
            f'plugin "{name}" is not installed; install its distribution, or: {nearest(name, installed())}'
        )
    # One distribution that is found through two paths has the same entry point twice; two distributions are a conflict.
    owners = sorted({_distribution(entry_point)[0] for entry_point in found})
    if len(owners) > 1:
        raise ConfigurationError(f'plugin "{name}" is claimed by {" and ".join(owners)}; uninstall all but one')
    distribution, version = _distribution(found[0])
    label = _label(name, distribution)
    try:
        module = found[0].load()
    except PLUGIN_FAILURES as error:
        step = "reinstall or fix it"
        if isinstance(error, ImportError) and error.name == "facade":
            step = f"fix the name, or install the fhir-facade it was built for; this one has {_OWN_API}"
        raise ConfigurationError(f"{label} cannot be imported ({in_one_line(error)}); {step}") from error
    declaration = _ask(module, name, label)
    _validate(declaration, label, distribution)
    return InstalledPlugin(declaration, distribution, version)


def _distribution(entry_point: EntryPoint) -> tuple[str, str]:
    dist = entry_point.dist
    return (dist.name, dist.version) if dist is not None else ("an unnamed distribution", "")


def _label(plugin: str, distribution: str) -> str:
    return f'plugin "{plugin}" of {distribution}'


def _ask(module: object, name: str, label: str) -> SourcePlugin:
    """Call the plugin's hook. Raises ConfigurationError where it does not return one SourcePlugin of this name."""
    # Each plugin has a manager of its own, so that one plugin's exception does not keep another from being called.
    manager = pluggy.PluginManager(hookspec.PROJECT)
    manager.add_hookspecs(hookspec)
    hook = manager.hook.facade_source_plugin
    try:
        manager.register(module, name=name)
        manager.check_pending()
    except PLUGIN_FAILURES as error:
        raise ConfigurationError(f"{label} has a wrong hook ({in_one_line(error)}); write it as {_HOOK}") from error
    implementations = hook.get_hookimpls()
    if not implementations:
        raise ConfigurationError(f"{label} has no hook; add {_HOOK} to its module")
    if len(implementations) > 1:
        raise ConfigurationError(f"{label} has {len(implementations)} hooks; write one, as {_HOOK}")
    try:
        returned = next(iter(hook()), None)  # pluggy leaves out a None
    except PLUGIN_FAILURES as error:
        raise ConfigurationError(
            f"{label} fails in its hook ({in_one_line(error)}); fix its facade_source_plugin"
        ) from error
    if not isinstance(returned, SourcePlugin):
        raise ConfigurationError(f"{label}: {_wrong_return(returned, name)}")
    if returned.name != name:
        declared = f'"{returned.name}"' if isinstance(returned.name, str) else type(returned.name).__name__
        raise ConfigurationError(
            f"{label}: facade_source_plugin returns a SourcePlugin named {declared}; "
            f'name it "{name}", like its entry point'
        )
    return returned


def _wrong_return(returned: object, name: str) -> str:
    """Say what the hook returned in place of a SourcePlugin, and what to return."""
    wanted = f'return one SourcePlugin, with name="{name}"'
    if returned is None:
        return f"facade_source_plugin returns None; {wanted}"
    kind = f"the class {returned.__name__}" if isinstance(returned, type) else f"an object of {type(returned).__name__}"
    if hasattr(returned, "__iter__") and not isinstance(returned, str | bytes | dict | type):
        return f"facade_source_plugin returns {kind}; {wanted}, not an iterable: no yield, no list"
    return f"facade_source_plugin returns {kind}; {wanted}"


def _validate(declaration: SourcePlugin, label: str, distribution: str) -> None:
    """Raise ConfigurationError with everything that is wrong with a declaration."""
    # A plugin for another API may have other fields, so this comes first and alone.
    if api_version.is_version(declaration.api) and (why := api_version.incompatibility(declaration.api, distribution)):
        raise ConfigurationError(f"{label} {why}")
    problems = list(plugin_validation.problems(declaration))
    if problems:
        raise ConfigurationError(*(f"{label} is misdeclared: {problem}" for problem in problems))
