"""What a run does once instead of hundreds of times. Nothing here changes what any code returns."""

import json
import os
import sys
from typing import Any

from facade.fhir import concept_map


def keep_bytecode() -> None:
    """Let processes that tests start keep their bytecode, or each of some hundred compiles all modules again."""
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False


def without_coverage() -> dict[str, str]:
    """The environment for a process that runs thousands of tests again: not measured, it takes half the time."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE")}


def validate_each_map_once() -> None:
    """Validate equal ConceptMaps as FHIR R4 once in a process: hundreds of facades have the same one."""
    validate = concept_map._find_invalid
    known: dict[str, list[str]] = {}

    def remembered(resource: Any) -> list[str]:
        try:
            text = json.dumps(resource)
        except (TypeError, ValueError):  # not JSON: nothing to remember it by
            return validate(resource)
        if text not in known:
            known[text] = validate(resource)
        return list(known[text])

    concept_map._find_invalid = remembered
