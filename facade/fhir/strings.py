"""Make free text from clients and sources valid as a FHIR string."""

import re

# R4's string allows tab, line feed and carriage return below U+0020, and no other control characters.
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def strip_controls(text: str) -> str:
    """Replace control characters by spaces, and strip surrounding white space."""
    return _CONTROL.sub(" ", text).strip()
