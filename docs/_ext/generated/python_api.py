"""Write the public names of Python, from the docstrings: autodoc does the work."""

import inspect
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from marshmallow import Schema, fields
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer

import facade
import facade.testing.conformance
import facade.testing.simulator
import facade.testing.simulator.faults
import facade.testing.simulator.host


def plugin_api() -> Iterator[str]:
    """Everything that a plugin may import from ``facade``, from the docstrings."""
    public = {name: getattr(facade, name) for name in facade.__all__}
    classes = {name: thing for name, thing in public.items() if isinstance(thing, type)}
    errors = [name for name, thing in classes.items() if issubclass(thing, Exception)]
    settings = [name for name, thing in classes.items() if issubclass(thing, (fields.Field, Schema))]
    functions = [name for name, thing in public.items() if inspect.isroutine(thing)]
    seam = [name for name in public if name in classes and name not in {*errors, *settings}]
    rest = [name for name in public if name not in {*classes, *functions}]
    for title, names in (
        ("Declaring a source, and its adapter", seam + rest),
        ("Settings", settings),
        ("Errors", errors),
        ("Functions", functions),
    ):
        yield f"## {title}"
        yield ""
        yield from _autodoc(facade, names)


def testing_api() -> Iterator[str]:
    """The simulator protocol, its host, and the conformance kit."""
    testing = facade.testing
    for title, module, names in (
        ("Simulators", testing.simulator, testing.simulator.__all__),
        ("Serving a simulator", testing.simulator.host, ["serve", "SimulatorHost"]),
        (
            "What a simulator meets",
            testing.simulator.faults,
            ["Fault", "Commit", "Behaviour", "Timings"],
        ),
        ("The conformance kit", testing.conformance, testing.conformance.__all__),
    ):
        yield f"## {title}"
        yield ""
        yield from _autodoc(module, names)


def _autodoc(module: Any, names: Iterable[str]) -> Iterator[str]:
    yield "```{eval-rst}"
    for name in names:
        thing = getattr(module, name)
        if not isinstance(thing, type) and not inspect.isroutine(thing):
            yield f".. py:data:: {module.__name__}.{name}"
            yield ""
            yield from (f"   {line}" for line in _documented(name, thing))
            continue
        if isinstance(thing, type):
            kind = "autoexception" if issubclass(thing, Exception) else "autoclass"
        else:
            kind = "autofunction"
        yield f".. {kind}:: {module.__name__}.{name}"
        if kind == "autoclass":
            yield "   :members:"
            if hasattr(thing, "__members__"):
                yield "   :undoc-members:"
        yield ""
    yield "```"
    yield ""


def _documented(name: str, thing: object) -> list[str]:
    # autodoc searches the docstring of a constant in the module that exports it, not in the one that defines it.
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("facade.") and vars(module).get(name) is thing:
            documented = ModuleAnalyzer.for_module(module_name).find_attr_docs()
            if ("", name) in documented:
                return documented["", name]
    raise ExtensionError(f"{name} is public and has no docstring; write one below its definition")
