"""Free text from clients and sources, made fit for a FHIR string."""

import re

# R4's string allows tab, line feed and carriage return below U+0020, and no others.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def clean(text: str) -> str:
    """The text without control characters and surrounding white space."""
    return _CONTROL.sub(" ", text).strip()
