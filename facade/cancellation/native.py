"""Call an adapter, check everything that it returns, and raise nothing but typed outcomes."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from facade import strict_json
from facade.deadline import deadline
from facade.errors import Cause, NotExecuted, OutcomeUnknown, SourceError
from facade.fhir import chargeability, sanitize, security_labels
from facade.observability.logs import where
from facade.plugin.configured_source import ConfiguredSource
from facade.plugin.contract import Appointment

log = structlog.get_logger()

# The limits of one appointment. One within them is checked in some tenths of a second.
MAX_SIZE = 128 * 1024  # bytes, as JSON
MAX_MEMBERS = 1000  # of one array
MAX_VALUES = 10_000  # in all
ETA_OVER = 0.0  # an ETA in seconds since 1970 that is over for every appointment


def read(source: ConfiguredSource, appointment_id: str, seconds: float) -> Appointment:
    """Return the appointment as the source has it, within ``seconds``. Raises SourceError and nothing else."""
    try:
        with deadline(seconds):
            return checked(source.adapter.read(appointment_id), appointment_id, source.canonical)
    except NotExecuted as error:
        # The source refuses to show the appointment, not to cancel it.
        if error.cause is Cause.REFUSED:
            raise NotExecuted(Cause.NOT_SHOWN, error.detail, retry_after=error.retry_after) from None
        raise
    except SourceError:
        raise
    except Exception as error:
        log.error("adapter-failed", source=source.name, error=type(error).__name__, where=where(error))
        raise OutcomeUnknown(Cause.INTERNAL, type(error).__name__) from error


def not_sent(error: SourceError) -> NotExecuted:
    """Return the same error as NotExecuted, for use before the write, when nothing can have been executed."""
    return NotExecuted(error.cause, error.detail, retry_after=error.retry_after)


def alarm(source: ConfiguredSource, error: SourceError) -> None:
    """Log what an operator must act on, although the client receives a milder text."""
    if error.cause is Cause.CREDENTIALS:
        log.error("source-refuses-credentials", source=source.name, detail=error.detail)


def checked(native: Any, appointment_id: str, canonical: Callable[[str], str] = str) -> Appointment:
    """Return an Appointment of this id that is plain JSON. Raises OutcomeUnknown for anything else.

    ``appointment_id`` is in the form that ``canonical`` returns for every spelling of it.

    Members that are not JSON are left out, and so are a reason and extensions that are not R4. The rest is checked when
    the response is completed, so that a malformed member never costs the evidence. Of an Appointment over MAX_SIZE,
    MAX_MEMBERS or MAX_VALUES, the largest members are left out: checking them would take longer than a client waits.
    """
    if not isinstance(native, dict):
        raise OutcomeUnknown(Cause.INTERNAL, "the adapter returned no Appointment; fix its return statement")
    if not _is_spelling(native.get("id"), appointment_id, canonical):
        raise OutcomeUnknown(Cause.UNREADABLE, "the source returned another appointment's id")
    if _is_modified(native):
        raise OutcomeUnknown(Cause.UNREADABLE, "the appointment holds a modifier that this facade does not understand")
    kept = _bounded(native)
    to_sanitize: Appointment = {name: kept.pop(name) for name in ("cancelationReason", "extension") if name in kept}
    usable, _ = sanitize.remove_invalid(to_sanitize)
    return kept | usable


def _is_spelling(found: Any, appointment_id: str, canonical: Callable[[str], str]) -> bool:
    try:
        return isinstance(found, str) and (found == appointment_id or canonical(found) == appointment_id)
    except Exception:  # noqa: BLE001 - a plugin's form may fail over what is no id of its source
        return False


def _is_modified(native: Mapping[Any, Any]) -> bool:
    """Return whether it contains a modifier, which may negate its meaning.

    http://hl7.org/fhir/R4/extensibility.html#modifierExtension, resource.html#implicitRules
    """
    participants = native.get("participant")
    backbones = [native, *(participants if isinstance(participants, list) else [])]
    modified = any(isinstance(one, dict) and one.get("modifierExtension") for one in backbones)
    return modified or bool(native.get("implicitRules"))


def _bounded(native: Mapping[Any, Any]) -> Appointment:
    """Return the members that together stay within the limits, the smallest first.

    Security labels say who may see the rest. If they do not fit, everything but id and status is left out.
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
    """Return the size in bytes as JSON and the number of values; None if it is no JSON, or too large by itself."""
    try:
        values = strict_json.check_size(value, members=MAX_MEMBERS, values=MAX_VALUES)
        # Half a surrogate pair is no text.
        return len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode()), values
    except (TypeError, ValueError, RecursionError):
        return None


def is_cancelled(native: Appointment) -> bool:
    """Return whether this is the source's evidence of a cancellation."""
    return native.get("status") == "cancelled"


def merge(before: Appointment | None, after: Appointment) -> Appointment:
    """Return what the source says now, completed by what it said before, so that a sparse response loses nothing.

    The narrative is the exception: one from before a change of status does not describe the change.
    """
    merged = {**(before or {}), **after}
    if "meta" in merged:
        merged["meta"] = security_labels.merge((before or {}).get("meta"), after.get("meta"))
    if before is not None and before.get("status") != merged.get("status") and merged.get("text") == before.get("text"):
        merged.pop("text", None)
    newer = {extension["url"] for extension in after.get("extension", [])}
    kept = [extension for extension in (before or {}).get("extension", []) if extension["url"] not in newer]
    extensions = [*kept, *after.get("extension", [])]
    return {**merged, "extension": extensions} if extensions else merged


def reported(native: Appointment) -> dict[str, Any]:
    """Return what the source says about the cancellation itself. If it changes, the response has a new version."""
    extensions = [e for e in native.get("extension", []) if e.get("url") != chargeability.EXTENSION]
    found = {"cancelationReason": native.get("cancelationReason"), "extension": extensions}
    return {name: value for name, value in found.items() if value}


def times(native: Appointment | None) -> dict[str, float | None]:
    """Return the ledger's ``charge_limit`` (the ETA) and ``starts_at``, as far as the source reports them.

    A cancel that may be charged, with an ETA that is unusable, counts as one whose ETA is over.
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
