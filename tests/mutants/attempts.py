"""Mutants of one attempt: the permit, the budget, what a source's answer proves, and who may claim."""

# ruff: noqa: E501 - a guard is quoted as it is written

from tests.mutants.mutant import of

AT_MAX_OBSERVATIONS_ONCE = "tests/integration/test_at_most_once.py"
PERMIT = "tests/unit/test_write_permit.py"
ATTEMPT = "tests/unit/test_attempt.py"
VERSIONED = "tests/integration/test_versioned_writes.py"
BUDGET = f"{PERMIT}::test_the_parts_of_a_cancel_fit_into_the_time_to_answer"

ATTEMPTS = [
    *of(
        "facade/cancellation/write_permit.py",
        ("a permit is granted twice", "            if self.taken:\n", "            if False:\n", PERMIT),
        (
            "a permit is granted though the claim was lost",
            "if not self._record():",
            "if self._record() is None:",
            PERMIT,
        ),
        ("an owner that was frozen writes", "> self._guard", "> 1e9", PERMIT),
        (
            "a permit is granted before the write is recorded",
            "        before = self._monotonic()\n",
            "        before = self._monotonic()\n        self.granted = True\n",
            PERMIT,
        ),
        (
            "the guard begins after the write is recorded",
            "        if self._monotonic() - before > self._guard:\n",
            "        before = self._monotonic()\n        if self._monotonic() - before > self._guard:\n",
            PERMIT,
        ),
    ),
    *of(
        "facade/cancellation/budget.py",
        ("the write takes all the time", "return self._share(4.0)", "return self._share(7.0)", BUDGET),
        ("the work takes all the time", "return self._share(7.0)", "return self._share(8.5)", BUDGET),
        ("the shares do not scale", "seconds * self.answer_within / 8.0", "seconds", BUDGET),
    ),
    *of(
        "facade/cancellation/attempt.py",
        (
            "what is cancelled already is cancelled again",
            "            if native.is_cancelled(current):\n                return self._cancelled(current, by_us=False)\n",
            "",
            ATTEMPT,
        ),
        (
            "a read that failed lets a write leave",
            "return self._not_executed(native.not_sent(error), None)\n            if native.is_cancelled(current):",
            "pass\n            if current is not None and native.is_cancelled(current):",
            ATTEMPT,
        ),
        (
            "a stale If-Match writes",
            "            raise PreconditionFailed(NOT_THIS_VERSION)\n",
            "            pass\n",
            ATTEMPT,
        ),
        (
            "a reason that must not be sent is left out",
            "and self._request.native_reason is None:",
            "and False:",
            "tests/plugins/heim/test_plugin.py::test_a_fallback_of_refuse_refuses_and_sends_nothing",
        ),
        (
            "a write begins without time for its answer",
            "if remaining() < budget.write + budget.probe:",
            "if False:",
            ATTEMPT,
        ),
        ("a write has no deadline of its own", "with deadline(budget.write):", "with deadline(3600.0):", ATTEMPT),
        (
            "an answer that does not say cancelled is a success",
            "if not native.is_cancelled(evidence):",
            "if False:",
            ATTEMPT,
        ),
        (
            "what an adapter calls unavailable after its permit is not doubt",
            "if permit.granted:  #",
            "if False:  #",
            "tests/integration/test_unreadable_sources.py::test_unavailable_after_the_permit_leaves_doubt",
        ),
        (
            "a refusal before the permit is probed",
            "return self._after_refusal(error, current) if permit.taken else self._not_executed(error, current)",
            "return self._after_refusal(error, current)",
            ATTEMPT,
        ),
        (
            "doubt before the permit is doubt",
            "            if not permit.taken:\n                return self._not_executed(native.not_sent(error), current)\n",
            "",
            ATTEMPT,
        ),
        (
            "a 404 to the write after a good read counts as not executed",
            "isinstance(error, AppointmentNotFound) and current is None",
            "isinstance(error, AppointmentNotFound)",
            ATTEMPT,
        ),
        (
            "an unanswered write counts as not executed",
            "return self._in_doubt(doubt, current)",
            "return self._after_refusal(NotExecuted(doubt.cause), current)",
            ATTEMPT,
        ),
        (
            "a plugin that fails after its permit counts as not executed",
            "            if not permit.taken:\n                return self._not_executed(NotExecuted(Cause.INTERNAL, type(error).__name__), current)",
            "            if True:\n                return self._not_executed(NotExecuted(Cause.INTERNAL, type(error).__name__), current)",
            ATTEMPT,
        ),
        ("no one probes after a refusal", "if seen is not None and native.is_cancelled(seen):", "if False:", ATTEMPT),
        (
            "a stale version is believed of any source",
            "capabilities.versioned_writes is not Support.FULL",
            "capabilities.versioned_writes is None",
            f"{VERSIONED}::test_of_a_source_without_versioned_writes_it_proves_nothing",
        ),
        (
            "a stale version is written a third time",
            "        if not self._is_retry:\n",
            "        if True:\n",
            f"{VERSIONED}::test_there_is_no_third_write",
        ),
        (
            "a source that asks to be left alone is read",
            "if doubt.retry_after is None:",
            "if True:",
            "tests/integration/test_retry_after.py::test_after_doubt_the_next_read_waits_as_long_as_asked",
        ),
        ("no one reads after doubt", "            current = self._probe(current)\n", "            pass\n", ATTEMPT),
        (
            "what was known before is a 404",
            'cause="" if self._row.read_before else NOT_FOUND',
            "cause=NOT_FOUND",
            ATTEMPT,
        ),
        (
            "cancelled is said though it could not be recorded",
            "return unrecorded() if unrecorded is not None else result",
            "return result",
            f"{AT_MAX_OBSERVATIONS_ONCE}::test_a_store_that_fails_after_the_write_means_proposed",
        ),
        (
            "whoever was outrun says what it meant to",
            "if row is not None and row.state == State.CANCELLED:",
            "if False:",
            ATTEMPT,
        ),
        (
            "whoever was outrun is answered without an audit",
            "            self._repository.record_reply(self._row, self._requester, result.outcome, result.cause)\n",
            "",
            ATTEMPT,
        ),
        (
            "what was read is not remembered",
            '"read_before": self._row.read_before or current is not None}',
            '"read_before": False}',
            ATTEMPT,
        ),
    ),
    *of(
        "facade/cancellation/service.py",
        (
            "a claim is taken over at once",
            "return self._repository.lease_expired(row)",
            "return True",
            f"{AT_MAX_OBSERVATIONS_ONCE}::test_many_at_once_share_one_native_call_and_its_answer",
        ),
        (
            "a state that is not claimable is claimed",
            "        if row.state not in CLAIMABLE:\n            return False\n",
            "",
            f"{AT_MAX_OBSERVATIONS_ONCE}::test_while_in_doubt_no_one_resends_and_a_read_settles_it",
        ),
        (
            "whoever waited for a refusal begins an attempt",
            "return row.attempt_number != awaited or row.cause == STALE_IF_MATCH",
            "return True",
            f"{AT_MAX_OBSERVATIONS_ONCE}::test_many_at_once_share_one_native_call_and_its_answer",
        ),
        (
            "a write is in doubt for whoever waits",
            "if row.state == State.SENDING and self._repository.owner_is_silent(row):",
            "if row.state == State.SENDING:",
            "tests/unit/test_attempt.py::test_a_waiting_client_leaves_the_owners_row_alone",
        ),
        (
            "a read says cancelled and records nothing",
            "if recorded is None and native.is_cancelled(found):",
            "if False:",
            f"{AT_MAX_OBSERVATIONS_ONCE}::test_a_cancel_shown_to_a_reader_is_shown_to_later_readers",
        ),
        (
            "two spellings are two appointments",
            "request = replace(request, appointment_id=source.canonical(request.appointment_id))",
            "request = replace(request)",
            "tests/integration/test_canonical_ids.py::test_every_spelling_is_one_cancellation",
        ),
        (
            "a repeat is answered without an audit",
            "        result = self._repeated_result(source, request, row, requester)\n        self._repository.record_reply(row, requester, result.outcome, result.cause, repeat=codes)\n",
            "        result = self._repeated_result(source, request, row, requester)\n",
            ATTEMPT,
        ),
        ("a request that waits waits for ever", "elif remaining() <= self._timers.poll:", "elif False:", ATTEMPT),
    ),
    *of(
        "facade/cancellation/native.py",
        (
            "another appointment's answer is evidence",
            'if not _is_spelling(native.get("id"), appointment_id, canonical):',
            "if False:",
            ATTEMPT,
        ),
        (
            "an appointment with a modifier is evidence",
            "    if _is_modified(native):\n",
            "    if False:\n",
            "tests/unit/test_sanitize.py::test_an_appointment_with_a_modifier_is_not_understood",
        ),
        (
            "any status but booked is cancelled",
            'return native.get("status") == "cancelled"',
            'return native.get("status") != "booked"',
            ATTEMPT,
        ),
        ("a read has no deadline of its own", "with deadline(seconds):", "with deadline(3600.0):", ATTEMPT),
    ),
]
