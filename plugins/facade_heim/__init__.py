"""The plugin for Heim: its declaration."""

import json
from importlib.resources import files
from typing import TYPE_CHECKING

from facade import Capabilities, NativeReasons, SourcePlugin, Support, hookimpl
from facade_heim import codes
from facade_heim.adapter import HeimAdapter
from facade_heim.schemas import webhook_appointment
from facade_heim.settings import HeimSettings

if TYPE_CHECKING:
    from facade.testing.simulator import Simulator


def _simulator() -> "Simulator":
    # Imported on demand: serving needs no simulator, and no Flask application for one.
    from facade_heim.simulator import HeimSimulator

    return HeimSimulator()


@hookimpl
def facade_source_plugin() -> SourcePlugin:
    """Declare Heim."""
    return SourcePlugin(
        api="1.0",
        name="heim",
        adapter=HeimAdapter,
        settings=HeimSettings,
        id_pattern=r"[A-Za-z0-9_.-]{1,64}",
        repeat="errors",
        reasons=NativeReasons(
            name="reasonCode",
            codes=codes.REASONS,
            properties={
                "causingEntity": codes.CAUSING_ENTITIES,
                "cancellingEntity": codes.CANCELLING_ENTITIES,
            },
            concept_map=json.loads(files("facade_heim").joinpath("conceptmap.json").read_text("utf-8")),
            fallback="organisation_cancelled",
        ),
        capabilities=Capabilities(note=Support.FULL),
        identifiers=("Patient", "Practitioner", "Slot", "externalReference"),
        code_systems=("task", "appointmentType"),
        webhook=webhook_appointment,
        simulator=_simulator,
    )
