"""Write the parts of the documentation that are made from code, while Sphinx builds the site.

A page says ``<!-- generated: NAME -->`` where the part belongs; ``PARTS`` names the function that writes it, as
Markdown. All generated parts are made at build time, none is committed: they cannot be out of date, no command has to
be run after a change of the code, and autodoc works that way too.
"""

import re
from collections.abc import Callable, Iterator

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.typing import ExtensionMetadata

from generated import code_tables, commands, http_api, python_api, settings

_MARKER = re.compile(r"^<!-- generated: ([a-z-]+) -->$", re.MULTILINE)

PARTS: dict[str, Callable[[], Iterator[str]]] = {
    "cancellation-reasons": code_tables.cancellation_reasons,
    "commands": commands.commands,
    "faults": code_tables.faults,
    "http-api": http_api.http_api,
    "plugin-api": python_api.plugin_api,
    "settings-of-the-facade": settings.settings_of_the_facade,
    "settings-of-the-sources": settings.settings_of_the_sources,
    "states": code_tables.states,
    "testing-api": python_api.testing_api,
    "transitions": code_tables.transitions,
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
