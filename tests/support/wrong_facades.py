"""Facades that are wrong on purpose, one fault each; run as a program, it verifies one by name.

Some change what goes in or comes out, as a proxy or a careless view would; some break the use case.
"""

import contextlib
import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import replace
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from urllib.parse import unquote

import requests
import structlog
from facade_heim.adapter import HeimAdapter
from facade_heim.simulator import HeimSimulator
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from facade import strict_json
from facade.app import assemble, compose
from facade.cancellation import attempt, native, service, states
from facade.cancellation.budget import Budget
from facade.cancellation.timers import Timers
from facade.errors import AppointmentNotFound, Cause, NotExecuted, NotFound, SourceError
from facade.fhir import request as cancel_request
from facade.fhir.reasons import ReasonMap
from facade.ledger import engine
from facade.plugin.contract import NativeReason
from facade.testing.simulator.faults import Timings
from facade.testing.simulator.host import serve
from facade.verify import report
from facade.verify.catalogue import catalogue
from facade.verify.runner import Run, run_checks
from facade.verify.sandbox import Sandbox
from facade.verify.target import Key, Target
from facade.web import create_app
from tests.conftest import CONFIG, HEIM_KEY, KEY
from tests.histories import variants

WITHIN = 15.0  # seconds: a busy machine's facade is still in time, and the slow one is not
LATE = 6.0  # after the silent write and the read behind it
NORTH = """
[sources.north]
plugin = "heim"
base_url = "http://127.0.0.1:9/north"
api_key_env = "HEIM_API_KEY"
environment = "test"
"""


class Unhurried(Budget):
    """Little time, so that a silent source costs little, but enough for a busy machine to read in."""

    read = write = probe = 4.0
    work = WITHIN - 1.0


WRONG = {}
"""By name: what is done to the use case before the facade is built, and to the application around it."""


class Exchange:
    """One request and the real facade's answer to it, for a wrong one to spoil."""

    def __init__(self, request, response):
        self.request, self.response = request, response
        self.path = request.environ["REQUEST_URI"].partition("?")[0]
        self.resource = response.get_json(silent=True, force=True) or {}
        self.is_appointment = response.status_code == 200 and self.resource.get("resourceType") == "Appointment"
        self.status = self.resource.get("status") if self.is_appointment else None

    def send(self, resource):
        """The same answer with another body."""
        self.response.set_data(json.dumps(resource))

    def refuse(self, status, code, **headers):
        """Another answer: an OperationOutcome."""
        issue = {"severity": "error", "code": code, "details": {"text": HTTPStatus(status).phrase}}
        self.response.status_code = status
        self.response.headers.update(headers)
        self.response.headers.pop("ETag", None)
        self.send({"resourceType": "OperationOutcome", "issue": [issue]})


def named(function):
    return function.__name__.replace("_", "-")


def spoiled(spoil):
    """A facade whose answers are spoiled on their way out. ``spoil.memory`` is a fresh dictionary."""

    def around(app):
        memory, lock = {}, threading.Lock()

        def wrong(environ, start_response):
            request = Request(environ)
            body = request.get_data()
            environ["wsgi.input"] = BytesIO(body)
            exchange = Exchange(request, Response.from_app(app, environ, buffered=True))
            exchange.body = body  # type: ignore[attr-defined]  # set or patched by the test
            with lock:
                spoil(exchange, memory)
            return exchange.response(environ, start_response)

        return wrong

    WRONG[named(spoil)] = (lambda: None, around)
    return spoil


def misheard(change):
    """A facade that hears another request than was sent; ``change`` may also answer by itself."""

    def around(app):
        def wrong(environ, start_response):
            return (change(environ) or app)(environ, start_response)

        return wrong

    WRONG[named(change)] = (lambda: None, around)
    return change


def broken(patch):
    """A facade whose use case is broken."""
    WRONG[named(patch)] = (patch, lambda app: app)
    return patch


# What comes out


@spoiled
def conflict_on_a_repeat(exchange, memory):
    if exchange.request.method == "POST" and exchange.status == "cancelled":
        if exchange.path in memory:
            exchange.refuse(409, "conflict")
        memory[exchange.path] = True


