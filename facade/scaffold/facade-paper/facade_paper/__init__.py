"""The declaration of Paper's plugin."""

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from facade import Capabilities, NativeReasons, SourcePlugin, Support, hookimpl

from facade_paper import codes
from facade_paper.adapter import PaperAdapter
from facade_paper.settings import PaperSettings

if TYPE_CHECKING:
    from facade.testing.simulator import Simulator


def _simulator() -> "Simulator":
    # Imported here, because serving needs no simulator.
    from facade_paper.simulator import PaperSimulator

    return PaperSimulator()


@hookimpl
def facade_source_plugin() -> SourcePlugin:
    """Declare Paper."""
    concept_map = files("facade_paper").joinpath("conceptmap.json").read_text("utf-8")
    return SourcePlugin(
        api="1.0",
        name="paper",
        adapter=PaperAdapter,
        settings=PaperSettings,
        id_pattern=r"[A-Za-z0-9_-]{1,40}",
        repeat="errors",
        reasons=NativeReasons(
            name="reason",
            codes=codes.REASONS,
            concept_map=json.loads(concept_map),
            fallback="practice",
        ),
        capabilities=Capabilities(note=Support.FULL, lacks=frozenset({"slot"})),
        identifiers=("Patient", "Practitioner"),
        code_systems=("service", "kind"),
        simulator=_simulator,
    )
