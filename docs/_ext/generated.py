"""Write the parts of the documentation that are made from code, while Sphinx builds the site.

A page says ``<!-- generated: NAME -->`` where the part belongs; ``PARTS`` names the function that writes it, as
Markdown. All generated parts are made at build time, none is committed: they cannot be out of date, no command has to
be run after a change of the code, and autodoc works that way too.
"""

import contextlib
import inspect
import io
import json
import re
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import marshmallow
from marshmallow import Schema, fields
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.pycode import ModuleAnalyzer
from sphinx.util.typing import ExtensionMetadata

import facade
import facade.testing.conformance
import facade.testing.simulator
import facade.testing.simulator.faults
import facade.testing.simulator.host
from facade import SourcePlugin, app, config
from facade.cancellation.states import TRANSITIONS
from facade.cli import main
from facade.fhir.reasons import hl7_codes
from facade.testing.simulator.faults import FAULTS
from facade.web import create_app

_MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Give the lines of a Markdown table."""
    heads = list(heads)
    yield f"| {' | '.join(heads)} |"
    yield f"|{'---|' * len(heads)}"
    for row in rows:
        cells = (" ".join(cell.split()).replace("|", r"\|") for cell in row)
        yield f"| {' | '.join(cells)} |"
    yield ""


# Configuration

_TYPES: list[tuple[type, str]] = [
    (facade.SecretFromEnv, "name of an environment variable"),
    (facade.SecretTextFromFile, "path of a file"),
    (facade.SecretFromFile, "path of a file"),
    (facade.BaseUrl, "URL"),
    (fields.Boolean, "boolean"),
    (fields.Integer, "integer"),
    (fields.Float, "number"),
    (fields.List, "array"),
    (fields.Dict, "table"),
    (fields.String, "string"),
]


def settings_of_the_facade() -> Iterator[str]:
    """The tables that every configuration has."""
    for name, field in config._FileSchema().fields.items():
        if isinstance(field, fields.Nested):
            yield from _settings(f"[{name}]", name, field.schema)
        elif isinstance(field, fields.Dict) and isinstance(field.value_field, fields.Nested):
            yield from _settings(f"[{name}.NAME]", f"{name}.NAME", field.value_field.schema)


def settings_of_the_plugins() -> Iterator[str]:
    """The settings of a source, for every plugin in this distribution."""
    for plugin in _own_plugins():
        yield from _settings(f"Plugin {plugin.name}", "sources.NAME", plugin.settings())


def _settings(title: str, prefix: str, schema: Schema) -> Iterator[str]:
    yield f"### {title}"
    yield ""
    yield from table(
        ("Key", "Type", "Default", "Meaning", "Accepted"),
        (
            (f"`{prefix}.{name}`", _type(field), _default(field), _meaning(field), _accepted(field))
            for name, field in schema.fields.items()
        ),
    )


def _type(field: fields.Field[Any]) -> str:
    return next((words for kind, words in _TYPES if isinstance(field, kind)), type(field).__name__)


def _default(field: fields.Field[Any]) -> str:
    if field.required:
        return "required"
    default = field.load_default() if callable(field.load_default) else field.load_default
    if default is marshmallow.missing or default is None:
        return "none"
    default = getattr(default, "expression", default)  # a JMESPath expression
    return f"`{json.dumps(default, ensure_ascii=False)}`"


def _meaning(field: fields.Field[Any]) -> str:
    return str(field.metadata.get("description", ""))


def _accepted(field: fields.Field[Any]) -> str:
    errors = (str(getattr(validator, "error", None) or "") for validator in field.validators)
    return "; ".join(error.removeprefix("must be ") for error in errors if error.startswith("must be "))


def _own_plugins() -> Iterator[SourcePlugin]:
    for entry_point in sorted(entry_points(group="facade.plugins")):
        if entry_point.dist is not None and entry_point.dist.name == "fhir-facade":
            yield entry_point.load().facade_source_plugin()


# Commands


def commands() -> Iterator[str]:
    """What ``--help`` prints, command by command."""
    yield from _command(main, click.Context(main, info_name="facade", **main.context_settings), 2)


def _command(command: click.Command, context: click.Context, level: int) -> Iterator[str]:
    yield f"{'#' * level} {context.command_path}"
    yield ""
    yield "```text"
    yield command.get_help(context)
    yield "```"
    yield ""
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            if (inner := command.get_command(context, name)) is not None:
                yield from _command(inner, click.Context(inner, info_name=name, parent=context), min(level + 1, 3))


# Python


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
    # autodoc looks for the docstring of a constant in the module that exports it, not in the one that defines it.
    for module_name, module in list(sys.modules.items()):
        if module_name.startswith("facade.") and vars(module).get(name) is thing:
            documented = ModuleAnalyzer.for_module(module_name).find_attr_docs()
            if ("", name) in documented:
                return documented["", name]
    raise ExtensionError(f"{name} is public and has no docstring; write one below its definition")


# Tables of the code


def faults() -> Iterator[str]:
    """Every fault by name, with what the source does."""
    yield from table(
        ("Fault", "On", "What the source does", "A cancel ends in"),
        ((f"`{f.name}`", f.operation, f.description, f"`{f.ends_in}`") for f in FAULTS.values()),
    )


def cancellation_reasons() -> Iterator[str]:
    """HL7's codes, and what they become for Heim."""
    (heim,) = (plugin for plugin in _own_plugins() if plugin.name == "heim")
    if heim.reasons is None:
        raise ExtensionError("the plugin heim declares no reasons")
    to_native, to_hl7 = heim.reasons.concept_map["group"]
    targets = {element["code"]: element["target"][0] for element in to_native["element"]}

    def row(code: str) -> Iterator[str]:
        known, target = hl7_codes()[code], targets[code]
        entities = {product["property"].rpartition(":")[2]: product["value"] for product in target["product"]}
        yield from (f"`{code}`", known.display, f"`{target['code']}`")
        yield from (f"`{entities[name]}`" for name in ("causingEntity", "cancellingEntity"))

    yield "## HL7's codes, and Heim's"
    yield ""
    yield from table(
        ("HL7 code", "Display", "Heim `reasonCode`", "`causingEntity`", "`cancellingEntity`"), map(row, hl7_codes())
    )
    yield "## Heim's codes, and HL7's"
    yield ""
    yield from table(
        ("Heim `reasonCode`", "Display", "HL7 code"),
        (
            (f"`{element['code']}`", heim.reasons.codes[element["code"]], f"`{element['target'][0]['code']}`")
            for element in to_hl7["element"]
        ),
    )


