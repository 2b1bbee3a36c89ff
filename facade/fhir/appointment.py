"""Complete an Appointment: add identifiers and required elements, encode ids, and enforce R4's invariants."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from facade.fhir import contained, data_absent, ids, sanitize, security_labels, validation
from facade.plugin.contract import Appointment

# In FHIR's order. implicitRules and modifierExtension are missing: native.checked rejects an Appointment with them.
_ORDER = (
    "resourceType id meta language text contained extension identifier status "
    "cancelationReason serviceCategory serviceType specialty appointmentType reasonCode reasonReference priority "
    "description supportingInformation start end minutesDuration slot created comment patientInstruction basedOn "
    "participant requestedPeriod"
).split()
ELEMENTS = frozenset(_ORDER)
"""The R4 names of the elements that a response may contain."""
# The facade sets these elements. The source's values for them are not copied.
_SET_BY_FACADE = {"resourceType", "id", "status", "cancelationReason"}
PLACEHOLDERS: dict[str, Callable[[str], Any]] = {
    "serviceType": lambda reason: [data_absent.concept(reason)],
    "appointmentType": data_absent.concept,
    "slot": lambda reason: [data_absent.reference(reason)],
    "participant": lambda reason: [data_absent.participant(reason)],
}
REQUIRED_ELEMENTS = frozenset(PLACEHOLDERS)
"""The elements, besides ``id``, ``identifier`` and ``status``, that a scheduler needs to map a response."""

# A reference may name one version of a resource: http://hl7.org/fhir/R4/references.html#literal
_RELATIVE_REFERENCE = re.compile(r"([A-Z][A-Za-z]+)/(.+?)(/_history/[A-Za-z0-9\-.]{1,64})?", re.DOTALL)
# The version and its time come from the ledger. A profile was claimed for the source's resource and may not hold for
# the response, which has more elements and may have another status. Security labels, tags and the source stay true.
_DROPPED_META = {"versionId", "lastUpdated", "profile"}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """The public identity of one source: its name in URLs, and the URIs of its identifier systems.

    ``source_system`` is the URI of the system whose values are source names. ``native_system`` returns the URI of the
    system of native ids for a FHIR resource type. ``lacks`` names the elements that the source does not support.
    """

    source: str
    source_system: str
    native_system: Callable[[str], str]
    lacks: frozenset[str] = field(default=frozenset())


def complete(
    native: Appointment | None,
    *,
    identity: Identity,
    appointment_id: str,
    status: str,
    absent: str = "unknown",
    reason: Mapping[str, Any] | None = None,
    why: Mapping[str, Any] | None = None,
    version: int = 0,
) -> tuple[Appointment, list[str]]:
    """Build the Appointment to send.

    Return it with the names of the native elements that were left out, wholly or in part, because they are not R4.

    - ``native``: the Appointment from the adapter, with raw ids; None if nothing was read.
    - ``appointment_id``: the raw native id.
    - ``status``: the R4 status of the response.
    - ``absent``: the data-absent-reason code for required elements that ``native`` lacks.
    - ``reason``: the ``cancelationReason``; used only if ``status`` allows one.
    - ``why``: an OperationOutcome to contain, for a proposed response.
    - ``version``: the ``meta.versionId``.
    """
    known = {key: value for key, value in (native or {}).items() if key.removeprefix("_") in _ORDER}
    encoded = _encode_references(known, identity)
    encoded["meta"] = _keep_meta(encoded.get("meta"))
    if known.get("status") != status:
        for outdated in ("text", "_status"):  # a narrative may say "booked"
            encoded.pop(outdated, None)
    encoded["contained"], lost = contained.select_visible(encoded.get("contained"))
    appointment, rejected = sanitize.remove_invalid({key: encoded[key] for key in encoded if key not in _SET_BY_FACADE})
    rejected += ["contained"] if lost and "contained" not in rejected else []
    rejected += [str(key) for key in native or {} if key not in known]
    labels_lost = not security_labels.are_kept(known.get("meta"), appointment.get("meta"))
    appointment = contained.move_labels_up(contained.resolve_references(appointment, absent))
    if validation.allows_reason(status):
        usable_reason, bad_reason = sanitize.remove_invalid({"cancelationReason": reason} if reason else {})
        rejected += bad_reason
        appointment |= usable_reason
    if status == "cancelled":
        appointment.setdefault("cancelationReason", data_absent.concept(absent))
    appointment |= {
        "resourceType": "Appointment",
        "id": ids.encode(appointment_id),
        "meta": {"versionId": str(version), **appointment.get("meta", {})},
        "identifier": identifiers(appointment.get("identifier", []), identity, appointment_id),
        "status": status,
    }
    for element, placeholder in PLACEHOLDERS.items():
        if not appointment.get(element):
            appointment[element] = placeholder("unsupported" if element in identity.lacks else absent)
    for participant in appointment["participant"]:
        participant.setdefault("actor", data_absent.reference(absent))
    _complete_times(appointment, absent)
    if why is not None:
        _add_contained(appointment, why)
    if native is not None and (labels_lost or (wrong := validation.find_problems(appointment))):
        # The elements are invalid together, or their security labels were lost. They are left out; the status stays.
        bare, _ = complete(
            None,
            identity=identity,
            appointment_id=appointment_id,
            status=status,
            absent="error",
            reason=appointment.get("cancelationReason"),
            why=why,
            version=version,
        )
        return bare, list(dict.fromkeys(rejected + (["meta"] if labels_lost else wrong)))
    return order_elements(appointment), rejected


def order_elements(appointment: Appointment) -> Appointment:
    """Return the Appointment with its elements in FHIR's order, each primitive followed by its extensions."""
    return dict(sorted(appointment.items(), key=lambda item: (_ORDER.index(item[0].lstrip("_")), item[0][0] == "_")))


