"""Asks an adapter, believes nothing it gives back unchecked, and lets only typed outcomes through."""

import json
from datetime import datetime
from typing import Any

import structlog

from facade.contract import Appointment
from facade.deadline import deadline
from facade.errors import Cause, NotDone, SourceError, Unknown
from facade.fhir import chargeability, check
from facade.log import where
from facade.registry import Source

log = structlog.get_logger()

MAX_SIZE = 128 * 1024  # bytes, as JSON: some thousands of elements, checked in some tenths of a second


def read(source: Source, appointment_id: str, seconds: float) -> Appointment:
    """The appointment as the source has it, within ``seconds``. Raises SourceError and nothing else."""
    try:
        with deadline(seconds):
            return checked(source.adapter.read(appointment_id), appointment_id)
    except NotDone as error:
        # Of a write that is a refusal to cancel, of a read it is one to show.
        raise NotDone(Cause.NOT_SHOWN, error.detail) if error.cause is Cause.REFUSED else error from None
    except SourceError:
        raise
    except Exception as error:
        log.error("adapter-failed", source=source.name, error=type(error).__name__, where=where(error))
        raise Unknown(Cause.INTERNAL, type(error).__name__) from error


def checked(native: Any, appointment_id: str) -> Appointment:
    """An Appointment of this id, as JSON and nothing else. Raises Unknown for anything else.

    Members that are not JSON are left out, and so are a reason and extensions that are not R4: the rest is
    checked when the answer is completed, and none of it may cost the evidence. So are the largest members
    of an Appointment over MAX_SIZE: to check them would take longer than a caller waits.
    """
    if not isinstance(native, dict):
        raise Unknown(Cause.INTERNAL, "the adapter returned no Appointment; mend its return statement")
    if native.get("id") != appointment_id:
        raise Unknown(Cause.UNREADABLE, "the source answered with another appointment's id")
    sizes = {name: _size(value) for name, value in native.items() if isinstance(name, str)}
    left = MAX_SIZE
    kept: Appointment = {}
    for name, size in sorted(sizes.items(), key=lambda found: found[1] or 0):
        if size is not None and size <= left:
            kept[name] = native[name]
            left -= size
    looked_into: Appointment = {name: kept.pop(name) for name in ("cancelationReason", "extension") if name in kept}
    usable, _ = check.usable_elements(looked_into)
    return kept | usable


def _size(value: Any) -> int | None:
    """In bytes as JSON; None for what is none."""
    try:
        return len(json.dumps(value, allow_nan=False, ensure_ascii=False).encode())  # half a surrogate pair is no text
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
    metas = [told["meta"] for told in (before or {}, after) if isinstance(told.get("meta"), dict)]
    if metas:
        merged["meta"] = {name: value for meta in metas for name, value in meta.items()}
    if before is not None and before.get("status") != merged.get("status") and merged.get("text") == before.get("text"):
        merged.pop("text", None)
    told_anew = {extension["url"] for extension in after.get("extension", [])}
    kept = [extension for extension in (before or {}).get("extension", []) if extension["url"] not in told_anew]
    extensions = [*kept, *after.get("extension", [])]
    return {**merged, "extension": extensions} if extensions else merged


def told(native: Appointment) -> dict[str, Any]:
    """What the source says of the cancellation itself; a change of it is a new version of the answer."""
    extensions = [e for e in native.get("extension", []) if e.get("url") != chargeability.EXTENSION]
    found = {"cancelationReason": native.get("cancelationReason"), "extension": extensions}
    return {name: value for name, value in found.items() if value}


def times(native: Appointment | None) -> dict[str, float | None]:
    """The ledger's ``charge_limit`` (the ETA) and ``starts_at``, as far as the source tells."""
    return {
        "charge_limit": _seconds(chargeability.eta(native or {})),
        "starts_at": _seconds((native or {}).get("start")),
    }


def _seconds(instant: Any) -> float | None:
    try:
        parsed = datetime.fromisoformat(instant) if isinstance(instant, str) else None
    except ValueError:
        return None
    return parsed.timestamp() if parsed is not None and parsed.tzinfo is not None else None
