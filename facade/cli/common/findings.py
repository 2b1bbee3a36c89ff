"""The findings of ``facade check`` about plugins and configured sources. No check cancels anything."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from facade.cancellation import native
from facade.errors import AppointmentNotFound, Cause, ConfigurationError, SourceError
from facade.fhir import concept_map, reasons
from facade.fhir.reasons import ReasonMap
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Coding, NativeReasons, SourcePlugin, Support
from facade.plugin.discovery import InstalledPlugin
from facade.testing.simulator.faults import FAULTS
from facade.testing.simulator.host import is_servable

_READ_WITHIN = 5.0  # seconds
# Ids that no source is likely to have. --online reads the first one that the id pattern allows.
_INVENTED_IDS = (
    "facade-check",
    "facade_check",
    "facadecheck",
    "00000000-0000-0000-0000-000000000000",
    "999999999",
    "0",
)
# Ids that the facade never sends to a source, whatever the id pattern allows.
_REJECTED_IDS = {"/": "a slash", "\\": "a backslash", "\n": "a line break", " ": "a space", "": "the empty string"}


@dataclass(frozen=True)
class Finding:
    """One line of ``facade check``: the source or plugin, the topic, the severity and a sentence."""

    about: str
    topic: str
    severity: Literal["ok", "warning", "problem"]
    text: str

    def __str__(self) -> str:
        mark = "" if self.severity == "ok" else f"{self.severity}: "
        return f"{self.about:<14}{self.topic:<12}{mark}{self.text}"


def check_plugin(plugin: InstalledPlugin) -> Iterator[Finding]:
    """Report what a plugin declares, with a warning for each part that its author should fix."""
    declaration = plugin.declaration
    yield Finding(declaration.name, "plugin", "ok", f"from {plugin.distribution} {plugin.version}".rstrip())
    yield _check_ids(declaration)
    yield Finding(declaration.name, "supports", "ok", capabilities(declaration))
    if declaration.reasons is None:
        yield Finding(declaration.name, "mapping", "ok", "takes no reason")
    else:
        yield _check_mapping(declaration.name, _own_map(declaration, declaration.reasons))
    yield _check_simulator(declaration)


def unusable_plugin(name: str, error: ConfigurationError) -> list[Finding]:
    """Return the problems of a plugin that cannot be loaded, as findings."""
    return [Finding(name, "plugin", "problem", problem) for problem in error.problems]


def check_source(source: ConfiguredSource) -> Iterator[Finding]:
    """Report a source's settings and its reason map."""
    text = f"{len(source.settings)} in force; settle window {source.settle_window:g} s"
    yield Finding(source.name, "settings", "ok", text)
    if source.mapping is not None:
        yield _check_mapping(source.name, source.mapping)


def check_online(source: ConfiguredSource, appointment_id: str | None) -> Finding:
    """Read one appointment and report whether the source responds as the plugin expects."""
    if not source.readable:
        return Finding(source.name, "online", "warning", "this source is not read, so its connection was not checked")
    pattern = source.plugin.id_pattern
    given = appointment_id or next((known for known in _INVENTED_IDS if re.fullmatch(pattern, known)), None)
    if given is None:
        return Finding(source.name, "online", "warning", "no invented id fits its id pattern; name one with --id")
    try:
        found = native.read(source, given, _READ_WITHIN)
    except AppointmentNotFound:
        text = f"reached; it accepts the credentials and reports that it has no appointment {given}"
        return Finding(source.name, "online", "ok", text)
    except SourceError as error:
        return Finding(source.name, "online", "problem", _next_step(error))
    return Finding(source.name, "online", "ok", f"reached; the appointment {given} is {found.get('status')}")