def _keep_meta(native: Any) -> Any:
    if not isinstance(native, dict):
        return native
    return {key: value for key, value in native.items() if key.removeprefix("_") not in _DROPPED_META}


def _add_contained(appointment: Appointment, why: Mapping[str, Any]) -> None:
    taken = {resource.get("id") for resource in appointment.get("contained", [])}
    id_ = next(id_ for id_ in (why["id"], *(f"{why['id']}-{n}" for n in range(2, 99))) if id_ not in taken)
    appointment["contained"] = [*appointment.get("contained", []), {**why, "id": id_}]
    appointment["supportingInformation"] = [*appointment.get("supportingInformation", []), {"reference": f"#{id_}"}]


def identifiers(others: list[Any], identity: Identity, appointment_id: str) -> list[Any]:
    """Return the identifiers of a response: the source's name, the native id, then ``others``."""
    ours = [
        {"system": identity.source_system, "value": identity.source},
        {"use": "official", "system": identity.native_system("Appointment"), "value": appointment_id},
    ]
    known = {(identifier["system"], identifier["value"]) for identifier in ours}
    return [*ours, *(other for other in others if (other.get("system"), other.get("value")) not in known)]


def _encode_references(value: Any, identity: Identity) -> Any:
    """Encode every relative reference in a JSON value, and add its type and its logical identifier."""
    if isinstance(value, list):
        return [_encode_references(member, identity) for member in value]
    if not isinstance(value, dict):
        return value
    value = {key: _encode_references(member, identity) for key, member in value.items()}
    reference = value.get("reference")
    match = _RELATIVE_REFERENCE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None:
        return value
    kind, raw, version = match.groups(default="")
    logical = {"type": kind, "identifier": {"system": identity.native_system(kind), "value": raw}}
    encoded = ids.encode(raw)
    if len(encoded) > ids.MAX_LENGTH:
        # The id has no FHIR form of 64 characters or fewer, so only the logical identifier is sent.
        return {**logical, **{key: member for key, member in value.items() if key != "reference"}}
    return {**logical, **value, "reference": f"{kind}/{encoded}{version}"}


def _complete_times(appointment: Appointment, absent: str) -> None:
    """Keep both times or neither (app-2); for a status that requires them, state why they are absent (app-3)."""
    present = [name in appointment or f"_{name}" in appointment for name in ("start", "end")]
    if all(present):
        return
    for name in ("start", "_start", "end", "_end"):
        appointment.pop(name, None)
    if validation.requires_times(appointment["status"]):
        for name in ("_start", "_end"):
            appointment[name] = {"extension": [data_absent.extension(absent)]}
