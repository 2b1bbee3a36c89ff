"""The configuration of the documentation site: ``make docs`` builds it."""

import sys
from importlib.metadata import version as installed_version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "_ext"))

project = "fhir-facade"
author = "the fhir-facade maintainers"
version = release = installed_version("fhir-facade")

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinxcontrib.mermaid", "generated"]
nitpicky = True
# Only the facade's own names must lead somewhere: the build works without a network.
nitpick_ignore_regex = [
    (r"py:.*", r"(?!facade\.).*"),
    (r"py:class", r"facade\.testing\.simulator\.transport\..*"),  # only the host builds transports
]

myst_fence_as_directive = {"mermaid"}  # GitHub draws the same blocks
myst_heading_anchors = 4

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
maximum_signature_line_length = 80

html_theme = "furo"
html_title = f"fhir-facade {release}"
html_copy_source = False