@spoiled
def the_sources_401_passed_on(exchange, memory):
    if exchange.is_appointment and '"security"' in exchange.response.get_data(as_text=True):
        exchange.refuse(401, "login", **{"WWW-Authenticate": "Bearer"})


@spoiled
def errors_in_html(exchange, memory):
    if exchange.response.status_code >= 400:
        exchange.response.set_data("<h1>Error</h1>")


@spoiled
def no_allow(exchange, memory):
    exchange.response.headers.pop("Allow", None)


@spoiled
def no_challenge(exchange, memory):
    exchange.response.headers.pop("WWW-Authenticate", None)


@spoiled
def no_participant(exchange, memory):
    if exchange.is_appointment:
        exchange.send({name: value for name, value in exchange.resource.items() if name != "participant"})


@spoiled
def no_source_identifier(exchange, memory):
    if exchange.is_appointment:
        exchange.send({**exchange.resource, "identifier": exchange.resource["identifier"][1:]})


@spoiled
def raw_ids(exchange, memory):
    if exchange.is_appointment:
        exchange.send({**exchange.resource, "id": exchange.resource["identifier"][1]["value"]})


@spoiled
def raw_references(exchange, memory):
    if exchange.is_appointment and "reference" in exchange.resource["slot"][0]:
        slot = exchange.resource["slot"][0]
        exchange.send({**exchange.resource, "slot": [{**slot, "reference": f"Slot/{slot['identifier']['value']}"}]})


@spoiled
def another_etag_each_time(exchange, memory):
    if exchange.is_appointment:
        memory["number"] = memory.get("number", 0) + 1
        exchange.response.headers["ETag"] = f'W/"{memory["number"]}-{exchange.resource["meta"]["versionId"]}"'


@spoiled
def request_ids_of_its_own(exchange, memory):
    memory["number"] = memory.get("number", 0) + 1
    exchange.response.headers["X-Request-Id"] = f"own-{memory['number']}"


@spoiled
def answers_that_may_be_stored(exchange, memory):
    exchange.response.headers.pop("Cache-Control")


@spoiled
def a_start_without_an_end(exchange, memory):
    if exchange.is_appointment:
        exchange.send({name: value for name, value in exchange.resource.items() if name != "end"})


@spoiled
def plain_json(exchange, memory):
    exchange.response.headers["Content-Type"] = "application/json"


@spoiled
def proposed_with_a_reason(exchange, memory):
    if exchange.status == "proposed":
        exchange.send({**exchange.resource, "cancelationReason": {"text": "as asked"}})


@spoiled
def proposed_without_a_why_after_silence(exchange, memory):
    if '"timeout"' in exchange.response.get_data(as_text=True) and exchange.is_appointment:
        kept = {"contained", "supportingInformation"}
        exchange.send({name: value for name, value in exchange.resource.items() if name not in kept})


@spoiled
def the_newest_reason(exchange, memory):
    is_cancel = exchange.status == "cancelled" and exchange.request.method == "POST"
    if is_cancel and memory.setdefault(exchange.path, exchange.body) != exchange.body:
        reason = {"coding": [{"system": "urn:newest", "code": "newest"}]}
        exchange.send({**exchange.resource, "cancelationReason": reason})


@spoiled
def a_bug_for_a_malformed_body(exchange, memory):
    if exchange.response.status_code == 400 and "is not JSON" in exchange.response.get_data(as_text=True):
        exchange.refuse(500, "exception")


@spoiled
def the_native_record_shown(exchange, memory):
    if exchange.status == "cancelled":
        extension = {"url": "urn:heim:data", "valueString": "CANARY-120/80"}
        exchange.send({**exchange.resource, "extension": [*exchange.resource.get("extension", []), extension]})


@spoiled
def the_sources_address_shown(exchange, memory):
    if exchange.status == "proposed":
        text = exchange.response.get_data(as_text=True)
        place = exchange.request.environ["SANDBOX"]
        exchange.response.set_data(text.replace("The source system", f"HTTPConnection({place})"))


@spoiled
def nothing_on_prefer_minimal(exchange, memory):
    if exchange.request.headers.get("Prefer") == "return=minimal":
        exchange.response.set_data("")


