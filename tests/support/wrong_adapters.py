"""Adapters, declarations and READMEs that are wrong on purpose: one fault each, and the tests that name it.

Not collected by itself: tests/process/test_wrong_adapters.py runs each class here through the whole kit.
"""

import base64
import logging
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import ClassVar
from urllib.parse import quote

import structlog
from facade_fhir_r4.adapter import FhirR4Adapter
from facade_heim import HeimAdapter, facade_source_plugin  # type: ignore[attr-defined]  # set or patched by the test
from marshmallow import EXCLUDE, fields

from facade import (
    CanonicalId,
    Capabilities,
    Cause,
    FacadeError,
    NotExecuted,
    OutcomeUnknown,
    SourceError,
    Support,
    VersionConflict,
    classify,
    deadline,
    remaining,
)
from facade.plugin.discovery import load_plugin
from facade.testing.conformance import SourceConformance, fault_runs
from tests.support import line_source
from tests.support.keys import key_pair
from tests.support.line_source import LineAdapter, LineSettings, LineSimulator

fault_runs.PATIENCE = (0.25, 2.0)  # dozens of times through every silence


class Line(SourceConformance):
    """The line source with something else in some place."""

    plugin = "line"
    secrets = {"LINE_KEY": "CANARY-key"}
    Adapter: ClassVar = LineAdapter
    changes: ClassVar = {}
    fails: ClassVar = set()

    def settings(self, url):
        return {"address": url, "key_env": "LINE_KEY"}

    def source_plugin(self):
        return line_source.declared(self.Adapter, **self.changes)

    def serve(self, simulator):
        return line_source.served(simulator)

    def readme(self):
        return line_source.README


class Heim(SourceConformance):
    """Heim with something else in some place."""

    plugin = "heim"
    secrets = {"HEIM_API_KEY": "test_CANARY-key"}
    Adapter: ClassVar = HeimAdapter
    changes: ClassVar = {}
    fails: ClassVar = set()

    def settings(self, url):
        return {"base_url": url, "api_key_env": "HEIM_API_KEY", "environment": "test"}

    def source_plugin(self):
        return replace(facade_source_plugin(), adapter=self.Adapter, **self.changes)


class Fhir(SourceConformance):
    """A FHIR server's source with something else in some place."""

    plugin = "fhir_r4"
    secrets = {"CLINIC_TOKEN": "test_CANARY-token"}
    files = {"hospital-key.pem": key_pair("RS384").private}
    Adapter: ClassVar = FhirR4Adapter
    mode: ClassVar = "patch"
    fails: ClassVar = set()

    def settings(self, url):
        return {"base_url": url, "token_env": "CLINIC_TOKEN", "mode": self.mode}

    def source_plugin(self):
        return replace(load_plugin("fhir_r4").declaration, adapter=self.Adapter)


def free():
    """A permit that records nothing."""


# The write


