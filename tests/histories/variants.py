"""The six facades that are broken on purpose; a harness that does not catch each of them is broken itself."""

import contextlib
from collections.abc import Callable
from dataclasses import replace

from facade.cancellation import in_doubt, observed_times, repository, service, states
from facade.cancellation.states import Event, State
from facade.errors import OutcomeUnknown, SourceError
from facade.http_client import HttpClient


def no_claim() -> None:
    """Every request believes that the appointment is its own."""
    claim, sending = repository.CancellationRepository.claim, repository.CancellationRepository.record_sending

    def careless_claim(self, key, seen, *rest):
        claimable = seen is None or (seen.state, Event.CLAIM) in states.TRANSITIONS
        claimed = claim(self, key, seen, *rest) if claimable else None
        return claimed or replace(self.find(key), state=State.CLAIMED)

    def careless_sending(self, claimed, facts):
        return sending(self, claimed, facts) or replace(claimed, sending_at=self.clock.now())

    repository.CancellationRepository.claim = careless_claim
    repository.CancellationRepository.record_sending = careless_sending
    service.CancellationService._may_claim = lambda self, row, awaited: row is None or row.state != State.CANCELLED


def lease_on_sending() -> None:
    """A write whose owner fell silent is taken over like a claim."""
    states.TRANSITIONS[State.SENDING, Event.CLAIM] = State.CLAIMED
    service.CLAIMABLE = (*service.CLAIMABLE, State.SENDING)  # type: ignore[attr-defined]  # set or patched by the test
    may_claim = service.CancellationService._may_claim

    def taken_over(self, row, awaited):
        if row is not None and row.state == State.SENDING:
            return self._repository.lease_expired(row)
        return may_claim(self, row, awaited)

    service.CancellationService._may_claim = taken_over


def retry_on_timeout() -> None:
    """A write that proved nothing is made once more."""
    send = HttpClient.send

    def twice(self, *args, permit, **kwargs):
        try:
            return send(self, *args, permit=permit, **kwargs)
        except OutcomeUnknown:
            return send(self, *args, permit=lambda: None, **kwargs)

    HttpClient.send = twice


def no_record_before_send() -> None:
    """The write leaves although nothing says that it may have."""
    repository.CancellationRepository.record_sending = lambda self, claimed, facts: replace(
        claimed, sending_at=self.clock.now()
    )


def negative_read_trusted() -> None:
    """One "not cancelled" is taken for a proof that the write was not applied."""
    in_doubt.NEGATIVE_PROBES_TO_SETTLE = 1
    in_state = observed_times.ObservedTimes.in_state
    observed_times.ObservedTimes.in_state = lambda self, row: (
        1e9 if row.state in states.UNRESOLVED else in_state(self, row)
    )


def reconciler_posts() -> None:
    """The background sends what its reads say is missing."""
    after_no_proof = in_doubt.InDoubtResolver._record_probe_without_evidence

    def post(self, source, row, **facts):
        if row.state == State.IN_DOUBT and facts["error"] is None:
            request = in_doubt.stored_request.from_json(row.appointment_id, row.cancel_request)  # type: ignore[attr-defined]  # set or patched by the test
            with contextlib.suppress(SourceError):
                source.adapter.cancel(request, None, lambda: None)
        after_no_proof(self, source, row, **facts)

    in_doubt.InDoubtResolver._record_probe_without_evidence = post


VARIANTS: dict[str, Callable[[], None]] = {
    "no-claim": no_claim,
    "lease-on-sending": lease_on_sending,
    "retry-on-timeout": retry_on_timeout,
    "no-record-before-send": no_record_before_send,
    "negative-read-trusted": negative_read_trusted,
    "reconciler-posts": reconciler_posts,
}