@spoiled
def sources_distinguished(exchange, memory):
    if "/Appointment/north/" in exchange.path and exchange.response.status_code == 404:
        exchange.refuse(403, "forbidden")


@spoiled
def proposed_at_first(exchange, memory):
    if exchange.request.method != "POST" or exchange.status != "cancelled":
        return
    if exchange.path not in memory:
        memory[exchange.path] = True
        issue = {"severity": "warning", "code": "transient", "details": {"text": "Ask again."}}
        why = {"resourceType": "OperationOutcome", "id": "why", "issue": [issue]}
        proposed = {name: value for name, value in exchange.resource.items() if name != "cancelationReason"}
        reference = [{"reference": "#why"}]
        exchange.send({**proposed, "status": "proposed", "contained": [why], "supportingInformation": reference})


@spoiled
def what_is_not_proven_is_503(exchange, memory):
    if exchange.status == "proposed":
        exchange.refuse(503, "transient", **{"Retry-After": "5"})


@spoiled
def gone_instead_of_not_found(exchange, memory):
    if exchange.response.status_code == 404 and "/Appointment/" in exchange.path:
        exchange.refuse(410, "deleted")


@spoiled
def another_method_is_not_found(exchange, memory):
    if exchange.response.status_code == 405:
        exchange.refuse(404, "not-found")


@spoiled
def what_is_wrong_is_a_bad_request(exchange, memory):
    if exchange.response.status_code == 422:
        exchange.refuse(400, "invalid")


@spoiled
def reads_without_the_record(exchange, memory):
    if exchange.is_appointment and exchange.request.method == "GET":
        exchange.send({name: value for name, value in exchange.resource.items() if name != "extension"})


@spoiled
def reads_of_how_it_was(exchange, memory):
    if exchange.status == "cancelled" and exchange.request.method == "GET":
        before = {name: value for name, value in exchange.resource.items() if name != "cancelationReason"}
        exchange.send({**before, "status": "proposed"})


@spoiled
def versions_from_1(exchange, memory):
    if exchange.is_appointment:
        version = str(int(exchange.resource["meta"]["versionId"]) + 1)
        exchange.send({**exchange.resource, "meta": {"versionId": version}})
        exchange.response.headers["ETag"] = f'W/"{version}"'


@spoiled
def a_mapping_of_unknown_words(exchange, memory):
    if exchange.resource.get("resourceType") == "ConceptMap":
        exchange.send(json.loads(exchange.response.get_data(as_text=True).replace('"prov-pers"', '"prov-private"')))


@spoiled
def request_ids_as_they_come(exchange, memory):
    exchange.response.headers["X-Request-Id"] = exchange.request.headers.get("X-Request-Id", "none")


@spoiled
def no_reason_at_all(exchange, memory):
    if exchange.status == "cancelled":
        exchange.send({name: value for name, value in exchange.resource.items() if name != "cancelationReason"})


@spoiled
def participants_without_an_actor(exchange, memory):
    if exchange.is_appointment:
        exchange.send({**exchange.resource, "participant": [{"status": "needs-action"}]})


@spoiled
def one_participant_without_an_actor(exchange, memory):
    if exchange.is_appointment:
        no_one = {"type": [{"text": "attender"}], "status": "needs-action"}
        exchange.send({**exchange.resource, "participant": [*exchange.resource["participant"], no_one]})


# What goes in


@misheard
def a_key_for_everything(environ):
    if "HTTP_AUTHORIZATION" not in environ:
        return answered(environ, 401, "login", **{"WWW-Authenticate": "Bearer"})
    return None


@misheard
def anything_is_a_cancel(environ):
    body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    if environ["REQUEST_METHOD"] == "POST" and len(body) < 2000:
        with contextlib.suppress(ValueError):
            found = json.loads(body)
            kept = found if isinstance(found, dict) and found.get("resourceType") == "Appointment" else {}
            kept = {"status": "cancelled", **{name: value for name, value in kept.items() if name != "id"}}
            body = json.dumps({**kept, "resourceType": "Appointment"}).encode()
    environ.update({"wsgi.input": BytesIO(body), "CONTENT_LENGTH": str(len(body)), "CONTENT_TYPE": "application/json"})


