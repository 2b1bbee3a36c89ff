"""Conformance of what must not be told: no secret and no patient in a log, an error or an answer."""

import json
from collections.abc import Iterator, Mapping

from facade.setting_fields import secrets_in
from facade.testing.conformance.base import Kit, Under, cannot, must
from facade.testing.conformance.fault_runs import texts
from facade.testing.conformance.harness import Bench, Trial
from facade.testing.conformance.recording_adapter import Call
from facade.testing.secret_search import leaks, without

PATIENT = "CANARY"


class Secrecy(Kit):
    """Everything that is said while the source misbehaves in every way is searched, also for encoded forms."""

    def test_no_log_holds_a_secret(self, bench: Bench, under: Under) -> None:
        """Log no settings, headers, requests or exceptions' texts."""
        secrets = self._secrets(bench)
        told = _any_leaks(_lines(bench, under), secrets)
        must(not told, "a secret of the settings was logged; log no settings, headers or requests")

    def test_no_log_holds_a_patients_details(self, bench: Bench, under: Under) -> None:
        """Log no native bodies, notes or appointments, and no exceptions' texts."""
        secrets = _found(bench, self.secrets)
        told = any(_tells_of_a_patient(line, secrets) for line in _lines(bench, under))
        must(not told, "a patient's details were logged or printed; log no bodies, notes, appointments or tracebacks")

    def test_no_error_holds_a_secret(self, bench: Bench, under: Under) -> None:
        """Write an error's detail yourself: a status code, never a request."""
        secrets = self._secrets(bench)
        told = _any_leaks((texts(call.error) for call in _calls(bench, under)), secrets)
        must(not told, "an error's text holds a secret of the settings; write the detail yourself")

    def test_no_error_holds_a_patients_details(self, bench: Bench, under: Under) -> None:
        """Write an error's detail yourself: a status code, never a body."""
        secrets = _found(bench, self.secrets)
        told = any(_tells_of_a_patient(texts(call.error), secrets) for call in _calls(bench, under))
        must(not told, "an error's text holds a patient's details; write the detail yourself, never from an answer")

    def test_no_answer_holds_a_secret(self, bench: Bench, under: Under) -> None:
        """Translate elements one by one, and pass on none that came from the settings."""
        secrets = self._secrets(bench)
        answers = [*(run.answer for run in under.every()), *(call.result for call in _quiet(bench).record.calls)]
        told = _any_leaks((json.dumps(answer, ensure_ascii=False, default=str) for answer in answers), secrets)
        must(not told, "an answer holds a secret of the settings; translate the source's elements one by one")

    def _secrets(self, bench: Bench) -> set[str]:
        """What must stay secret. Skips the test where there is nothing of the kind."""
        found = _found(bench, self.secrets)
        if not found:
            cannot("there is no secret: the settings load none, and secrets is empty")
        return found


def _found(bench: Bench, given: Mapping[str, str]) -> set[str]:
    """The secrets that the settings hold, and the variables that they name."""
    held = [secret.reveal() for secret in secrets_in(bench.build().settings)]
    return {secret for secret in (*held, *given.values()) if secret}


def _any_leaks(said: Iterator[str], secrets: set[str]) -> bool:
    return any(leaks(text, secret) for text in said for secret in secrets)


def _tells_of_a_patient(text: str, secrets: set[str]) -> bool:
    """Whether the canary is in it, but for one that is part of a secret: that is told elsewhere."""
    if not leaks(text, PATIENT):
        return False
    for secret in secrets:
        text = without(text, secret)
    return leaks(text, PATIENT)


def _calls(bench: Bench, under: Under) -> Iterator[Call]:
    for run in under.every():
        yield from run.calls
    yield from _quiet(bench).record.calls


def _lines(bench: Bench, under: Under) -> Iterator[str]:
    for run in under.every():
        yield from run.lines
    yield from _quiet(bench).lines


def _quiet(bench: Bench) -> Trial:
    """What happens while nothing is wrong, and about what is odd."""
    with bench.trial() as trial:
        for one in (trial.appointment(), trial.simulator.ended_id, trial.simulator.odd_status_id):
            if one is not None:
                trial.outcome(one)
    return trial
