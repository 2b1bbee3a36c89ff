"""Asks an adapter, believes nothing it gives back unchecked, and lets only typed outcomes through."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from facade import strict_json
from facade.deadline import deadline
from facade.errors import Cause, NotExecuted, OutcomeUnknown, SourceError
from facade.fhir import chargeability, labels, sanitize
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment

log = structlog.get_logger()

# Of one appointment: what is checked in some tenths of a second.
MAX_SIZE = 128 * 1024  # bytes, as JSON
MAX_MEMBERS = 1000  # of one array
MAX_VALUES = 10_000  # in all
ETA_OVER = 0.0  # an ETA, in seconds since 1970, that was over before any appointment here


def read(source: ConfiguredSource, appointment_id: str, seconds: float) -> Appointment:
    """The appointment as the source has it, within ``seconds``. Raises SourceError and nothing else."""
    try:
        with deadline(seconds):
            return checked(source.adapter.read(appointment_id), appointment_id, source.canonical)
    except NotExecuted as error:
        # Of a write that is a refusal to cancel, of a read it is one to show.
        if error.cause is Cause.REFUSED:
            raise NotExecuted(Cause.NOT_SHOWN, error.detail, retry_after=error.retry_after) from None
        raise
    except SourceError:
        raise
    except Exception as error:
        log.error("adapter-failed", source=source.name, error=type(error).__name__, where=where(error))
        raise OutcomeUnknown(Cause.INTERNAL, type(error).__name__) from error


def not_sent(error: SourceError) -> NotExecuted:
    """The same before the write, when nothing of it can have been executed."""
    return NotExecuted(error.cause, error.detail, retry_after=error.retry_after)


def alarm(source: ConfiguredSource, error: SourceError) -> None:
    """What an operator must hear of although the requester is told something gentler."""
    if error.cause is Cause.CREDENTIALS:
        log.error("source-refuses-credentials", source=source.name, detail=error.detail)


def checked(native: Any, appointment_id: str, canonical: Callable[[str], str] = str) -> Appointment:
    """An Appointment of this id, as JSON and nothing else. Raises OutcomeUnknown for anything else.

    ``appointment_id`` is in the form that ``canonical`` gives every spelling of it.

    Members that are not JSON are left out, and so are a reason and extensions that are not R4: the rest is
    checked when the answer is completed, and none of it may cost the evidence. So are the largest members
    of an Appointment over MAX_SIZE, MAX_MEMBERS or MAX_VALUES: to check them would take longer than a client waits.
    """
    if not isinstance(native, dict):
        raise OutcomeUnknown(Cause.INTERNAL, "the adapter returned no Appointment; fix its return statement")
    if not _is_spelling(native.get("id"), appointment_id, canonical):
        raise OutcomeUnknown(Cause.UNREADABLE, "the source answered with another appointment's id")
    if _is_modified(native):
        raise OutcomeUnknown(Cause.UNREADABLE, "the appointment holds a modifier that this facade does not understand")
    kept = _bounded(native)
    looked_into: Appointment = {name: kept.pop(name) for name in ("cancelationReason", "extension") if name in kept}
    usable, _ = sanitize.usable_elements(looked_into)
    return kept | usable


def _is_spelling(found: Any, appointment_id: str, canonical: Callable[[str], str]) -> bool:
    try:
        return isinstance(found, str) and (found == appointment_id or canonical(found) == appointment_id)
    except Exception:  # noqa: BLE001 - a plugin's form may fail over what is no id of its source
        return False


def _is_modified(native: Mapping[Any, Any]) -> bool:
    """Whether anything in it may turn its meaning round.

    http://hl7.org/fhir/R4/extensibility.html#modifierExtension, resource.html#implicitRules
    """
    participants = native.get("participant")
    backbones = [native, *(participants if isinstance(participants, list) else [])]
    modified = any(isinstance(one, dict) and one.get("modifierExtension") for one in backbones)
    return modified or bool(native.get("implicitRules"))


def _bounded(native: Mapping[Any, Any]) -> Appointment:
    """The members that together stay within the limits, the smallest first.

    Security labels say who may see the rest, so without them the rest is left out too.
    """
    sizes = [(size, name) for name, value in native.items() if isinstance(name, str) and (size := _size(value))]
    left, values_left = MAX_SIZE, MAX_VALUES
    kept: Appointment = {}
    for (length, values), name in sorted(sizes):
        left, values_left = left - length, values_left - values
        if left < 0 or values_left < 0:
            break
        kept[name] = native[name]
    if "meta" in native and "meta" not in kept and native["meta"]:
        return {name: kept[name] for name in ("resourceType", "id", "status") if name in kept}
    return kept


def _size(value: Any) -> tuple[int, int] | None:
    """Bytes as JSON, and values; None for what is no JSON or too large by itself."""
    try:
        values = strict_json.bound(value, members=MAX_MEMBERS, values=MAX_VALUES)
        # Half a surrogate pair is no text.
        return len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()), values
    except (TypeError, ValueError, RecursionError):
        return None


def is_cancelled(native: Appointment) -> bool:
    """Whether this is the source's evidence of a cancellation."""
    return native.get("status") == "cancelled"


def overlay(before: Appointment | None, after: Appointment) -> Appointment:
    """What the source says now over what it said before: a sparse answer loses nothing that was read.

    But for a narrative: the one that was there before the status changed does not tell of the change.
    """
    merged = {**(before or {}), **after}
    if "meta" in merged:
        merged["meta"] = labels.over((before or {}).get("meta"), after.get("meta"))
    if before is not None and before.get("status") != merged.get("status") and merged.get("text") == before.get("text"):
        merged.pop("text", None)
    told_anew = {extension["url"] for extension in after.get("extension", [])}
    kept = [extension for extension in (before or {}).get("extension", []) if extension["url"] not in told_anew]
    extensions = [*kept, *after.get("extension", [])]
    return {**merged, "extension": extensions} if extensions else merged


def reported(native: Appointment) -> dict[str, Any]:
    """What the source says of the cancellation itself; a change of it is a new version of the answer."""
    extensions = [e for e in native.get("extension", []) if e.get("url") != chargeability.EXTENSION]
    found = {"cancelationReason": native.get("cancelationReason"), "extension": extensions}
    return {name: value for name, value in found.items() if value}


def times(native: Appointment | None) -> dict[str, float | None]:
    """The ledger's ``charge_limit`` (the ETA) and ``starts_at``, as far as the source tells.

    A cancel that may be chargeable by an ETA that cannot be used counts as one whose ETA is over.
    """
    limit = _seconds(chargeability.eta(native or {}))
    if limit is None and _may_be_chargeable(native or {}):
        limit = ETA_OVER
    return {"charge_limit": limit, "starts_at": _seconds((native or {}).get("start"))}


def _may_be_chargeable(native: Appointment) -> bool:
    extensions = [e for e in native.get("extension", []) if e.get("url") == chargeability.EXTENSION]
    parts = [part for extension in extensions for part in extension.get("extension", [])]
    return any(part.get("url") == "mayBeChargeable" and part.get("valueBoolean") is True for part in parts)


def _seconds(instant: Any) -> float | None:
    try:
        parsed = datetime.fromisoformat(instant) if isinstance(instant, str) else None
    except ValueError:
        return None
    return parsed.timestamp() if parsed is not None and parsed.tzinfo is not None else None