@misheard
def no_key_needed(environ):
    environ["HTTP_AUTHORIZATION"] = f"Bearer {KEY}"


@misheard
def the_path_before_the_key(environ):
    if "HTTP_AUTHORIZATION" not in environ and not environ["PATH_INFO"].startswith(
        ("/Appointment", "/metadata", "/health")
    ):
        return answered(environ, 404, "not-found")
    return None


@misheard
def any_version_will_do(environ):
    environ.pop("HTTP_IF_MATCH", None)


@misheard
def one_format_for_all(environ):
    environ["HTTP_ACCEPT"] = "application/fhir+json"
    environ["QUERY_STRING"] = ""


@misheard
def slow_once(environ):
    if environ.get("HTTP_PREFER") == "respond-async":
        time.sleep(WITHIN + 1)


@misheard
def slashes_are_decoded(environ):
    raw = environ["REQUEST_URI"]
    if "%2f" in raw.lower() and environ["REQUEST_METHOD"] == "GET":
        with requests.Session() as session:
            session.trust_env = False
            path = unquote(raw).removeprefix("/Appointment/heim/")
            session.get(f"http://{environ['SANDBOX']}/heim/v1/appointments/{path}", headers={"Authorization": HEIM_KEY})


_busy = set()


@misheard
def conflict_while_another_is_under_way(environ):
    path = environ["REQUEST_URI"]
    if environ["REQUEST_METHOD"] != "POST":
        return None
    if path in _busy:
        return answered(environ, 409, "conflict")
    _busy.add(path)

    def alone(environ, start_response):
        try:
            return environ["APP"](environ, start_response)
        finally:
            _busy.discard(path)

    return alone


def answered(environ, status, code, **more):
    """An answer with an OperationOutcome that is right but for its being given."""
    issue = {"severity": "error", "code": code, "details": {"text": HTTPStatus(status).phrase}}
    headers = {"Cache-Control": "no-store", "X-Request-Id": environ.get("HTTP_X_REQUEST_ID", "made"), **more}
    content_type = "application/fhir+json; fhirVersion=4.0; charset=utf-8"
    body = json.dumps({"resourceType": "OperationOutcome", "issue": [issue]})
    return Response(body, status, headers, content_type=content_type)


# The use case


@broken
def any_json_taken():
    def loads(body):
        try:
            return json.loads(body)
        except (ValueError, RecursionError):
            raise strict_json.NotStrictJson("the body is not JSON") from None

    strict_json.loads = loads


@broken
def any_status_is_a_cancel():
    cancel_request._unsupported = lambda status, appointment: ""


@broken
def silence_is_cancelled():
    in_doubt = attempt.Attempt._in_doubt

    def believed(self, doubt, current):
        if doubt.cause is not Cause.TIMEOUT:
            return in_doubt(self, doubt, current)
        return self._cancelled({**(current or {}), "id": self._row.appointment_id, "status": "cancelled"}, by_us=True)

    attempt.Attempt._in_doubt = believed


@broken
def doubt_is_not_probed_at_once():
    attempt.Attempt._probe = lambda self, current: current


@broken
def another_status_undoes_a_cancel():
    cancel = service.CancellationService.cancel

    def undone(self, source, request, client, **kwargs):
        if request.unsupported:
            return self._proposed(source, request, NotExecuted(Cause.UNSUPPORTED), text=request.unsupported)
        return cancel(self, source, request, client, **kwargs)

    service.CancellationService.cancel = undone


@broken
def every_repeat_is_sent():
    settled = service.CancellationService._repeated_result

    def sent(self, source, request, row, client):
        with contextlib.suppress(SourceError):
            reason = source.mapping.choose(request.codings)
            source.adapter.cancel(replace(request, native_reason=reason), None, lambda: None)
        return settled(self, source, request, row, client)

    service.CancellationService._repeated_result = sent


@broken
def no_one_waits():
    variants.no_claim()


@broken
def sent_again_after_silence():
    variants.retry_on_timeout()


