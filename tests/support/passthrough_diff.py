"""Whether an answer holds everything that a FHIR server sent, and besides it only what the facade adds."""

from collections.abc import Iterator, Mapping
from typing import Any

# Decided anew for the answer to a cancel.
_DECIDED = {"status", "cancelationReason", "text"}
DATA_ABSENT = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
_OWN_META = {"versionId", "lastUpdated", "profile"}


def harm(native: Mapping[str, Any], answer: Mapping[str, Any]) -> list[str]:
    """The places where the answer lacks something, has something else, or has more than the facade adds."""
    sent = {name: value for name, value in native.items() if name not in _DECIDED}
    got = {name: value for name, value in answer.items() if name not in _DECIDED}
    sent["meta"] = {name: value for name, value in sent.get("meta", {}).items() if name not in _OWN_META}
    got["participant"] = [_without_absent_actor(one) for one in got["participant"]]
    got["meta"] = {name: value for name, value in got["meta"].items() if name not in _OWN_META}
    ours, got["identifier"] = got["identifier"][:2], got["identifier"][2:]
    wrong = [] if [identifier.get("use") for identifier in ours] == [None, "official"] else ["the facade's identifiers"]
    return wrong + list(_differences(sent, {k: v for k, v in got.items() if v != []}, "Appointment"))


def _without_absent_actor(participant: dict[str, Any]) -> dict[str, Any]:
    """Every participant of an answer has an actor; of one that no one named, it says that there is none."""
    absent = [extension["url"] for extension in participant.get("actor", {}).get("extension", ())] == [DATA_ABSENT]
    return {name: value for name, value in participant.items() if name != "actor" or not absent}


def _differences(sent: Any, got: Any, place: str) -> Iterator[str]:
    if isinstance(sent, dict) and isinstance(got, dict):
        # A relative reference gets its type, and the raw id beside it.
        added = {"type", "identifier"} if "reference" in sent else set()
        for name in sorted({*sent, *(got.keys() - added)}):
            if name not in sent or name not in got:
                yield f"{place}.{name} is {'lost' if name in sent else 'new'}"
            else:
                yield from _differences(sent[name], got[name], f"{place}.{name}")
    elif isinstance(sent, list) and isinstance(got, list) and len(sent) == len(got):
        for position, pair in enumerate(zip(sent, got, strict=True)):
            yield from _differences(*pair, f"{place}[{position}]")
    elif type(sent) is not type(got) or sent != got:
        yield f"{place} is {got!r}, not {sent!r}"
