"""The types of the plugin API: what a plugin declares, what it receives, and what it returns."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal, Protocol

from marshmallow import Schema

if TYPE_CHECKING:  # only a type: a plugin without a simulator never loads Flask
    from facade.testing.simulator import BareSimulator

Appointment = dict[str, Any]
"""A FHIR R4 Appointment: JSON as a plain dict, with raw native ids. The facade encodes the ids and completes it."""


@dataclass(frozen=True)
class Coding:
    """One coding of a reason; absent members are empty strings."""

    system: str = ""
    code: str = ""
    display: str = ""


@dataclass(frozen=True)
class NativeReason:
    """A reason as the source's own code, with the properties that the ConceptMap or the client adds to it.

    ``properties`` has their values by declared name, for example ``{"causingEntity": "patient"}``. ``explicit``
    has the names of those that the client sent.
    """

    code: str
    properties: Mapping[str, str] = field(default_factory=dict)
    explicit: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class CancelRequest:
    """One validated request to cancel. ``appointment_id`` is the raw native id.

    ``note`` is text for the source: the original code's display, the client's text and comment.
    ``native_reason`` is None where the source takes no reason. ``unsupported`` says why the facade
    cannot treat this request as a cancel (another status, an unknown modifier); it is empty for a plain cancel.
    ``if_match`` has the entity tags of the client's ``If-Match``, None without that header.
    """

    appointment_id: str
    codings: tuple[Coding, ...] = ()
    text: str = ""
    note: str = ""
    native_reason: NativeReason | None = None
    unsupported: str = ""
    if_match: frozenset[str] | None = None


class WritePermit(Protocol):
    """The right to make the one native write; ``HttpClient.send`` takes it when the connection is open."""

    def __call__(self) -> None:
        """Take the permit, immediately before the first byte of the write.

        Raises NotExecuted when the write must not be made: the permit was taken before, or too little time is left.
        """


class SourceAdapter(ABC):
    """Talks to one configured source system. A method returns an Appointment or raises a SourceError, nothing else."""

    @abstractmethod
    def read(self, appointment_id: str) -> Appointment:
        """Read the appointment's current state.

        ``status`` is absent when no FHIR status is configured for the native one. It is ``cancelled`` only
        where the source itself reports that. Raises AppointmentNotFound, NotExecuted, OutcomeUnknown.
        """

    @abstractmethod
    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """Prepare everything, take the permit, write once, and return the appointment that proves the write.

        ``current`` is what ``read`` returned just before, None for a source that cannot be read. A returned
        status other than ``cancelled`` counts as OutcomeUnknown. Raises NotExecuted, OutcomeUnknown. The adapter of a
        source that cannot be read may also raise AppointmentNotFound; from any other it counts as OutcomeUnknown.
        """


class Support(Enum):
    """Whether a source system has a feature, and whether its plugin uses it."""

    FULL = "full"
    NONE = "none"  # the source has no such feature
    NOT_IMPLEMENTED = "not-implemented"  # the source has it, this plugin does not use it


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the source supports. The use case and the CapabilityStatement use only what is ``Support.FULL``.

    ``read``: an appointment can be read. ``note``: a cancel takes a text, and the adapter sends ``request.note``.
    ``versioned_writes``: a write names the version that was read, and the source rejects it, without executing
    it, when there is a newer version; the adapter then raises VersionConflict.
    ``max_connections``: how many connections the source accepts at once from all workers of the facade together;
    None for no limit. ``lacks`` has the names of required FHIR elements for which the source has no data
    (``slot``, …).
    """

    read: Support = Support.FULL
    versioned_writes: Support = Support.NONE
    lacks: frozenset[str] = frozenset()
    note: Support = Support.NONE
    max_connections: int | None = None