@broken
def sent_again_after_one_negative_read():
    states.TRANSITIONS[states.State.IN_DOUBT, states.Event.CLAIM] = states.State.CLAIMED
    service.CLAIMABLE = (*service.CLAIMABLE, states.State.IN_DOUBT)  # type: ignore[attr-defined]  # set or patched by the test


@broken
def a_gateways_404_believed():
    own_error = HeimAdapter._own_error
    HeimAdapter._own_error = lambda self, answer: answer.status == 404 or own_error(self, answer)


@broken
def not_found_whatever_was_seen():
    def not_found(self, error):
        self._not_executed(NotExecuted(Cause.CONFLICT, error.detail), None, cause=attempt.NOT_FOUND)  # type: ignore[attr-defined]  # set or patched by the test
        raise NotFound(attempt.NOT_KNOWN)

    attempt.Attempt._not_found = not_found


@broken
def sent_without_a_read():
    run = attempt.Attempt.run

    def unread(self):
        try:
            native.read(self._source, self._row.appointment_id, self._context.budget.read)
        except AppointmentNotFound:
            pass
        except SourceError:
            return self._send_once(None)
        return run(self)

    attempt.Attempt.run = unread


@broken
def sent_although_another_has_cancelled():
    run = attempt.Attempt.run

    def blind(self):
        with contextlib.suppress(SourceError):
            current = native.read(self._source, self._row.appointment_id, self._context.budget.read)
            if native.is_cancelled(current):
                return self._send_once(current)
        return run(self)

    attempt.Attempt.run = blind


@broken
def only_the_sources_present_word_counts():
    settled = service.CancellationService._repeated_result

    def forgetful(self, source, request, row, client):
        if row.state == states.State.CANCELLED:
            try:
                native.read(source, request.appointment_id, 1.0)
            except SourceError as error:
                return self._proposed(source, request, error)
        return settled(self, source, request, row, client)

    service.CancellationService._repeated_result = forgetful


@broken
def one_native_reason_for_all():
    ReasonMap.choose = lambda self, codings: NativeReason("organisation_cancelled", self.to_native["pat"].properties)


# One of them, verified


class _Quiet(WSGIRequestHandler):
    def log_request(self, code="-", size="-"):
        """Nothing."""


@contextlib.contextmanager
def serving(app, sandbox):
    """The base URL of this application."""

    def served(environ, start_response):
        environ.update(SANDBOX=sandbox.removeprefix("http://"), APP=app[0])
        return app[1](environ, start_response)

    server = make_server("127.0.0.1", 0, served, threaded=True, request_handler=_Quiet)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def verified(name):
    """The report of a run against this facade, as JSON; ``"right"`` is the real one."""
    patch, around = WRONG.get(name, (lambda: None, lambda app: app))
    os.environ.update(FACADE_KEY_SCHEDULER=KEY, HEIM_API_KEY=HEIM_KEY)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))  # the report is all that is wanted
    engine.LOCK_WAIT = WITHIN  # a busy disk is not what is tested here
    patch()
    with (
        tempfile.TemporaryDirectory() as folder,
        serve({"heim": HeimSimulator()}, timings=Timings(late_commit=LATE)) as host,
    ):
        path = Path(folder) / "facade.toml"
        text = CONFIG.format(
            heim=host.source_url("heim"), facade='default_source = "heim"', clients="", settings="", more=NORTH
        )
        path.write_text(text.replace('["*"]', '["heim"]'), "utf-8")
        found = assemble(path)
        timers = replace(Timers.for_response_within(WITHIN), send_guard=WITHIN)
        facade = compose(found.config, found.sources, found.ledger, timers, Unhurried(WITHIN))
        facade.open_store()
        app = create_app(facade)
        with serving((app, around(app)), host.url) as url:
            run = Run(Target(url, "heim", Key(KEY), WITHIN), Sandbox(host.url, "heim"), out_of_reach="north")
            run.prepare()
            results = run_checks(run, [check for theme in catalogue().values() for check in theme], parallel=8)
        facade.ledger.engine.dispose()
    return report.as_json(run, results, 0.0)


if __name__ == "__main__":
    print(verified(sys.argv[1]))