def states() -> Iterator[str]:
    """The table of transitions as a Mermaid state diagram."""
    names = sorted({state for (source, _), target in TRANSITIONS.items() for state in (source, target) if state})
    yield "```mermaid"
    yield "stateDiagram-v2"
    for name in names:
        yield f'    state "{name.value}" as {name.name}'
    for (source, event), target in TRANSITIONS.items():
        yield f"    {source.name if source else '[*]'} --> {target.name}: {event.value}"
    yield "```"
    yield ""


def transitions() -> Iterator[str]:
    """The table of transitions as a table: a diagram cannot be searched."""
    yield from table(
        ("From", "Event", "To"),
        (
            (f"`{source.value}`" if source else "no row", f"`{event.value}`", f"`{target.value}`")
            for (source, event), target in TRANSITIONS.items()
        ),
    )


# HTTP


def http_api() -> Iterator[str]:
    """The operations of the OpenAPI document that the facade serves."""
    document = _openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"## {method.upper()} {path}"
            yield ""
            yield f"{operation['summary']}."
            yield ""
            needs = [name for scheme in operation["security"] for name in scheme]
            yield f"Credentials: {_credentials(document, needs)}"
            yield ""
            yield from table(
                ("Parameter", "In", "Meaning"),
                (
                    (f"`{parameter['name']}`", parameter["in"], parameter.get("description", ""))
                    for parameter in (_resolve(document, one) for one in operation["parameters"])
                ),
            )
            if "requestBody" in operation:
                body = _resolve(document, operation["requestBody"])
                yield f"Request body: {', '.join(f'`{kind}`' for kind in body['content'])}"
                yield ""
                yield from _example(document, body)
            yield from table(
                ("Status", "Response"),
                (
                    (f"`{status}`", _resolve(document, response)["description"])
                    for status, response in sorted(operation["responses"].items())
                ),
            )


_CONFIGURATION = """
facade = {default_source = "heim"}
clients.docs = {key_sha256 = "1111111111111111111111111111111111111111111111111111111111111111", sources = ["*"]}
sources.heim = {plugin = "heim", environment = "test", api_key_file = "key.txt"}
"""


def _openapi() -> dict[str, Any]:
    # With clients' keys and a default source, so that credentials and the single-source routes are described.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key.txt").write_text("test_key")
        (folder / "facade.toml").write_text(_CONFIGURATION)
        built = app.assemble(folder / "facade.toml")
        with contextlib.redirect_stdout(io.StringIO()):  # the request's log line
            text = create_app(built).test_client().get("/openapi.json").text
        built.ledger.engine.dispose()
    document: dict[str, Any] = json.loads(text)
    return document


def _resolve(document: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in described:
        part: Any = document
        for name in described["$ref"].removeprefix("#/").split("/"):
            part = part[name]
        described = part
    return described


def _credentials(document: Mapping[str, Any], names: list[str]) -> str:
    if not names:
        return "none."
    schemes = document["components"]["securitySchemes"]
    return " ".join(f"`{name}`: {schemes[name].get('description', 'HTTP bearer')}" for name in names)


def _example(document: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    for content in body["content"].values():
        for example in content.get("examples", {}).values():
            value = _resolve(document, example)["value"]
            yield "```json"
            yield json.dumps(value, indent=2, ensure_ascii=False)
            yield "```"
            yield ""
            return


PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "cancellation-reasons": cancellation_reasons,
    "commands": commands,
    "faults": faults,
    "http-api": http_api,
    "plugin-api": plugin_api,
    "settings-of-the-facade": settings_of_the_facade,
    "settings-of-the-plugins": settings_of_the_plugins,
    "states": states,
    "testing-api": testing_api,
    "transitions": transitions,
}


_PAGES = {
    "CHANGELOG.md": "/changelog.md",
    "README.md": "/index.md",
    "plugins/facade_fhir_r4/README.md": "/reference/fhir-r4.md",
    "plugins/facade_heim/README.md": "/reference/heim.md",
}
"""Files outside docs/, to which a page links so that it works on GitHub, and the site's pages that have their text."""
_LINK = re.compile(rf"\]\((?:\.\./)+({'|'.join(map(re.escape, _PAGES))})")


def _write(_: Sphinx, page: str, source: list[str]) -> None:
    def part(marker: re.Match[str]) -> str:
        if marker[1] not in PARTS:
            raise ExtensionError(f"{page}: no part is named {marker[1]}; known are {', '.join(PARTS)}")
        return "\n".join(PARTS[marker[1]]())

    source[0] = _LINK.sub(lambda link: f"]({_PAGES[link[1]]}", _MARKER.sub(part, source[0]))


def setup(application: Sphinx) -> ExtensionMetadata:
    """Register with Sphinx."""
    application.connect("source-read", _write)
    return {"parallel_read_safe": True}
