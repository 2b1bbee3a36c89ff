"""Completes an Appointment: identifiers, encoded ids, required elements, R4's invariants."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from facade.fhir import check, contained, data_absent, ids, labels, sanitize
from facade.plugin.contract import Appointment

# FHIR's own order. Without implicitRules and modifierExtension: what has them is not understood, see native.checked.
_ORDER = (
    "resourceType id meta language text contained extension identifier status "
    "cancelationReason serviceCategory serviceType specialty appointmentType reasonCode reasonReference priority "
    "description supportingInformation start end minutesDuration slot created comment patientInstruction basedOn "
    "participant requestedPeriod"
).split()
ELEMENTS = frozenset(_ORDER)
"""R4's names of an Appointment's elements, as far as an answer may have them."""
# What the facade decides; the source's own words for these are not taken over, of meta in part.
_OURS = {"resourceType", "id", "status", "cancelationReason"}
PLACEHOLDERS: dict[str, Callable[[str], Any]] = {
    "serviceType": lambda reason: [data_absent.concept(reason)],
    "appointmentType": data_absent.concept,
    "slot": lambda reason: [data_absent.reference(reason)],
    "participant": lambda reason: [data_absent.participant(reason)],
}
REQUIRED_ELEMENTS = frozenset(PLACEHOLDERS)
"""What a scheduler cannot map an answer without, besides ``id``, ``identifier`` and ``status``."""

# Of one version of a resource, too: http://hl7.org/fhir/R4/references.html#literal
_RELATIVE = re.compile(r"([A-Z][A-Za-z]+)/(.+?)(/_history/[A-Za-z0-9\-.]{1,64})?", re.DOTALL)
# The version is the ledger's, and with it the time; a profile was claimed for what the server holds, not for the
# answer, which has elements more and perhaps another status. Security labels, tags and the source stay true.
_NOT_TAKEN_OVER = {"versionId", "lastUpdated", "profile"}


@dataclass(frozen=True, kw_only=True)
class Identity:
    """What identifies appointments of one source outside: the name in the URL, and the systems' URIs.

    ``native_system`` gives the URI for the ids of one FHIR resource type. ``lacks`` names the elements
    that the source has no such thing for.
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
    """The Appointment to send, and the names of native elements that were not R4 and are left out, wholly or in part.

    ``native`` is what the adapter gave (raw ids), None where nothing could be learnt; ``absent`` is the
    data-absent-reason for required elements it lacks. ``reason`` is used for a cancelled answer or a no-show only.
    ``why`` is an OperationOutcome to contain, for a proposed one.
    """
    known = {key: value for key, value in (native or {}).items() if key.removeprefix("_") in _ORDER}
    encoded = _encode_references(known, identity)
    encoded["meta"] = _meta(encoded.get("meta"))
    if known.get("status") != status:
        for about_another in ("text", "_status"):  # a narrative may say "booked"
            encoded.pop(about_another, None)
    encoded["contained"], lost = contained.usable(encoded.get("contained"))
    answer, rejected = sanitize.usable_elements({key: encoded[key] for key in encoded if key not in _OURS})
    rejected += ["contained"] if lost and "contained" not in rejected else []
    rejected += [str(key) for key in native or {} if key not in known]
    labels_lost = not labels.are_kept(known.get("meta"), answer.get("meta"))
    answer = contained.with_labels_of_the_whole(contained.resolve(answer, absent))
    if check.may_have_a_reason(status):
        usable_reason, bad_reason = sanitize.usable_elements({"cancelationReason": reason} if reason else {})
        rejected += bad_reason
        answer |= usable_reason
    if status == "cancelled":
        answer.setdefault("cancelationReason", data_absent.concept(absent))
    answer |= {
        "resourceType": "Appointment",
        "id": ids.encode(appointment_id),
        "meta": {"versionId": str(version), **answer.get("meta", {})},
        "identifier": identifiers(answer.get("identifier", []), identity, appointment_id),
        "status": status,
    }
    for element, placeholder in PLACEHOLDERS.items():
        if not answer.get(element):
            answer[element] = placeholder("unsupported" if element in identity.lacks else absent)
    for participant in answer["participant"]:
        participant.setdefault("actor", data_absent.reference(absent))
    _settle_times(answer, absent)
    if why is not None:
        _contain(answer, why)
    if native is not None and (labels_lost or (wrong := check.problems(answer))):
        # Good elements that are bad together, or that no one may see without their labels: the source's elements are
        # lost, its status is not.
        bare, _ = complete(
            None,
            identity=identity,
            appointment_id=appointment_id,
            status=status,
            absent="error",
            reason=answer.get("cancelationReason"),
            why=why,
            version=version,
        )
        return bare, list(dict.fromkeys(rejected + (["meta"] if labels_lost else wrong)))
    return in_order(answer), rejected


def in_order(appointment: Appointment) -> Appointment:
    """The same Appointment with its elements in FHIR's own order, each primitive's extension behind it."""
    return dict(sorted(appointment.items(), key=lambda item: (_ORDER.index(item[0].lstrip("_")), item[0][0] == "_")))


def _meta(native: Any) -> Any:
    if not isinstance(native, dict):
        return native
    return {key: value for key, value in native.items() if key.removeprefix("_") not in _NOT_TAKEN_OVER}


def _contain(answer: Appointment, why: Mapping[str, Any]) -> None:
    taken = {resource.get("id") for resource in answer.get("contained", [])}
    id_ = next(id_ for id_ in (why["id"], *(f"{why['id']}-{n}" for n in range(2, 99))) if id_ not in taken)
    answer["contained"] = [*answer.get("contained", []), {**why, "id": id_}]
    answer["supportingInformation"] = [*answer.get("supportingInformation", []), {"reference": f"#{id_}"}]


def identifiers(others: list[Any], identity: Identity, appointment_id: str) -> list[Any]:
    """The two identifiers that every answer has, and after them the others."""
    ours = [
        {"system": identity.source_system, "value": identity.source},
        {"use": "official", "system": identity.native_system("Appointment"), "value": appointment_id},
    ]
    known = {(identifier["system"], identifier["value"]) for identifier in ours}
    return [*ours, *(other for other in others if (other.get("system"), other.get("value")) not in known)]


def _encode_references(value: Any, identity: Identity) -> Any:
    """The same JSON with every relative reference encoded, typed and logically identified."""
    if isinstance(value, list):
        return [_encode_references(member, identity) for member in value]
    if not isinstance(value, dict):
        return value
    value = {key: _encode_references(member, identity) for key, member in value.items()}
    reference = value.get("reference")
    match = _RELATIVE.fullmatch(reference) if isinstance(reference, str) else None
    if match is None:
        return value
    kind, raw, version = match.groups(default="")
    logical = {"type": kind, "identifier": {"system": identity.native_system(kind), "value": raw}}
    encoded = ids.encode(raw)
    if len(encoded) > ids.MAX_LENGTH:
        # No FHIR id can stand for it; the logical identifier still can.
        return {**logical, **{key: member for key, member in value.items() if key != "reference"}}
    return {**logical, **value, "reference": f"{kind}/{encoded}{version}"}


def _settle_times(answer: Appointment, absent: str) -> None:
    """app-2: both times or neither. app-3: only some statuses may lack them, the rest say why."""
    present = [name in answer or f"_{name}" in answer for name in ("start", "end")]
    if all(present):
        return
    for name in ("start", "_start", "end", "_end"):
        answer.pop(name, None)
    if check.needs_times(answer["status"]):
        for name in ("_start", "_end"):
            answer[name] = {"extension": [data_absent.extension(absent)]}
