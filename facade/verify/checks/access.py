"""Checks of who may ask, and for what: keys, sources, ids, methods, in the order of docs/reference/errors.md."""

import secrets
from typing import Any

from facade.verify import r4
from facade.verify.check import Findings, Skipped, check, differs
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL

_NOWHERE = f"nowhere{secrets.token_hex(4)}"


def _refused_keys(run: Run) -> list[WireResponse]:
    """The answers to a good cancel without a key, with a wrong one, and in another scheme."""
    if not run.facade.key:
        raise Skipped("FACADE_CLIENT_KEY is not set, so the facade is asked without a key")

    def make() -> list[WireResponse]:
        appointment_id = run.sandbox.fresh()
        wrong = f"verify-{secrets.token_hex(16)}"
        answers = [run.facade.cancel(appointment_id, anonymous=True)]
        answers += [run.facade.cancel(appointment_id, authorization=a) for a in (f"Bearer {wrong}", f"Basic {wrong}")]
        run.once("refused appointment", lambda: appointment_id)
        return answers

    return run.once("refused keys", make)


@check("A client without a known key gets 401, and nothing is sent to the source.")
def authentication_is_required(run: Run) -> Findings:
    """Question 1 of docs/reference/errors.md, *Which status*."""
    for answer, what in zip(_refused_keys(run), ("no key", "a wrong key", "a wrong scheme"), strict=True):
        yield from differs(f"{answer.request} with {what}", 401, answer.status)
    appointment_id = run.once("refused appointment", str)
    yield from differs("native requests without a known key", 0, len(run.sandbox.log(appointment_id)))


@check("Every 401 carries WWW-Authenticate.")
def authentication_challenges(run: Run) -> Findings:
    """RFC 9110, 11.6.1."""
    for answer in _refused_keys(run):
        if answer.status == 401 and not answer.headers.get("WWW-Authenticate"):
            yield f"{answer.request}: expected a WWW-Authenticate header beside 401, saw none"


@check("401 comes before anything that depends on the path, the method or the body.")
def authentication_comes_first(run: Run) -> Findings:
    """A client without a key learns nothing."""
    _refused_keys(run)
    good = run.facade.path("1")
    for method, path, body in (
        ("POST", f"/Appointment/{_NOWHERE}/1", b"{"),
        ("GET", f"/{_NOWHERE}", None),
        ("DELETE", good, None),
        ("POST", f"{good}%2F1", b"{}"),
    ):
        answer = run.facade.request(method, path, body=body, anonymous=True)
        yield from differs(f"{method} {path} without a key", 401, answer.status)


@check("An unknown source system is 404.")
def unknown_source(run: Run) -> Findings:
    """Question 2 of docs/reference/errors.md, *Which status*."""
    path = run.facade.path("1", source=_NOWHERE)
    for answer in (run.facade.request("POST", path, body=CANCEL), run.facade.request("GET", path)):
        yield from differs(answer.request, 404, answer.status)


@check("A source out of the client's reach is 404 in the same bytes as an unknown one, whatever the method.")
def source_out_of_reach(run: Run) -> Findings:
    """No client can find out which sources there are."""
    if run.out_of_reach is None:
        raise Skipped("no such source was named with --out-of-reach")
    for method, body in (("POST", CANCEL), ("GET", None), ("DELETE", None)):
        seen, unknown = (
            run.facade.request(method, run.facade.path("1", source=source), body=body)
            for source in (run.out_of_reach, _NOWHERE)
        )
        yield from differs(seen.request, 404, seen.status)
        if seen.status == unknown.status == 404 and seen.body != unknown.body:
            yield f"{seen.request}: expected the bytes that an unknown source gets, saw others"


@check("An appointment that the source definitely does not know is 404, also when asked again.")
def unknown_appointment(run: Run) -> Findings:
    """The source's own not-found, of an appointment that was never seen before."""
    appointment_id = run.sandbox.fresh()
    run.sandbox.remove(appointment_id)
    answers = [run.facade.cancel(appointment_id), run.facade.cancel(appointment_id)]
    if run.sandbox.readable:
        answers.append(run.facade.read(appointment_id))
    for answer in answers:
        yield from differs(answer.request, 404, answer.status)
    if run.sandbox.readable:  # of any other source only a cancel can find out
        yield from differs("native cancels of an appointment that no one knows", 0, run.sandbox.cancels(appointment_id))


