"""What can be found out about a plugin and a configured source without cancelling anything: one line a finding."""

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
# Ids that no source is likely to have; the first one that the pattern allows is asked for.
_MADE_UP = ("facade-check", "facade_check", "facadecheck", "00000000-0000-0000-0000-000000000000", "999999999", "0")
# What never reaches a source, whatever its pattern says.
_NEVER_IDS = {"/": "a slash", "\\": "a backslash", "\n": "a line break", " ": "a space", "": "nothing at all"}


@dataclass(frozen=True)
class Finding:
    """About which source or plugin, which side of it, how bad, and a sentence."""

    about: str
    topic: str
    verdict: Literal["ok", "warning", "problem"]
    text: str

    def __str__(self) -> str:
        mark = "" if self.verdict == "ok" else f"{self.verdict}: "
        return f"{self.about:<14}{self.topic:<12}{mark}{self.text}"


def of_plugin(plugin: InstalledPlugin) -> Iterator[Finding]:
    """What its declaration says, and what in it an author may want to fix."""
    system = plugin.declaration
    yield Finding(system.name, "plugin", "ok", f"from {plugin.distribution} {plugin.version}".rstrip())
    yield _ids(system)
    yield Finding(system.name, "can", "ok", capabilities(system))
    if system.reasons is None:
        yield Finding(system.name, "mapping", "ok", "takes no reason")
    else:
        yield _mapping(system.name, _own_map(system, system.reasons))
    yield _simulator(system)


def of_source(source: ConfiguredSource) -> Iterator[Finding]:
    """What its settings make of it."""
    text = f"{len(source.settings)} in force; settle window {source.settle_window:g} s"
    yield Finding(source.name, "settings", "ok", text)
    if source.mapping is not None:
        yield _mapping(source.name, source.mapping)


def online(source: ConfiguredSource, appointment_id: str | None) -> Finding:
    """Whether a read reaches the source and is understood; never a cancel."""
    if not source.readable:
        return Finding(source.name, "online", "warning", "cannot be read, so whether it is reachable was not tried")
    pattern = source.plugin.id_pattern
    given = appointment_id or next((known for known in _MADE_UP if re.fullmatch(pattern, known)), None)
    if given is None:
        return Finding(source.name, "online", "warning", "no made-up id fits its id pattern; name one with --id")
    try:
        found = native.read(source, given, _READ_WITHIN)
    except AppointmentNotFound:
        text = f"reached; it accepts the credentials and, in its own words, does not know the appointment {given}"
        return Finding(source.name, "online", "ok", text)
    except SourceError as error:
        return Finding(source.name, "online", "problem", _next_step(error))
    return Finding(source.name, "online", "ok", f"reached; the appointment {given} is {found.get('status')}")


def capabilities(system: SourcePlugin) -> str:
    """What a source system can do, in one line."""
    can = system.capabilities
    yes_or_no = {True: Support.FULL, False: Support.NONE}
    matrix = {
        "read": can.read,
        "reason": yes_or_no[system.reasons is not None],
        "note": can.note,
        "versioned writes": can.versioned_writes,
        "webhook": yes_or_no[system.webhook is not None],
    }
    said = ", ".join(f"{name}: {what.value}" for name, what in matrix.items())
    lacks = f"; lacks {', '.join(sorted(can.lacks))}" if can.lacks else ""
    limit = f"; at most {can.max_connections} at once" if can.max_connections is not None else ""
    return f"cancel: full, {said}; a repeated native cancel: {system.repeat}{lacks}{limit}"


def _ids(system: SourcePlugin) -> Finding:
    wide = [what for id_, what in _NEVER_IDS.items() if re.fullmatch(system.id_pattern, id_)]
    if wide:
        text = f"{system.id_pattern} allows {', '.join(wide)}; narrow it to the ids that the source gives"
        return Finding(system.name, "ids", "warning", text)
    return Finding(system.name, "ids", "ok", system.id_pattern)


def _own_map(system: SourcePlugin, native_reasons: NativeReasons) -> ReasonMap:
    return concept_map.load(
        native_reasons.concept_map, native_reasons, plugin=system.name, code_systems={}, fallback=None
    )


def _mapping(about: str, mapping: ReasonMap) -> Finding:
    fallback = f"any other: {mapping.fallback or 'refused'}"
    mapped_only = replace(mapping, fallback=None)
    lost = [code for code in reasons.hl7_codes() if mapped_only.choose([Coding(reasons.SYSTEM, code)]) is None]
    total = len(reasons.hl7_codes())
    if lost:
        text = f"{', '.join(lost)} of HL7's {total} codes map nowhere, nor do their parents; {fallback}"
        return Finding(about, "mapping", "warning", text)
    return Finding(about, "mapping", "ok", f"all {total} HL7 codes reach a native code; {fallback}")


def _simulator(system: SourcePlugin) -> Finding:
    if system.simulator is None:
        text = "none; the sandbox and the conformance kit need one, see docs/guides/write-a-source-plugin.md"
        return Finding(system.name, "simulator", "warning", text)
    try:
        simulator = system.simulator()
        missing = simulator.fault_ids().keys() - simulator.seeds(simulator.clock.now()).keys()
    except Exception as error:  # noqa: BLE001 - a plugin's code may fail in any way
        return Finding(system.name, "simulator", "problem", f"cannot be built ({type(error).__name__}); fix it")
    if missing:
        text = f"seeds no appointment for the fault ids {', '.join(sorted(missing)[:3])}, …; add them to seeds()"
        return Finding(system.name, "simulator", "problem", text)
    shown = len(simulator.shown_faults())
    faults = f"{shown} faults on demand" if shown == len(FAULTS) else f"{shown} of {len(FAULTS)} faults on demand"
    if not is_servable(simulator):
        text = f"behaves, with {faults}; the sandbox leaves it out: it is not HTTP and has no listener"
        return Finding(system.name, "simulator", "warning", text)
    return Finding(system.name, "simulator", "ok", f"behaves, with {faults}")


def _next_step(error: SourceError) -> str:
    steps = {
        Cause.CREDENTIALS: "it refuses the credentials; set the right ones",
        Cause.UNREACHABLE: "it cannot be reached; look at the base URL, the network and the certificate",
        Cause.TIMEOUT: f"no answer within {_READ_WITHIN:g} s; look at the base URL and the network",
        Cause.NOT_SHOWN: "it refuses to show appointments; give the credentials that right",
        Cause.UNREADABLE: "it answers what the plugin cannot read; look at the base URL, and at the plugin's settings",
    }
    step = steps.get(error.cause, "the read failed; try again, then look at the source system")
    return f"{step} ({error.detail})" if error.detail else step


def problems_of(findings: list[Finding]) -> int:
    """How many findings keep a source from working."""
    return sum(finding.verdict == "problem" for finding in findings)


def misdeclared(name: str, error: ConfigurationError) -> list[Finding]:
    """A plugin that cannot be used, as findings."""
    return [Finding(name, "plugin", "problem", problem) for problem in error.problems]
