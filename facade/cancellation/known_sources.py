"""Check at start that the ledger's keys fit the configured sources, and move keys: rename and rekey.

This is maintenance while no service runs, so it works on the ledger itself and not through the repository.
"""

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import replace

from facade.cancellation.states import IN_FLIGHT, UNRESOLVED, Event, State
from facade.errors import ConfigurationError
from facade.ledger.maintenance import KnownSource, Maintenance, Presence
from facade.ledger.statements import UNFINISHED
from facade.ledger.store import JournalEntry, Key, Ledger
from facade.ledger.tables import Row
from facade.plugin.configured_source import ConfiguredSource, DeclaredSource

# Of two rows about one appointment, the one with the later state in this list is kept; of two equals, the newer one.
_PRECEDENCE = [State.REFUSED, State.NOT_APPLIED, State.IN_DOUBT, State.OPERATOR, State.CANCELLED]
_UNSETTLED = (*IN_FLIGHT, *UNRESOLVED)


def command(option: str, name: str, *arguments: str, options: tuple[str, ...] = ()) -> str:
    """Return a ``facade ledger`` command for a shell. ``option`` names the ledger. An argument may begin with ``-``."""
    words, chosen = shlex.join(arguments), " ".join(filter(None, (shlex.join(options), option)))
    if any(argument.startswith("-") for argument in arguments):
        return f"facade ledger {name} {chosen} -- {words}"
    return " ".join(filter(None, ("facade ledger", name, words, chosen)))


def check_sources(ledger: Ledger, sources: Iterable[ConfiguredSource]) -> None:
    """Check that the ledger's records belong to the configured sources, and remember new sources.

    Raises ConfigurationError with every problem and its next step.
    """
    problems, new = compare_sources(ledger, sources)
    for name, declared in new.items():
        Maintenance(ledger).remember(name, declared)
    if problems:
        raise ConfigurationError(*problems)


def compare_sources(ledger: Ledger, sources: Iterable[ConfiguredSource]) -> tuple[list[str], dict[str, KnownSource]]:
    """Return the problems that refuse a start, and what a start would remember, by source. Change nothing.

    A source under another name would have no records, and would send a cancel that is in doubt once more. Each problem
    names a command that needs neither secrets nor plugins, except ``rekey``, which needs the one plugin.
    """
    configured = {source.name: source for source in sources}
    maintenance = Maintenance(ledger)
    known, rows = maintenance.sources(), maintenance.count(list(State))
    problems = [*_unconfigured(configured.keys(), known, rows, maintenance.count(_UNSETTLED), ledger.option)]
    to_remember: dict[str, KnownSource] = {}
    for name, source in configured.items():
        declared = KnownSource(source.id_form, source.readable, None)
        remembered = known.get(name)
        if remembered is not None and remembered.renamed_to is not None:
            new = remembered.renamed_to
            problems.append(
                f"sources.{name}: the ledger's records were moved to the name {new}; configure it by that name, "
                f"or move them back: {command(ledger.option, 'rename', new, name)}"
            )
        elif (
            remembered is not None and remembered.id_form != declared.id_form and _has_keys(remembered, rows.get(name))
        ):
            problems.append(
                f"sources.{name}: the ledger's ids are not in the canonical form that the plugin declares (version "
                f"{declared.id_form}); stop every facade on this ledger, then run "
                + command(ledger.option, "rekey", name, options=("--plugin", source.plugin.name))
            )
        elif remembered != declared:
            to_remember[name] = declared
    return problems, to_remember


def _has_keys(remembered: KnownSource, rows: int | None) -> bool:
    return bool(rows) or remembered.id_form == UNFINISHED


def _unconfigured(
    configured: Iterable[str],
    known: dict[str, KnownSource],
    rows: dict[str, int],
    unsettled: dict[str, int],
    option: str,
) -> Iterator[str]:
    """Yield a problem for each source that is not configured and has records that matter."""
    for name in sorted(rows.keys() - set(configured)):
        unreadable = name in known and not known[name].readable
        # A source that cannot be read does not show what is cancelled: under another name, it would be cancelled again.
        matter = rows[name] if unreadable else unsettled.get(name, 0)
        if matter:
            what = "records of cancellations" if unreadable else "unsettled cancellations"
            yield (
                f"sources.{name}: is not configured, and the ledger has {matter} {what} of it; configure it, or, "
                f"if it has another name now, move them: {command(option, 'rename', name, 'NEW')}"
                + (
                    f"; or, if it is retired, delete them: "
                    f"{command(option, 'purge', options=('--older-than', '1d', '--source', name))}"
                    if unreadable
                    else f"; or settle each: {command(option, 'list', options=('--source', name))}"
                )
            )


