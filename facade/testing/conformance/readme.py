"""Find and parse a plugin's README: its headings, its table of settings and its example configuration."""

import re
import tomllib
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from facade.plugin.discovery import GROUP

HEADINGS = ("What it does", "Settings", "Reasons", "What the response adds", "Simulator")
_PROJECT = ("setup.cfg", "pyproject.toml", "setup.py")


def find(plugin: str) -> str:
    """Return the README of an installed plugin; empty if there is none."""
    for entry_point in entry_points(group=GROUP, name=plugin):
        spec = find_spec(entry_point.module)
        beside = Path(spec.origin).parent if spec is not None and spec.origin else Path()
        for folder in (beside, *beside.parents[:3]):
            path = folder / "README.md"
            # In a parent folder, only beside a setup file: site-packages may contain the README of another project.
            if path.is_file() and (folder == beside or any((folder / name).is_file() for name in _PROJECT)):
                return path.read_text("utf-8")
        described = entry_point.dist.metadata.json.get("description") if entry_point.dist is not None else ""
        if isinstance(described, str) and described.strip():
            return described
    return ""


def headings(text: str) -> list[str]:
    """Return the second-level headings, in their order."""
    return re.findall(r"^## +(.+?)\s*$", _without_code(text), re.MULTILINE)


def settings(text: str) -> list[str]:
    """Return the names in the first cells of the table of settings; a cell may contain several."""
    section = re.search(r"^## +Settings\s*$(.*?)(?=^## |\Z)", _without_code(text), re.MULTILINE | re.DOTALL)
    cells = re.findall(r"^\|([^|]*)\|", section[1] if section else "", re.MULTILINE)
    return [name for cell in cells for name in re.findall(r"`([A-Za-z0-9_]+)`", cell)]


def examples(text: str, plugin: str) -> dict[str, Any]:
    """Return the tables of this plugin's sources in the ```toml blocks, by name. Raises ValueError for invalid TOML."""
    tables: dict[str, Any] = {}
    for block in re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        sources = tomllib.loads(block).get("sources", {})
        tables |= {
            name: table for name, table in sources.items() if isinstance(table, dict) and table.get("plugin") == plugin
        }
    return tables


def _without_code(text: str) -> str:
    return re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