def capabilities(plugin: SourcePlugin) -> str:
    """Describe in one line what a plugin supports."""
    declared = plugin.capabilities
    support = {True: Support.FULL, False: Support.NONE}
    matrix = {
        "cancel": Support.FULL,
        "read": declared.read,
        "reason": support[plugin.reasons is not None],
        "note": declared.note,
        "versioned writes": declared.versioned_writes,
        "webhook": support[plugin.webhook is not None],
    }
    listed = ", ".join(f"{name}: {level.value}" for name, level in matrix.items())
    lacks = f"; lacks {', '.join(sorted(declared.lacks))}" if declared.lacks else ""
    limit = f"; at most {declared.max_connections} at once" if declared.max_connections is not None else ""
    return f"{listed}; a repeated native cancel: {plugin.repeat}{lacks}{limit}"


def count_problems(findings: list[Finding]) -> int:
    """Count the findings that keep a source from working."""
    return sum(finding.severity == "problem" for finding in findings)


def _check_ids(plugin: SourcePlugin) -> Finding:
    too_wide = [what for id_, what in _REJECTED_IDS.items() if re.fullmatch(plugin.id_pattern, id_)]
    if too_wide:
        text = f"{plugin.id_pattern} allows {', '.join(too_wide)}; narrow it to the ids that the source uses"
        return Finding(plugin.name, "ids", "warning", text)
    return Finding(plugin.name, "ids", "ok", plugin.id_pattern)


def _own_map(plugin: SourcePlugin, native_reasons: NativeReasons) -> ReasonMap:
    return concept_map.load(
        native_reasons.concept_map, native_reasons, plugin=plugin.name, code_systems={}, fallback=None
    )


def _check_mapping(about: str, mapping: ReasonMap) -> Finding:
    fallback = f"any other: {mapping.fallback or 'refused'}"
    mapped_only = replace(mapping, fallback=None)
    unmapped = [code for code in reasons.hl7_codes() if mapped_only.choose([Coding(reasons.SYSTEM, code)]) is None]
    total = len(reasons.hl7_codes())
    if unmapped:
        text = f"{len(unmapped)} of HL7's {total} codes have no mapping, nor have their parents: {', '.join(unmapped)}"
        return Finding(about, "mapping", "warning", f"{text}; {fallback}")
    return Finding(about, "mapping", "ok", f"all {total} HL7 codes map to a native code; {fallback}")


def _check_simulator(plugin: SourcePlugin) -> Finding:
    if plugin.simulator is None:
        text = "none; the sandbox and the conformance kit need one, see docs/guides/write-a-source-plugin.md"
        return Finding(plugin.name, "simulator", "warning", text)
    try:
        simulator = plugin.simulator()
        missing = simulator.fault_ids().keys() - simulator.seeds(simulator.clock.now()).keys()
    except Exception as error:  # noqa: BLE001 - a plugin's code may fail in any way
        return Finding(plugin.name, "simulator", "problem", f"cannot be built ({type(error).__name__}); fix it")
    if missing:
        text = f"seeds no appointment for the fault ids {', '.join(sorted(missing)[:3])}, …; add them to seeds()"
        return Finding(plugin.name, "simulator", "problem", text)
    shown = len(simulator.shown_faults())
    faults = f"{shown} faults" if shown == len(FAULTS) else f"{shown} of {len(FAULTS)} faults"
    if not is_servable(simulator):
        text = f"shows {faults}; the sandbox does not serve it: it is not HTTP and has no listener"
        return Finding(plugin.name, "simulator", "warning", text)
    return Finding(plugin.name, "simulator", "ok", f"shows {faults}")


def _next_step(error: SourceError) -> str:
    steps = {
        Cause.CREDENTIALS: "it rejects the credentials; set the right ones",
        Cause.UNREACHABLE: "it cannot be reached; check the base URL, the network and the certificate",
        Cause.TIMEOUT: f"no response within {_READ_WITHIN:g} s; check the base URL and the network",
        Cause.NOT_SHOWN: "it refuses to show appointments; grant the credentials the right to read",
        Cause.UNREADABLE: "the plugin cannot read its response; check the base URL and the plugin's settings",
    }
    step = steps.get(error.cause, "the read failed; retry, then check the source system")
    return f"{step} ({error.detail})" if error.detail else step
