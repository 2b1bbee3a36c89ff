"""Folders of the project that tests read."""

from pathlib import Path

ROOT = Path(__file__).parents[2]
"""The project's folder, which holds ``setup.cfg``."""
DOCS = ROOT / "docs"
FHIR_ENGINE = ROOT / "tests" / "fhir_engine"