class TestWritesTwice(Heim):
    fails = {"test_a_cancel_is_one_native_write", "test_the_source_is_written_to_at_most_once"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            try:
                given = super().cancel(request, current, permit)
            except OutcomeUnknown:
                self._make_sure(request)
                raise
            self._make_sure(request)
            return given

        def _make_sure(self, request):
            with suppress(SourceError):
                self._http.send("POST", self._settings["cancel_path"], id=request.appointment_id, json={}, permit=free)


class TestRetriesAfterSilence(Heim):
    fails = {"test_the_source_is_written_to_at_most_once"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            try:
                with deadline(remaining() / 2):
                    return super().cancel(request, current, permit)
            except OutcomeUnknown as error:
                if error.cause is not Cause.TIMEOUT:
                    raise
                try:
                    return super().cancel(request, current, free)
                except NotExecuted:
                    raise error from None


class TestTakesNoPermit(Heim):
    fails = {
        "test_the_permit_is_taken_once",
        "test_nothing_is_written_when_the_permit_refuses",
        "test_an_error_from_the_permit_is_not_caught",
        # What follows from it: the facade takes what was written for not sent, and for another's.
        "test_the_response_to_the_client_is_correct",
        "test_the_response_contains_the_clients_reason",
    }

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            return super().cancel(request, current, free)


class TestTakesThePermitTooEarly(Heim):
    fails = {
        "test_no_permit_is_taken_while_the_source_is_down",
        "test_the_adapters_own_refusal_takes_no_permit",
    }

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            permit()
            return super().cancel(request, current, free)


class TestTakesThePermitAfterwards(Heim):
    fails = {"test_the_permit_is_taken_before_the_write", "test_nothing_is_written_when_the_permit_refuses"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            try:
                given = super().cancel(request, current, free)
            except OutcomeUnknown:
                permit()
                raise
            permit()
            return given


class TestSwallowsWhatThePermitRaises(Line):
    fails = {"test_an_error_from_the_permit_is_not_caught"}

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            def asked():
                try:
                    permit()
                except FacadeError:
                    raise OutcomeUnknown(Cause.INTERNAL, "no permit") from None

            return super().cancel(request, current, asked)


class TestSendsNoVersion(Line):
    fails = {
        "test_a_changed_version_raises_version_conflict",
        "test_a_changed_version_is_retried_once_after_a_read",
    }

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            return super().cancel(request, {**current, "meta": {"versionId": "0"}}, permit)


class TestWritesTwiceOnOnePermitWhenStale(Fhir):
    fails = {
        "test_a_changed_version_raises_version_conflict",
        "test_a_changed_version_is_retried_once_after_a_read",
    }

    class Adapter(FhirR4Adapter):
        def _write(self, method, current, body, permit):
            try:
                return super()._write(method, current, body, permit)
            except VersionConflict:
                return super()._write(method, current, body, free)


class TestDeletesWhatItHasCancelled(Fhir):
    fails = {"test_a_cancel_is_one_native_write", "test_the_source_is_written_to_at_most_once"}

    class Adapter(FhirR4Adapter):
        def cancel(self, request, current, permit):
            given = super().cancel(request, current, permit)
            with suppress(SourceError):
                self._http.send("DELETE", "/Appointment/{id}", id=request.appointment_id, permit=free)
            return given


class TestMarksWhatItReads(Heim):
    fails = {"test_a_cancel_is_one_native_write", "test_the_source_is_written_to_at_most_once"}

    class Adapter(HeimAdapter):
        def read(self, appointment_id):
            found = super().read(appointment_id)
            with suppress(SourceError):
                self._http.send("POST", "/v1/appointments/{id}/viewed", id=appointment_id, json={}, permit=free)
            return found


class TestWritesElsewhereToo(Heim):
    fails = {"test_a_cancel_is_one_native_write", "test_the_source_is_written_to_at_most_once"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            try:
                return super().cancel(request, current, permit)
            finally:
                with suppress(SourceError):
                    self._http.send("POST", "/v1/notifications", json={"kind": "cancel"}, permit=free)


class TestWritesElsewhereFirst(Heim):
    fails = {"test_a_cancel_is_one_native_write"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            with suppress(SourceError):
                self._http.send("POST", "/v1/notifications", json={"kind": "cancel"}, permit=free)
            return super().cancel(request, current, permit)


class TestNamesTheAppointmentInAnotherBody(Heim):
    fails = {"test_a_cancel_is_one_native_write", "test_the_source_is_written_to_at_most_once"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            with suppress(SourceError):
                body = {"appointments": [{"id": request.appointment_id}]}
                self._http.send("POST", "/v1/holds", json=body, permit=free)
            return super().cancel(request, current, permit)


class TestSendsBackAPartOfTheRecord(Fhir):
    fails = {"test_a_cancel_removes_nothing_from_the_native_record"}
    mode = "update"

    class Adapter(FhirR4Adapter):
        def _write(self, method, current, body, permit):
            kept = ("resourceType", "id", "status", "participant", "cancelationReason")
            return super()._write(method, current, {name: body[name] for name in kept}, permit)


class TestReadsBetweenThePermitAndTheWrite(Heim):
    fails = {"test_the_write_follows_its_permit_at_once"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            def asked():
                permit()
                with suppress(SourceError):
                    self.read(request.appointment_id)

            return super().cancel(request, current, asked)


class TestSaysNotDoneOfAStaleVersion(Line):
    fails = {
        "test_a_changed_version_raises_version_conflict",
        "test_a_changed_version_is_retried_once_after_a_read",
    }

    class Adapter(LineAdapter):
        def error(self, word):
            found = super().error(word)
            return NotExecuted(Cause.CONFLICT) if isinstance(found, VersionConflict) else found


# What is believed and what is said


class TestSaysNotDoneOfASilence(Line):
    fails = {"test_not_executed_is_raised_only_when_certain"}

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            try:
                return super().cancel(request, current, permit)
            except OutcomeUnknown as error:
                if error.cause is not Cause.TIMEOUT:
                    raise
                raise NotExecuted(Cause.TIMEOUT) from None


class TestTakesTheWriteBackWhenItsReadFails(Line):
    fails = {"test_a_failed_read_after_the_write_is_outcome_unknown"}

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            super().cancel(request, current, permit)
            return self.read(request.appointment_id)


class TestBelievesAny2xx(Heim):
    fails = {"test_the_response_to_the_client_is_correct"}

    class Adapter(HeimAdapter):
        def _parse(self, answer):
            if answer.status in {200, 202} and "cancellation" not in answer.body.decode("latin-1"):
                return super()._parse(replace(answer, status=200, body=self._sent))
            return super()._parse(answer)

        def cancel(self, request, current, permit):
            self._sent = b'{"id": "%s", "status": "cancelled"}' % request.appointment_id.encode("utf-8", "replace")
            return super().cancel(request, current, permit)

        def read(self, appointment_id):
            self._sent = b"null"
            return super().read(appointment_id)


class TestSaysCancelledWithoutEvidence(Heim):
    fails = {"test_the_response_to_the_client_is_correct"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            return {**super().cancel(request, current, permit), "status": "cancelled"}


class TestBelievesASuccessAboutAnother(Line):
    fails = {"test_a_success_about_another_appointment_proves_nothing", "test_the_response_to_the_client_is_correct"}

    class Adapter(line_source.UnreadableLineAdapter):
        def cancel(self, request, current, permit):
            found = super().cancel(request, current, permit)
            return {**found, "id": request.appointment_id}

    def source_plugin(self):
        return replace(line_source.declared_without_read(), adapter=self.Adapter)


class TestBelievesAReadableSuccessAboutAnother(Heim):
    fails = {"test_a_success_about_another_appointment_proves_nothing", "test_the_response_to_the_client_is_correct"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            return {**super().cancel(request, current, permit), "id": request.appointment_id}


class TestDropsHowLongToWait(Line):
    fails = {"test_the_sources_retry_after_is_passed_on"}

    class Adapter(LineAdapter):
        def error(self, words):
            return super().error(words.partition(" ")[0])


class TestWaitsAsLongAsItLikes(Line):
    fails = {"test_the_sources_retry_after_is_passed_on"}

    class Adapter(LineAdapter):
        def error(self, words):
            found = super().error(words)
            return NotExecuted(found.cause, retry_after=60.0) if found.cause is Cause.THROTTLED else found


class TestBelievesAlreadyCancelled(Heim):
    fails = {"test_a_second_native_cancel_does_what_is_declared"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            try:
                return super().cancel(request, current, permit)
            except OutcomeUnknown as error:
                if error.detail != "HTTP 409":
                    raise
                return {**current, "status": "cancelled"}


class TestTakesAnyErrorForTheSourcesOwn(Heim):
    fails = {"test_the_response_to_the_client_is_correct", "test_not_executed_is_raised_only_when_certain"}

    class Adapter(HeimAdapter):
        def _own_error(self, answer):
            return True


class TestTakesAnyJsonForTheSourcesOwnError(Heim):
    fails = {"test_the_response_to_the_client_is_correct", "test_not_executed_is_raised_only_when_certain"}

    class Adapter(HeimAdapter):
        def _own_error(self, answer):
            try:
                return isinstance(answer.json(), dict)
            except SourceError:
                return False


class TestDoubtsARefusal(Line):
    fails = {"test_the_sources_own_refusal_is_not_executed"}

    class Adapter(LineAdapter):
        def error(self, word):
            found = super().error(word)
            return OutcomeUnknown(found.cause, found.detail) if word in {"refused", "key"} else found


class TestDoubtsASourceThatIsDown(Line):
    fails = {"test_a_cancel_while_the_source_is_down_is_not_executed"}

    class Adapter(LineAdapter):
        def ask(self, *words, permit=None):
            try:
                return super().ask(*words, permit=permit)
            except NotExecuted as error:
                if error.cause is not Cause.UNREACHABLE:
                    raise
                raise OutcomeUnknown(error.cause, error.detail) from None


class TestGuessesWhatItCannotRead(Line):
    fails = {"test_the_response_to_the_client_is_correct", "test_the_source_is_written_to_at_most_once"}

    class Adapter(LineAdapter):
        def read(self, appointment_id):
            try:
                return super().read(appointment_id)
            except OutcomeUnknown:
                return {"resourceType": "Appointment", "id": appointment_id, "meta": {"versionId": "0"}}


class TestCallsAnUnknownStatusCancelled(Line):
    fails = {"test_a_native_status_without_a_fhir_status_is_omitted"}

    class Adapter(LineAdapter):
        def translate(self, native):
            return {"status": "cancelled", **super().translate(native)}


class TestNeverTellsCancelled(Line):
    fails = {
        "test_a_cancel_ends_in_cancelled",
        "test_an_appointment_cancelled_elsewhere_is_not_written_to",
        "test_a_read_returns_the_current_state",
        "test_the_response_to_the_client_is_correct",
        "test_the_response_contains_the_clients_reason",
        "test_a_late_commit_is_resolved_by_reading",
        "test_a_changed_version_is_retried_once_after_a_read",
    }

    class Adapter(LineAdapter):
        def translate(self, native):
            found = super().translate(native)
            return {**found, "status": "booked"} if found.get("status") == "cancelled" else found


class TestTellsNoStatus(Line):
    fails = {"test_a_source_declared_readable_is_read", "test_the_responses_are_valid_r4"}

    class Adapter(LineAdapter):
        def translate(self, native):
            found = super().translate(native)
            return {name: value for name, value in found.items() if value != "booked"}


class TestTakesRefusedCredentialsForAFault(Line):
    fails = {"test_a_read_with_rejected_credentials_states_the_cause"}

    class Adapter(LineAdapter):
        def read(self, appointment_id):
            try:
                return super().read(appointment_id)
            except NotExecuted as error:
                raise OutcomeUnknown(Cause.SERVER_ERROR, error.detail, retry_after=error.retry_after) from None


class TestTakesAnyAppointmentForTheOneAskedFor(Line):
    fails = {"test_a_response_about_another_appointment_is_rejected"}

    class Adapter(LineAdapter):
        def read(self, appointment_id):
            found = super().read(appointment_id)
            return {**found, "id": appointment_id} if "id" in found else found


class TestKnowsNoUnknownAppointment(Line):
    fails = {"test_an_unknown_appointment_is_not_found"}

    class Adapter(LineAdapter):
        def error(self, word):
            return OutcomeUnknown(Cause.SERVER_ERROR) if word == "unknown" else super().error(word)


class TestSaysCancelledOfWhatIsOver(Line):
    fails = {"test_an_appointment_that_is_over_is_not_cancelled"}

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            if current["status"] == "fulfilled":
                return {**current, "status": "cancelled"}
            return super().cancel(request, current, permit)


# What comes out


class TestReturnsNothing(Line):
    fails = {
        "test_an_ordinary_call_returns_an_appointment",
        "test_a_call_returns_an_appointment_or_raises_a_source_error",
    }

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            super().cancel(request, current, permit)


class TestRaisesKeyError(Heim):
    fails = {"test_a_call_returns_an_appointment_or_raises_a_source_error"}

    class Adapter(HeimAdapter):
        def _parse(self, answer):
            classify(answer, own_error=self._own_error).json()["id"]
            return super()._parse(answer)


class TestTellsTheKeyInAnError(Heim):
    fails = {"test_no_error_contains_a_secret"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            try:
                return super().cancel(request, current, permit)
            except OutcomeUnknown as error:
                detail = f"sent with {self._settings['api_key'].reveal()}"
                raise OutcomeUnknown(error.cause, detail, retry_after=error.retry_after) from None


class TestTellsThePatientInAnError(Line):
    fails = {"test_no_error_contains_patient_data"}

    class Adapter(LineAdapter):
        def evaluate(self, answer):
            try:
                return super().evaluate(answer)
            except OutcomeUnknown as error:
                raise OutcomeUnknown(error.cause, answer.decode("latin-1")) from None


class TestLogsThePatient(Line):
    fails = {"test_no_log_contains_patient_data"}

    class Adapter(LineAdapter):
        def translate(self, native):
            logging.getLogger("line").debug("got %s", native)
            return super().translate(native)


class TestLogsTheKey(Line):
    fails = {"test_no_log_contains_a_secret"}

    class Adapter(LineAdapter):
        def line(self, *words):
            structlog.get_logger().info("asking", words=words)
            return super().line(*words)


class TestLogsBasicCredentials(Line):
    fails = {"test_no_log_contains_a_secret"}

    class Adapter(LineAdapter):
        def line(self, *words):
            header = base64.b64encode(f"{self.key}:".encode()).decode()
            structlog.get_logger().info("asking", headers={"Authorization": f"Basic {header}"})
            return super().line(*words)


class TestLogsAPercentEncodedKey(Line):
    secrets = {"LINE_KEY": "key/CANARY+1"}
    fails = {"test_no_log_contains_a_secret"}

    class Adapter(LineAdapter):
        def line(self, *words):
            logging.getLogger("line").info("asking line://%s/", quote(self.key, safe=""))
            return super().line(*words)


class TestTellsAHexadecimalKeyInAnError(Line):
    fails = {"test_no_error_contains_a_secret"}

    class Adapter(LineAdapter):
        def error(self, word):
            found = super().error(word)
            if found.cause is not Cause.CREDENTIALS:  # the detail of that one is logged too
                found.detail = f"asked with {self.key.encode().hex()}"
            return found


class TestPassesAKeyInBase64UrlOn(Line):
    fails = {"test_no_response_contains_a_secret"}

    class Adapter(LineAdapter):
        def translate(self, native):
            token = base64.urlsafe_b64encode(f"user:{self.key}".encode()).decode()
            return {**super().translate(native), "comment": f"asked with {token}"}


class TestPassesTheKeyOn(Line):
    fails = {"test_no_response_contains_a_secret"}

    class Adapter(LineAdapter):
        def translate(self, native):
            return {**super().translate(native), "comment": f"asked with {self.key}"}


class TestGivesStartAlone(Line):
    fails = {"test_the_adapter_returns_valid_r4"}

    class Adapter(LineAdapter):
        def translate(self, native):
            return {**super().translate(native), "start": "2030-01-01T10:00:00Z"}


class TestGivesANumberAsText(Line):
    fails = {"test_the_adapter_returns_valid_r4"}

    class Adapter(LineAdapter):
        def translate(self, native):
            return {**super().translate(native), "minutesDuration": "30"}


class TestGivesEncodedReferences(Line):
    fails = {"test_the_adapter_returns_raw_ids"}

    class Adapter(LineAdapter):
        def translate(self, native):
            return {**super().translate(native), "basedOn": [{"reference": "ServiceRequest/x-.r.5f1"}]}


class TestGivesAnIdentifierTwice(Line):
    fails = {"test_the_response_names_the_source_and_the_native_id"}

    class Adapter(LineAdapter):
        def translate(self, native):
            one = {"system": "urn:line:case", "value": "1"}
            return {**super().translate(native), "identifier": [one, one]}


class TestLosesTheReason(Line):
    fails = {"test_the_reason_reaches_the_source", "test_the_response_contains_the_clients_reason"}

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            other = replace(request.native_reason, code="OTHER")
            return super().cancel(replace(request, native_reason=other), current, permit)


class TestDropsTheNote(Heim):
    fails = {"test_the_note_reaches_the_source"}

    class Adapter(HeimAdapter):
        def cancel(self, request, current, permit):
            return super().cancel(replace(request, note=""), current, permit)


class TestDeclaresNoNoteAndSendsIt(Heim):
    fails = {"test_the_note_reaches_the_source"}
    changes = {"capabilities": Capabilities()}


# Time, threads and memory


class TestHasATimeoutOfItsOwn(Line):
    fails = {
        "test_nothing_is_written_when_no_time_is_left",
        "test_a_silent_write_ends_at_the_deadline",
        "test_a_slow_write_ends_at_the_deadline",
        "test_a_silent_read_ends_at_the_deadline",
    }

    class Adapter(LineAdapter):
        def ask(self, *words, permit=None):
            # A thread begins without the ambient deadline.
            with ThreadPoolExecutor(1) as pool:
                return pool.submit(self._ask_in_my_own_time, words, permit).result()

        def _ask_in_my_own_time(self, words, permit):
            with deadline(2.8):
                return super().ask(*words, permit=permit)


class TestLetsEveryByteProlongTheWait(Line):
    fails = {"test_a_slow_write_ends_at_the_deadline"}

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            self.patient = True
            try:
                return super().cancel(request, current, permit)
            finally:
                self.patient = False

        def answer(self, connection):
            if not getattr(self, "patient", False):
                return super().answer(connection)
            received = b""
            connection.settimeout(remaining())
            while not received.endswith(b"\n"):
                more = connection.recv(64 * 1024)
                received += more
                if not more or len(received) > line_source.LONGEST:
                    raise OutcomeUnknown(Cause.UNREADABLE)
            return received


class TestOpensASecondConnection(Line):
    fails = {"test_the_declared_connection_limit_is_kept"}
    changes = {"capabilities": replace(line_source.CAN, max_connections=1)}

    class Adapter(LineAdapter):
        def ask(self, *words, permit=None):
            try:
                idle = socket.create_connection(self.address, timeout=5)
            except OSError:
                return super().ask(*words, permit=permit)
            with idle:
                return super().ask(*words, permit=permit)


class TestHoldsALockWhileItWaits(Line):
    fails = {"test_a_silent_appointment_does_not_delay_another"}

    class Adapter(LineAdapter):
        lock = threading.Lock()

        def ask(self, *words, permit=None):
            with self.lock:
                return super().ask(*words, permit=permit)


class TestKeepsTheRequestOnItself(Line):
    fails = {"test_concurrent_cancels_of_two_appointments_do_not_mix"}

    class Adapter(LineAdapter):
        def cancel(self, request, current, permit):
            self.asked_for = request.appointment_id
            given = super().cancel(request, current, permit)
            return {**given, "id": self.asked_for} if given.get("id") == request.appointment_id else given


class TestRemembersWhatItRead(Line):
    fails = {"test_a_read_returns_the_current_state", "test_a_late_commit_is_resolved_by_reading"}

    class Adapter(LineAdapter):
        def __init__(self, config):
            super().__init__(config)
            self.known = {}

        def read(self, appointment_id):
            if appointment_id not in self.known:
                self.known[appointment_id] = super().read(appointment_id)
            return self.known[appointment_id]

        def cancel(self, request, current, permit):
            try:
                return super().cancel(request, current, permit)
            finally:
                self.known.pop(request.appointment_id, None)


class TestConnectsWhenItIsBuilt(Line):
    fails = {"test_building_an_adapter_sends_nothing"}

    class Adapter(LineAdapter):
        def __init__(self, config):
            super().__init__(config)
            try:
                self.ask("GET", self.key, "apt_500-before-commit")
            except SourceError:
                self.awake = False


# Ids


class TestPastesIdsIntoThePath(Heim):
    fails = {"test_a_hostile_id_reaches_no_other_resource"}

    class Adapter(HeimAdapter):
        def read(self, appointment_id):
            return self._for(appointment_id).read(appointment_id)

        def cancel(self, request, current, permit):
            return self._for(request.appointment_id).cancel(request, current, permit)

        def _for(self, appointment_id):
            paths = {name: path for name, path in self._settings.items() if name.endswith("_path")}
            pasted = {name: path.replace("{id}", appointment_id) for name, path in paths.items()}
            return HeimAdapter(replace(self._config, settings={**self._settings, **pasted}))


class TestPastesIdsIntoTheLine(Line):
    fails = {"test_a_hostile_id_reaches_no_other_resource"}

    class Adapter(LineAdapter):
        def line(self, *words):
            return " ".join(words).encode("utf-8", "replace") + b"\n"


class TestAllowsAnyId(Line):
    fails = {"test_a_hostile_id_does_not_fit_the_id_pattern"}
    changes = {"id_pattern": r"(?s:.+)"}


class TestAllowsTooFewIds(Line):
    fails = {"test_the_simulators_ids_fit_the_id_pattern"}
    changes = {"id_pattern": r"apt_[a-z-]{1,60}"}


class TestTakesEachSpellingForAnotherAppointment(Line):
    fails = {
        "test_equal_spellings_of_an_id_have_one_canonical_form",
        "test_cancels_by_every_spelling_of_an_id_write_once",
    }
    changes = {"simulator": line_source.CaselessSimulator}


class TestHasAFormThatIsNoForm(Line):
    fails = {
        "test_the_canonical_form_of_an_id_is_one_of_its_spellings",
        "test_equal_spellings_of_an_id_have_one_canonical_form",
        "test_cancels_by_every_spelling_of_an_id_write_once",
    }
    changes = {
        "simulator": line_source.CaselessSimulator,
        "canonical_id": CanonicalId(version=1, form=str.swapcase),
    }


# The declaration


class TestAcceptsUnknownSettings(Line):
    fails = {"test_the_declaration_is_valid", "test_an_unknown_setting_is_rejected"}

    class Lenient(LineSettings):
        class Meta:
            unknown = EXCLUDE

    changes = {"settings": Lenient}


class TestMapsTooFewReasons(Line):
    fails = {"test_every_hl7_reason_maps_to_a_native_reason"}
    changes = {"reasons": line_source.reasons({k: v for k, v in line_source.MAP.items() if k != "prov"})}


class TestMapsToAReasonThatIsRefused(Line):
    fails = {"test_the_source_accepts_every_native_reason"}
    changes = {
        "reasons": line_source.reasons(
            {**line_source.MAP, "maint": "WEATHER"}, {**line_source.CODES, "WEATHER": "Bad weather"}
        )
    }


class TestDeclaresThatItCannotRead(Line):
    fails = {"test_a_source_declared_unreadable_is_not_read"}
    changes = {"capabilities": replace(line_source.CAN, read=Support.NONE, versioned_writes=Support.NONE)}


class TestDeclaresToLackWhatItGives(Line):
    fails = {"test_elements_declared_lacking_are_never_returned"}
    changes = {"capabilities": replace(line_source.CAN, lacks=line_source.CAN.lacks | {"participant"})}


class TestLacksWhatItDoesNotDeclare(Line):
    fails = {"test_each_required_element_is_returned_or_declared_lacking"}
    changes = {"capabilities": replace(line_source.CAN, lacks=frozenset({"slot"}))}


class TestDeclaresAnotherRepeat(Line):
    fails = {"test_a_second_native_cancel_does_what_is_declared"}
    changes = {"repeat": "idempotent"}


class TestFailsOverAWebhook(Heim):
    fails = {"test_an_unknown_webhook_body_is_ignored"}
    changes = {"webhook": lambda body, settings: body["appointment"]["id"]}


class TestSeedsNoCanary(Line):
    fails = {"test_the_seeds_contain_a_canary"}

    class Simulator(LineSimulator):
        def seeds(self, now):
            return {ref: {**native, "who": "Smith"} for ref, native in super().seeds(now).items()}

    changes = {"simulator": Simulator}


# The README


class TestHasNoReasonsHeading(Line):
    fails = {"test_the_readme_has_the_fixed_headings"}

    def readme(self):
        return line_source.README.replace("## Reasons", "## Why")


class TestExplainsNoKey(Line):
    fails = {"test_the_readme_has_a_row_for_every_setting"}

    def readme(self):
        return line_source.README.replace("`address`, `key_env`", "`address`")


class TestDoesNotSayWhatASettingMeans(Line):
    fails = {"test_each_setting_has_a_meaning"}

    class Unexplained(LineSettings):
        address = fields.String(required=True)

    changes = {"settings": Unexplained}


class TestShowsAnExampleThatDoesNotLoad(Line):
    fails = {"test_the_readmes_example_settings_load"}

    def readme(self):
        return line_source.README.replace('key_env = "LINE_KEY"', 'key = "LINE_KEY"')