@dataclass(frozen=True, kw_only=True)
class NativeReasons:
    """The source's own reason codes, and how HL7's codes map to them.

    ``name`` and the keys of ``properties`` name the code systems. Their URIs are the setting
    ``code_systems``, by default ``urn:fhir-facade:<plugin>:<name>``. ``system`` is the URI of a public code system,
    for a source that uses one; it cannot be configured. ``codes`` and the values of ``properties`` map a
    code to its display. ``concept_map`` is a FHIR ConceptMap with those URIs. ``fallback`` is the native code for a
    reason that maps to no other.
    """

    name: str
    codes: Mapping[str, str]
    concept_map: Mapping[str, Any]
    fallback: str
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    system: str = ""


def utc_now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """What an adapter is built from: the source's name, which is its path segment in URLs, and its settings.

    ``settings`` is what the plugin's settings schema loaded. ``now`` returns the current time; tests replace it.
    """

    plugin: str
    name: str
    settings: Mapping[str, Any]
    now: Callable[[], datetime] = utc_now

    def identifier_system(self, name: str) -> str:
        """Return the system URI of this source's identifiers of one kind (``Appointment``, ``Patient``, …)."""
        systems: Mapping[str, str] = self.settings.get("identifier_systems", {})
        return systems.get(name, default_identifier_system(self.name, name))

    def code_system(self, name: str) -> str:
        """Return the system URI of one of the source's code lists (``reasonCode``, …)."""
        systems: Mapping[str, str] = self.settings.get("code_systems", {})
        return systems.get(name, default_code_system(self.plugin, name))


def default_identifier_system(source: str, name: str) -> str:
    """Return the default system URI of a source's identifiers of one kind."""
    return f"urn:fhir-facade:{source}:{name}"


def default_code_system(plugin: str, name: str) -> str:
    """Return the default system URI of a native code list. The plugin's ConceptMap uses it too."""
    return f"urn:fhir-facade:{plugin}:{name}"


@dataclass(frozen=True, kw_only=True)
class CanonicalId:
    """The canonical spelling of ids, for a source that takes ``007`` and ``7``, or ``A1`` and ``a1``, for the same id.

    ``form`` maps each spelling that ``id_pattern`` accepts to the canonical one; it is idempotent. The facade uses
    the canonical id in requests to the source and in the ledger's key. ``version`` is 1 or more and changes whenever
    ``form`` changes. The ledger stores it; after a change the start is refused until ``facade ledger rekey`` was run.
    """

    version: int
    form: Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class SourcePlugin:
    """A plugin's declaration of one kind of source.

    ``api`` is the version of the plugin API that the plugin was written for, ``MAJOR.MINOR``: the value of
    ``facade.PLUGIN_API`` then, written out. ``name`` is the plugin's name, equal to its entry point's name.
    ``adapter`` builds the adapter of one configured source. ``settings`` is a subclass of SourceSettings.
    ``id_pattern`` is a regular expression that matches every native appointment id as a whole. ``repeat`` is what a
    second native cancel does: ``errors``, ``idempotent`` or ``harmful``. ``reasons`` is None for a source that takes no
    reason. ``simulator`` builds the simulator of the source.
    ``identifiers`` and ``code_systems`` name the kinds of native ids and codes whose system URIs can be configured,
    besides ``Appointment`` and those of the reasons. ``webhook`` takes a webhook's JSON and the source's settings, and
    returns the raw native appointment id, or None for a webhook about something else. A source with webhooks
    needs a subclass of WebhookSettings. ``canonical_id`` is for a source that takes several spellings of an id for one
    appointment; without it, each spelling is another appointment.
    """

    api: str
    name: str
    adapter: Callable[[SourceConfig], SourceAdapter]
    settings: type[Schema]
    id_pattern: str
    repeat: Literal["errors", "idempotent", "harmful"]
    reasons: NativeReasons | None = None
    capabilities: Capabilities = Capabilities()
    identifiers: tuple[str, ...] = ()
    code_systems: tuple[str, ...] = ()
    webhook: Callable[[Any, Mapping[str, Any]], str | None] | None = None
    simulator: "Callable[[], BareSimulator] | None" = None
    canonical_id: CanonicalId | None = None