def _other_methods(run: Run) -> list[WireResponse]:
    def make() -> list[WireResponse]:
        path = run.facade.path(run.cancelled()[0])
        return [run.facade.request(method, path) for method in ("DELETE", "PUT", "PATCH")]

    return run.once("other methods", make)


@check("Another method is 405.")
def other_methods(run: Run) -> Findings:
    """Question 4 of docs/reference/errors.md, *Which status*."""
    for answer in _other_methods(run):
        yield from differs(answer.request, 405, answer.status)


@check("Every 405 names the right methods in Allow.")
def other_methods_are_told_which(run: Run) -> Findings:
    """RFC 9110, 15.5.6."""
    for answer in _other_methods(run):
        allowed = {name.strip() for name in answer.headers.get("Allow", "").split(",")}
        if answer.status == 405 and "POST" not in allowed:
            yield f"{answer.request}: expected Allow to name POST, saw {answer.headers.get('Allow')}"


@check("The source system is looked at before the method and the body: 404 for an unknown one.")
def source_comes_before_the_body(run: Run) -> Findings:
    """Question 2 before question 4 of docs/reference/errors.md, *Which status*."""
    path = run.facade.path("1", source=_NOWHERE)
    for answer in (run.facade.request("POST", path, body=b"{"), run.facade.request("DELETE", path)):
        yield from differs(f"{answer.request} of an unknown source, itself wrong", 404, answer.status)


@check("The body is looked at before the appointment: 400 for a malformed one, whatever the id.")
def body_comes_before_the_appointment(run: Run) -> Findings:
    """Question 4 before questions 5 and 7 of docs/reference/errors.md, *Which status*."""
    appointment_id = run.sandbox.fresh()
    run.sandbox.remove(appointment_id)
    for raw_id in (appointment_id, "_" * 25):
        answer = run.facade.cancel(raw_id, b"{")
        yield from differs(f"{answer.request} with a malformed body", 400, answer.status)
    yield from differs("native requests for a malformed body", 0, len(run.sandbox.log(appointment_id)))


@check("/metadata needs no key; it is a valid CapabilityStatement for 4.0.1 that names software and security.")
def metadata(run: Run) -> Findings:
    """And describes the cancel in its documentation."""
    answer = run.facade.request("GET", "/metadata", anonymous=True)
    yield from differs(answer.request, 200, answer.status)
    if answer.status != 200:
        return
    statement: Any = answer.resource
    yield from differs("resourceType of /metadata", "CapabilityStatement", statement.get("resourceType"))
    yield from differs("fhirVersion of /metadata", "4.0.1", statement.get("fhirVersion"))
    if wrong := r4.problems(statement):
        yield f"/metadata: expected a valid CapabilityStatement, saw what is wrong at {', '.join(wrong)}"
    rest: Any = next(iter(statement.get("rest", [])), {})
    if not statement.get("software", {}).get("name"):
        yield "/metadata: expected software.name, saw none"
    if not rest.get("security"):
        yield "/metadata: expected rest.security, saw none"
    appointment: Any = next((r for r in rest.get("resource", []) if r.get("type") == "Appointment"), {})
    if "cancel" not in appointment.get("documentation", "").lower():
        yield "/metadata: expected the Appointment's documentation to describe the cancel, saw that it does not"


@check("/health/live and /health/ready need no key.")
def health(run: Run) -> Findings:
    """They stand beside the base URL's path, not under it."""
    scheme, _, rest = run.facade.url.partition("://")
    root = f"{scheme}://{rest.partition('/')[0]}"
    for probe in ("live", "ready"):
        answer = run.facade.request("GET", f"/health/{probe}", anonymous=True, base_url=root)
        if answer.status == 404:
            raise Skipped(f"{root}/health/{probe} is not routed to the facade")
        yield from differs(answer.request, 200, answer.status)
