"""Write tables and diagrams of what the code declares: faults, cancellation reasons, states."""

from collections.abc import Iterator

from sphinx.errors import ExtensionError

from facade.cancellation.states import TRANSITIONS
from facade.fhir.reasons import hl7_codes
from facade.testing.simulator.faults import FAULTS
from generated.markdown import table
from generated.plugins import own_plugins


def faults() -> Iterator[str]:
    """Every fault by name, with what the source does."""
    yield from table(
        ("Fault", "On", "What the source does", "A cancel ends in"),
        ((f"`{f.name}`", f.operation, f.description, f"`{f.ends_in}`") for f in FAULTS.values()),
    )


def cancellation_reasons() -> Iterator[str]:
    """HL7's codes, and what they become for Heim."""
    (heim,) = (plugin for plugin in own_plugins() if plugin.name == "heim")
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
