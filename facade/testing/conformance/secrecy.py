"""Conformance of secrecy: no secret and no patient data in a log, an error or a response."""

import json
from collections.abc import Iterator, Mapping

from facade.setting_fields import secrets_in
from facade.testing.conformance.base import FaultRuns, Kit, must, not_supported
from facade.testing.conformance.fault_runs import texts
from facade.testing.conformance.harness import Harness, Trial
from facade.testing.conformance.recording_adapter import Call
from facade.testing.secret_search import leaks, without

PATIENT = "CANARY"


class Secrecy(Kit):
    """Tests that search everything the plugin logs and returns under every fault, also for encoded forms."""

    def test_no_log_contains_a_secret(self, harness: Harness, fault_run: FaultRuns) -> None:
        """Log no settings, headers, requests or exceptions' texts."""
        secrets = self._secrets(harness)
        found = _any_leaks(_lines(harness, fault_run), secrets)
        must(not found, "a secret of the settings was logged; log no settings, headers or requests")

    def test_no_log_contains_patient_data(self, harness: Harness, fault_run: FaultRuns) -> None:
        """Log no native bodies, notes or appointments, and no exceptions' texts."""
        secrets = _all_secrets(harness, self.secrets)
        found = any(_has_patient_data(line, secrets) for line in _lines(harness, fault_run))
        must(not found, "a patient's details were logged or printed; log no bodies, notes, appointments or tracebacks")

    def test_no_error_contains_a_secret(self, harness: Harness, fault_run: FaultRuns) -> None:
        """Write an error's detail yourself: a status code, never a request."""
        secrets = self._secrets(harness)
        found = _any_leaks((texts(call.error) for call in _calls(harness, fault_run)), secrets)
        must(not found, "an error's text contains a secret of the settings; write the detail yourself")

    def test_no_error_contains_patient_data(self, harness: Harness, fault_run: FaultRuns) -> None:
        """Write an error's detail yourself: a status code, never a body."""
        secrets = _all_secrets(harness, self.secrets)
        found = any(_has_patient_data(texts(call.error), secrets) for call in _calls(harness, fault_run))
        must(not found, "an error's text contains a patient's details; write the detail yourself, not from a response")

    def test_no_response_contains_a_secret(self, harness: Harness, fault_run: FaultRuns) -> None:
        """Translate elements one by one, and return nothing from the settings."""
        secrets = self._secrets(harness)
        results = [call.result for call in _faultless_trial(harness).record.calls]
        responses = [*(run.response for run in fault_run.every()), *results]
        found = _any_leaks((json.dumps(response, ensure_ascii=False, default=str) for response in responses), secrets)
        must(not found, "a response contains a secret of the settings; translate the source's elements one by one")

    def _secrets(self, harness: Harness) -> set[str]:
        """Return what must stay secret. Skips the test if there are no secrets."""
        found = _all_secrets(harness, self.secrets)
        if not found:
            not_supported("secrets: the settings load none, and secrets is empty")
        return found


def _all_secrets(harness: Harness, given: Mapping[str, str]) -> set[str]:
    """Return the secrets in the settings, and the values of the author's variables."""
    loaded = [secret.reveal() for secret in secrets_in(harness.build().settings)]
    return {secret for secret in (*loaded, *given.values()) if secret}


def _any_leaks(all_texts: Iterator[str], secrets: set[str]) -> bool:
    return any(leaks(text, secret) for text in all_texts for secret in secrets)


def _has_patient_data(text: str, secrets: set[str]) -> bool:
    """Return whether a text contains the canary, outside of secrets, which other tests search for."""
    if not leaks(text, PATIENT):
        return False
    for secret in secrets:
        text = without(text, secret)
    return leaks(text, PATIENT)


def _calls(harness: Harness, fault_run: FaultRuns) -> Iterator[Call]:
    for run in fault_run.every():
        yield from run.calls
    yield from _faultless_trial(harness).record.calls


def _lines(harness: Harness, fault_run: FaultRuns) -> Iterator[str]:
    for run in fault_run.every():
        yield from run.lines
    yield from _faultless_trial(harness).lines


def _faultless_trial(harness: Harness) -> Trial:
    """Cancel without a fault: an ordinary appointment, an ended one and one with an odd status."""
    with harness.trial() as trial:
        for one in (trial.appointment(), trial.simulator.ended_id, trial.simulator.odd_status_id):
            if one is not None:
                trial.outcome(one)
    return trial
