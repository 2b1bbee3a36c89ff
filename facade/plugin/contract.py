"""The seam between the facade and a source system: what a plugin declares, is given, and gives back."""

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
"""FHIR R4 JSON as a plain dict with raw native ids; the facade encodes ids and completes it."""


@dataclass(frozen=True)
class Coding:
    """One coding of a reason; absent members are empty strings."""

    system: str = ""
    code: str = ""
    display: str = ""


@dataclass(frozen=True)
class NativeReason:
    """A reason in the source's own words: its code, and what the ConceptMap or the client adds to it.

    ``properties`` are by declared name, for example ``{"causingEntity": "patient"}``; ``explicit`` names those
    that the client gave.
    """

    code: str
    properties: Mapping[str, str] = field(default_factory=dict)
    explicit: frozenset[str] = frozenset()


@dataclass(frozen=True, kw_only=True)
class CancelRequest:
    """One wish to cancel, checked. ``appointment_id`` is the raw native id.

    ``note`` is prose for the source: the original code's display, the client's text and comment.
    ``native_reason`` is None where the source takes no reason. ``unsupported`` says why this request
    cannot be honoured as a cancel (another status, an unknown modifier); empty for a plain cancel.
    """

    appointment_id: str
    codings: tuple[Coding, ...] = ()
    text: str = ""
    note: str = ""
    native_reason: NativeReason | None = None
    unsupported: str = ""
    if_match: frozenset[str] | None = None


class WritePermit(Protocol):
    """The right to make the one native write; ``HttpClient.send`` takes it when the connection stands."""

    def __call__(self) -> None:
        """Take it, immediately before the first byte of the write.

        Raises NotExecuted when the write must not be made: it was taken before, or too little time is left.
        """


class SourceAdapter(ABC):
    """Talks to one configured source system. Returns, or raises a SourceError; nothing else."""

    @abstractmethod
    def read(self, appointment_id: str) -> Appointment:
        """The appointment as it stands now.

        ``status`` is absent when the native status has no FHIR word that is configured; it is
        ``cancelled`` only on the source's own evidence. Raises AppointmentNotFound, NotExecuted, OutcomeUnknown.
        """

    @abstractmethod
    def cancel(self, request: CancelRequest, current: Appointment | None, permit: WritePermit) -> Appointment:
        """Prepare everything, take the permit, write once; return the appointment the write proved.

        ``current`` is what ``read`` gave just before, None for a source that cannot read. A returned
        status other than ``cancelled`` counts as OutcomeUnknown. Raises NotExecuted, OutcomeUnknown; a source that
        cannot be read also AppointmentNotFound, which of any other counts as OutcomeUnknown.
        """


class Support(Enum):
    """Whether a source system can do a thing."""

    FULL = "full"
    NONE = "none"  # the source has no such feature
    NOT_IMPLEMENTED = "not-implemented"  # the source has it, this plugin does not use it


@dataclass(frozen=True, kw_only=True)
class Capabilities:
    """What the source offers; the CapabilityStatement and the use case go by it. What is not YES is not used.

    ``note``: a cancel takes a text, and ``request.note`` reaches the source with it. ``max_connections``: how many
    connections the source takes at once from all workers of the facade together, None for as many as there are.

    ``versioned_writes``: a write names the version that was read, and the source refuses it, without executing
    it, once there is another; the adapter raises VersionConflict then. ``lacks`` names required FHIR elements that
    the source has no such thing for (``slot``, …).
    """

    read: Support = Support.FULL
    versioned_writes: Support = Support.NONE
    lacks: frozenset[str] = frozenset()
    note: Support = Support.NONE
    max_connections: int | None = None


@dataclass(frozen=True, kw_only=True)
class NativeReasons:
    """The source's own reason codes and how HL7's map to them.

    ``name`` and the keys of ``properties`` name the code systems; their URIs are the setting
    ``code_systems``, by default ``urn:fhir-facade:<plugin>:<name>``. ``system`` is the URI of codes that are not
    the source's own but the world's; it cannot be configured. ``codes`` and the property values are
    code → display. ``concept_map`` is a FHIR ConceptMap with those URIs.
    """

    name: str
    codes: Mapping[str, str]
    concept_map: Mapping[str, Any]
    fallback: str
    properties: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    system: str = ""


def utc_now() -> datetime:
    """The current instant, with its zone."""
    return datetime.now(UTC)


@dataclass(frozen=True, kw_only=True)
class SourceConfig:
    """One configured source, as its adapter gets it: the name in the URL, and the checked settings.

    ``settings`` is what the plugin's settings schema loaded. ``now`` is the clock to judge by.
    """

    plugin: str
    name: str
    settings: Mapping[str, Any]
    now: Callable[[], datetime] = utc_now

    def identifier_system(self, name: str) -> str:
        """The system URI of this source's identifiers of one kind (``Appointment``, ``Patient``, …)."""
        systems: Mapping[str, str] = self.settings.get("identifier_systems", {})
        return systems.get(name, default_identifier_system(self.name, name))

    def code_system(self, name: str) -> str:
        """The system URI of one of the source's code lists (``reasonCode``, …)."""
        systems: Mapping[str, str] = self.settings.get("code_systems", {})
        return systems.get(name, default_code_system(self.plugin, name))


def default_identifier_system(source: str, name: str) -> str:
    """The system URI of a source's identifiers of one kind where none is configured."""
    return f"urn:fhir-facade:{source}:{name}"


def default_code_system(plugin: str, name: str) -> str:
    """The system URI of a native code list where none is configured, and in the plugin's ConceptMap."""
    return f"urn:fhir-facade:{plugin}:{name}"


@dataclass(frozen=True, kw_only=True)
class CanonicalId:
    """Which spellings of an id a source takes for the same appointment: ``007`` and ``7``, ``A1`` and ``a1``.

    ``form`` maps each spelling that ``id_pattern`` accepts to one of them; it is idempotent. The source is asked with
    the canonical id, and the ledger's key is made of it. ``version`` is 1 or more and changes whenever ``form`` does:
    the ledger remembers it, and a start with another version is refused until ``facade ledger rekey`` was run.
    """

    version: int
    form: Callable[[str], str]


@dataclass(frozen=True, kw_only=True)
class SourcePlugin:
    """A plugin's declaration.

    ``name`` is the plugin's name, the same as its entry point's. ``adapter`` builds the adapter of one
    configured source. ``settings`` is a subclass of SourceSettings. ``id_pattern`` is a regular
    expression that every native appointment id matches whole. ``repeat`` is what a second native
    cancel does: ``errors``, ``idempotent`` or ``harmful``. ``simulator`` builds the source's stand-in.
    ``identifiers`` and ``code_systems`` name the kinds of native ids and of codes, besides ``Appointment`` and
    the reasons', whose system URIs can be configured. ``webhook`` reads the raw native appointment id off a
    webhook's JSON, with the source's settings; None for a webhook about something else. A source with webhooks
    has a subclass of WebhookSettings. ``canonical_id`` is for a source that takes several spellings of an id for one
    appointment; without it, one spelling is one appointment.
    """

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
