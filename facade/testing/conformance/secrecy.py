"""Conformance of what must not be told: no secret and no patient in a log, an error or an answer."""

import json
from collections.abc import Iterator

from facade.settings import secrets_in
from facade.testing.conformance.base import Kit, Under, must
from facade.testing.conformance.bench import Bench
from facade.testing.conformance.runs import texts
from facade.testing.conformance.seam import Call

PATIENT = "CANARY"


class Secrecy(Kit):
    """Everything that is said while the source misbehaves in every way is searched."""

    def test_no_log_holds_a_secret(self, bench: Bench, under: Under) -> None:
        """Log no settings, headers, requests or exceptions' texts."""
        for secret in _secrets(bench):
            told = any(secret in line for line in _lines(bench, under))
            must(not told, "a secret of the settings was logged; log no settings, headers or requests")

    def test_no_log_holds_a_patients_details(self, bench: Bench, under: Under) -> None:
        """Log no native bodies, notes or appointments, and no exceptions' texts."""
        told = any(_tells_of_a_patient(line, bench) for line in _lines(bench, under))
        must(not told, "a patient's details were logged or printed; log no bodies, notes, appointments or tracebacks")

    def test_no_error_holds_a_secret(self, bench: Bench, under: Under) -> None:
        """Write an error's detail yourself: a status code, never a request."""
        for secret in _secrets(bench):
            told = any(secret in texts(call.error) for call in _calls(under))
            must(not told, "an error's text holds a secret of the settings; write the detail yourself")

    def test_no_error_holds_a_patients_details(self, bench: Bench, under: Under) -> None:
        """Write an error's detail yourself: a status code, never a body."""
        told = any(_tells_of_a_patient(texts(call.error), bench) for call in _calls(under))
        must(not told, "an error's text holds a patient's details; write the detail yourself, never from an answer")

    def test_no_answer_holds_a_secret(self, bench: Bench, under: Under) -> None:
        """Translate elements one by one, and pass on none that came from the settings."""
        for secret in _secrets(bench):
            told = any(secret in json.dumps(run.answer) for run in under.every())
            must(not told, "an answer holds a secret of the settings; translate the source's elements one by one")


def _secrets(bench: Bench) -> list[str]:
    return [secret.reveal() for secret in secrets_in(bench.build().settings)]


def _tells_of_a_patient(text: str, bench: Bench) -> bool:
    """Whether the canary is in it, but for one that is part of a secret: that is told elsewhere."""
    if PATIENT not in text:
        return False
    for secret in _secrets(bench):
        text = text.replace(secret, "")
    return PATIENT in text


def _calls(under: Under) -> Iterator[Call]:
    for run in under.every():
        yield from run.calls


def _lines(bench: Bench, under: Under) -> Iterator[str]:
    for run in under.every():
        yield from run.lines
    yield from _quiet_lines(bench)


def _quiet_lines(bench: Bench) -> list[str]:
    """What is said while nothing is wrong, and about what is odd."""
    with bench.trial() as trial:
        for one in (trial.appointment(), trial.simulator.ended_id, trial.simulator.odd_status_id):
            if one is not None:
                trial.outcome(one)
    return trial.lines
