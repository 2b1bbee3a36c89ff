"""The version of the plugin API, and the check that a plugin was built for a compatible one.

The version is ``MAJOR.MINOR``, as in semantic versioning: a new minor version only adds, a new major version may remove
what an earlier minor version has deprecated.
"""

import re

PLUGIN_API = "1.0"
"""The version of the plugin API that this fhir-facade has."""

_VERSION = re.compile(r"(0|[1-9][0-9]{0,3})\.(0|[1-9][0-9]{0,3})")


def is_version(version: object) -> bool:
    """Whether this is a version as ``SourcePlugin.api`` states it."""
    return isinstance(version, str) and _VERSION.fullmatch(version) is not None


def incompatibility(built_for: str, distribution: str, *, provided: str = PLUGIN_API) -> str | None:
    """Say why a plugin cannot be used with this plugin API, and what to install; None where it can be used.

    ``built_for`` is the version that the plugin declares, ``distribution`` the one that the plugin comes from.
    A plugin can be used where the major versions are equal and its minor version is not above the facade's.
    """
    (major, minor), (own_major, own_minor) = _parts(built_for), _parts(provided)
    if major == own_major and minor <= own_minor:
        return None
    is_newer = (major, minor) > (own_major, own_minor)
    newer, older = ("fhir-facade", distribution) if is_newer else (distribution, "fhir-facade")
    return (
        f"is built for plugin API {built_for}, and this fhir-facade has plugin API {provided}; "
        f"upgrade {newer}, or install an older {older}"
    )


def _parts(version: str) -> tuple[int, int]:
    major, minor = version.split(".")
    return int(major), int(minor)