def rekey(ledger: Ledger, source: DeclaredSource) -> tuple[int, int]:
    """Give every row of a source the canonical form of its id. Return how many were moved, and how many were merged.

    It can be repeated after an interruption. Raises ConfigurationError while a facade is running or a cancellation is
    under way.
    """
    maintenance = Maintenance(ledger)
    _refuse_while_running(ledger)
    if maintenance.count(IN_FLIGHT).get(source.name):
        raise ConfigurationError(
            f"{source.name}: a cancellation is under way; let facade reconcile run for a minute, stop it, then repeat "
            "the command"
        )
    maintenance.remember(source.name, KnownSource(UNFINISHED, source.readable, None))
    moved = merged = 0
    for appointment_id in maintenance.appointment_ids(source.name):
        try:
            canonical = source.canonical(appointment_id)
        except ValueError:
            continue  # an id that the source no longer has; no request can name it either
        row = ledger.find((source.name, appointment_id))
        if canonical == appointment_id or row is None:
            continue
        entry = _entry(Event.REKEYED, row, appointment_id)
        other = ledger.find((source.name, canonical))
        if other is None:
            maintenance.move(row.key, (source.name, canonical), entry)
            moved += 1
        else:
            kept, lost = sorted((row, other), key=_precedence, reverse=True)
            maintenance.merge(kept.key, lost.key, (source.name, canonical), replace(entry, state=kept.state))
            merged += 1
    maintenance.remember(source.name, KnownSource(source.id_form, source.readable, None))
    return moved, merged


def rename(ledger: Ledger, old: str, new: str) -> int:
    """Move every row of a source to another source name. Return how many were moved.

    From its start, no claim is made under the old name any more. It can be repeated after an interruption. Raises
    ConfigurationError while a facade is running, or if the new name has a record of the same appointment.
    """
    if old == new:
        raise ConfigurationError(f"{old} has that name already")
    maintenance = Maintenance(ledger)
    _refuse_while_running(ledger)
    known = maintenance.sources()
    ids = maintenance.appointment_ids(old)
    if not ids and old not in known:
        raise ConfigurationError(f"the ledger has no source {old}; it has: {', '.join(sorted(known)) or 'none'}")
    taken = [appointment_id for appointment_id in ids if ledger.find((new, appointment_id)) is not None]
    if taken:
        raise ConfigurationError(
            f"{new} has records of {len(taken)} appointments that {old} has records of too, {taken[0]} for example; "
            "the names are different sources, or an appointment was cancelled under both names; compare the records: "
            + command(ledger.option, "show", new, taken[0])
        )
    before = known.get(old, KnownSource(0, True, None))
    there = known.get(new)
    if there is not None and there.id_form != before.id_form and maintenance.appointment_ids(new):
        raise ConfigurationError(
            f"the ids of {old} are in version {before.id_form} of the canonical form, and those of {new}, which has "
            f"records too, in version {there.id_form}; bring both to one version first: facade ledger rekey"
        )
    maintenance.remember(new, replace(before, renamed_to=None))
    maintenance.remember(old, replace(before, renamed_to=new))
    moved = 0
    while ids := maintenance.appointment_ids(old):
        for appointment_id in ids:
            row = ledger.find((old, appointment_id))
            if row is not None and not _move_row(maintenance, row, (new, appointment_id)):
                raise ConfigurationError(f"{new} {appointment_id}: was created meanwhile; stop every facade")
            moved += row is not None
    return moved


def _move_row(maintenance: Maintenance, row: Row, key: Key) -> bool:
    return maintenance.move(row.key, key, _entry(Event.RENAMED, row, row.source))


def _refuse_while_running(ledger: Ledger) -> None:
    others = Presence(ledger).others()
    if others:
        raise ConfigurationError(
            f"a facade uses this ledger ({', '.join(others)}); stop it, and repeat the command after a minute"
        )


def _precedence(row: Row) -> tuple[int, float]:
    return _PRECEDENCE.index(State(row.state)), row.changed_at


def _entry(event: Event, row: Row, was: str) -> JournalEntry:
    return JournalEntry(event=event, state=row.state, attempt_number=row.attempt_number, detail={"from": was})
