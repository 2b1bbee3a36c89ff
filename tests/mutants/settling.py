"""Mutants of what settles doubt: reads, the settle window, escalation, the reconciler, an operator's resolution."""

# ruff: noqa: E501 - a guard is quoted as it is written

from tests.mutants.mutant import of

SETTLING = "tests/unit/test_in_doubt_resolver.py"

SETTLING_MUTANTS = [
    *of(
        "facade/cancellation/in_doubt.py",
        ("a failed read counts as a negative one", "negative = error is None", "negative = True", SETTLING),
        (
            "two negative reads settle",
            "NEGATIVE_PROBES_TO_SETTLE = 3",
            "NEGATIVE_PROBES_TO_SETTLE = 2",
            SETTLING,
        ),
        (
            "a failed read after the window settles",
            "settled = negative and negative_reads",
            "settled = negative_reads",
            SETTLING,
        ),
        (
            "the settle window is not waited for",
            "NEGATIVE_PROBES_TO_SETTLE and observed >= source.settle_window",
            "NEGATIVE_PROBES_TO_SETTLE",
            SETTLING,
        ),
        (
            "the settle window may end during the read",
            "error=error, observed=observed, scheduled=scheduled)",
            "error=error, observed=self._repository.observed.in_state(row), scheduled=scheduled)",
            SETTLING,
        ),
        ("what is a person's is settled by reads", "if row.state == State.OPERATOR:", "if False:", SETTLING),
        (
            "a clock that was just set sends doubt to a person",
            "if self._repository.observed.steady() < self._timers.steady:",
            "if False:",
            SETTLING,
        ),
        ("what has begun is read as before", "self._timers.daily if has_begun else", "", SETTLING),
        (
            "what is a person's is read no more",
            "        elif scheduled:\n",
            "        elif scheduled and row.state != State.OPERATOR:\n",
            SETTLING,
        ),
        (
            "no read follows the settle window",
            "return min(after, left + self._timers.tick) if left > 0 and retry_after is None else after",
            "return after",
            SETTLING,
        ),
        ("a client's read moves the schedule", "        elif scheduled:\n", "        else:\n", SETTLING),
        (
            "what is settled stays scheduled",
            "        if event is Event.SETTLE:\n            values |= NOT_SCHEDULED\n        elif scheduled:\n",
            "        if scheduled:\n",
            SETTLING,
        ),
        (
            "a read that is not cancelled settles what is no doubt",
            "        if row.state not in UNRESOLVED:\n            self._repository.record_probe(row, NOT_SCHEDULED, None, detail)\n            return\n",
            "",
            SETTLING,
        ),
        (
            "evidence of a deleted row is reported",
            "if current is None or current.state != State.CANCELLED:",
            "if current is None:",
            SETTLING,
        ),
        (
            "a source that cannot be read is read",
            "        if not source.readable:\n            self._repository.escalate_unreadable(row)\n            return None\n",
            "",
            SETTLING,
        ),
        (
            "another story of the cancellation is not recorded",
            "if reported != row.reported:",
            "if False:",
            SETTLING,
        ),
    ),
    *of(
        "facade/cancellation/escalation.py",
        (
            "what another host calls old is old",
            "now - (row.doubt_since or now) >= timers.operator_after and observed >= settle_window",
            "now - (row.doubt_since or now) >= timers.operator_after",
            "tests/integration/test_in_doubt.py::test_a_clock_that_is_days_ahead_escalates_nothing",
        ),
        (
            "a repeat that does harm is made",
            'Event.ESCALATE if repeat == "harmful" else Event.SETTLE',
            "Event.SETTLE",
            SETTLING,
        ),
        (
            "old doubt is no one's",
            "return is_old or is_near_eta",
            "return is_near_eta",
            SETTLING,
        ),
        (
            "doubt near to the ETA is no one's",
            "return is_old or is_near_eta or",
            "return is_old or",
            SETTLING,
        ),
        (
            "doubt about what has begun is no one's",
            "is_near_eta or has_begun(row, now)",
            "is_near_eta",
            SETTLING,
        ),
        (
            "doubt about a source without reads is no one's",
            "return Event.DOUBT if readable else Event.ESCALATE",
            "return Event.DOUBT",
            "tests/unit/test_repository.py",
        ),
    ),
    *of(
        "facade/cancellation/reconciler.py",
        (
            "a claim is abandoned at once",
            "row.state == State.CLAIMED and self._repository.lease_expired(row)",
            "row.state == State.CLAIMED",
            SETTLING,
        ),
        (
            "the reconciler doubts at once",
            "row.state == State.SENDING and self._repository.owner_is_silent(row)",
            "row.state == State.SENDING",
            SETTLING,
        ),
        ("a claim that is a write by now is abandoned", "if row.state == State.CLAIMED and self", "if self", SETTLING),
        (
            "one locked row keeps all others waiting",
            "            except Unavailable:  # one row that is locked delays no other\n",
            "            except ZeroDivisionError:\n",
            SETTLING,
        ),
        (
            "a read is made that another took",
            "            if taken is None:\n                return False\n",
            "            taken = taken or row\n",
            SETTLING,
        ),
        (
            "a read is made before it is taken",
            "            taken = self._repository.take_due(row)\n",
            "            self._resolver.probe(source, row, self._budget.write, _RECONCILER, scheduled=True)\n            taken = self._repository.take_due(row)\n",
            SETTLING,
        ),
        ("a row that an owner is at work on is read", "and row.state not in IN_FLIGHT and", "and", SETTLING),
        (
            "the time that another host wrote is believed",
            "for row in [*self._repository.due(), *self._swept()]:",
            "for row in self._repository.due():",
            SETTLING,
        ),
        (
            "a sweep reads what is not due",
            "if self._repository.observed.due_unchanged(seen) >= (seen.read_in or 0.0) + self._timers.tick:",
            "if True:",
            SETTLING,
        ),
        (
            "a sweep reads what another has read",
            "(row.attempt_number, row.read_due) == (seen.attempt_number, seen.read_due)",
            "True",
            SETTLING,
        ),
        (
            "a plugin that fails ends the reconciler",
            "        except Exception as error:  # noqa: BLE001 - a failure at one row may not end the others' probes\n",
            "        except KeyError as error:\n",
            SETTLING,
        ),
    ),
    *of(
        "facade/cancellation/in_doubt.py",
        (
            "what is settled is resolved",
            "    if row.state not in UNRESOLVED:\n        return False\n",
            "",
            SETTLING,
            "the table of transitions has no transition for what is settled; the check only says so before an answer is made",
        ),
    ),
]
