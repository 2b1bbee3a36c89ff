"""Checks of authentication and access: keys, sources, ids, methods, in the order of docs/reference/errors.md."""

import secrets
from typing import Any

from facade.verify import r4
from facade.verify.check import Findings, Skipped, check, expect_equal
from facade.verify.http import WireResponse
from facade.verify.runner import Run
from facade.verify.target import CANCEL

_NOWHERE = f"nowhere{secrets.token_hex(4)}"


def _refused_keys(run: Run) -> list[WireResponse]:
    """Return the responses to a valid cancel without a key, with a wrong key, and with another scheme."""
    if not run.facade.key:
        raise Skipped("FACADE_CLIENT_KEY is not set, so no request has a key")

    def make() -> list[WireResponse]:
        appointment_id = run.sandbox.create()
        wrong = f"verify-{secrets.token_hex(16)}"
        responses = [run.facade.cancel(appointment_id, anonymous=True)]
        responses += [run.facade.cancel(appointment_id, authorization=a) for a in (f"Bearer {wrong}", f"Basic {wrong}")]
        run.once("refused appointment", lambda: appointment_id)
        return responses

    return run.once("refused keys", make)


@check("A client without a known key gets 401, and nothing is sent to the source.")
def authentication_is_required(run: Run) -> Findings:
    """Question 1 of docs/reference/errors.md, *Which status*."""
    for response, what in zip(_refused_keys(run), ("no key", "a wrong key", "a wrong scheme"), strict=True):
        yield from expect_equal(f"{response.request} with {what}", 401, response.status)
    appointment_id = run.once("refused appointment", str)
    yield from expect_equal("native requests without a known key", 0, len(run.sandbox.log(appointment_id)))


@check("Every 401 carries WWW-Authenticate.")
def authentication_challenges(run: Run) -> Findings:
    """RFC 9110, 11.6.1."""
    for response in _refused_keys(run):
        if response.status == 401 and not response.headers.get("WWW-Authenticate"):
            yield f"{response.request}: expected a WWW-Authenticate header beside 401, saw none"


@check("401 comes before anything that depends on the path, the method or the body.")
def authentication_comes_first(run: Run) -> Findings:
    """A client without a key gets no information."""
    _refused_keys(run)
    good = run.facade.path("1")
    for method, path, body in (
        ("POST", f"/Appointment/{_NOWHERE}/1", b"{"),
        ("GET", f"/{_NOWHERE}", None),
        ("DELETE", good, None),
        ("POST", f"{good}%2F1", b"{}"),
    ):
        response = run.facade.request(method, path, body=body, anonymous=True)
        yield from expect_equal(f"{method} {path} without a key", 401, response.status)


@check("An unknown source system is 404.")
def unknown_source(run: Run) -> Findings:
    """Question 2 of docs/reference/errors.md, *Which status*."""
    path = run.facade.path("1", source=_NOWHERE)
    for response in (run.facade.request("POST", path, body=CANCEL), run.facade.request("GET", path)):
        yield from expect_equal(response.request, 404, response.status)


@check("A source out of the client's reach is 404 in the same bytes as an unknown one, whatever the method.")
def source_out_of_reach(run: Run) -> Findings:
    """A client must not find out which sources exist."""
    if run.out_of_reach is None:
        raise Skipped("no such source was named with --out-of-reach")
    for method, body in (("POST", CANCEL), ("GET", None), ("DELETE", None)):
        seen, unknown = (
            run.facade.request(method, run.facade.path("1", source=source), body=body)
            for source in (run.out_of_reach, _NOWHERE)
        )
        yield from expect_equal(seen.request, 404, seen.status)
        if seen.status == unknown.status == 404 and seen.body != unknown.body:
            yield f"{seen.request}: expected the bytes that an unknown source gets, saw others"


@check("An appointment of which the source itself reports that it does not exist is 404, also for a repeat.")
def unknown_appointment(run: Run) -> Findings:
    """The source's own not-found, for an appointment that the facade has not read before."""
    appointment_id = run.sandbox.create()
    run.sandbox.remove(appointment_id)
    responses = [run.facade.cancel(appointment_id), run.facade.cancel(appointment_id)]
    if run.sandbox.readable:
        responses.append(run.facade.read(appointment_id))
    for response in responses:
        yield from expect_equal(response.request, 404, response.status)
    if run.sandbox.readable:  # without reads, only a cancel can find out
        count = run.sandbox.cancels(appointment_id)
        yield from expect_equal("native cancels of an unknown appointment", 0, count)


def _other_methods(run: Run) -> list[WireResponse]:
    def make() -> list[WireResponse]:
        path = run.facade.path(run.cancelled()[0])
        return [run.facade.request(method, path) for method in ("DELETE", "PUT", "PATCH")]

    return run.once("other methods", make)


@check("Another method is 405.")
def other_methods(run: Run) -> Findings:
    """Question 4 of docs/reference/errors.md, *Which status*."""
    for response in _other_methods(run):
        yield from expect_equal(response.request, 405, response.status)


@check("Every 405 names the right methods in Allow.")
def other_methods_get_allow(run: Run) -> Findings:
    """RFC 9110, 15.5.6."""
    for response in _other_methods(run):
        allowed = {name.strip() for name in response.headers.get("Allow", "").split(",")}
        if response.status == 405 and "POST" not in allowed:
            yield f"{response.request}: expected Allow to name POST, saw {response.headers.get('Allow')}"


@check("The source system is checked before the method and the body: 404 for an unknown one.")
def source_comes_before_the_body(run: Run) -> Findings:
    """Question 2 before question 4 of docs/reference/errors.md, *Which status*."""
    path = run.facade.path("1", source=_NOWHERE)
    for response in (run.facade.request("POST", path, body=b"{"), run.facade.request("DELETE", path)):
        yield from expect_equal(f"{response.request} of an unknown source, and invalid", 404, response.status)


@check("The body is checked before the appointment: 400 for a malformed body, whatever the id.")
def body_comes_before_the_appointment(run: Run) -> Findings:
    """Question 4 before questions 5 and 7 of docs/reference/errors.md, *Which status*."""
    appointment_id = run.sandbox.create()
    run.sandbox.remove(appointment_id)
    for raw_id in (appointment_id, "_" * 25):
        response = run.facade.cancel(raw_id, b"{")
        yield from expect_equal(f"{response.request} with a malformed body", 400, response.status)
    yield from expect_equal("native requests for a malformed body", 0, len(run.sandbox.log(appointment_id)))


@check("/metadata needs no key; it is a valid CapabilityStatement for 4.0.1 that names software and security.")
def metadata(run: Run) -> Findings:
    """Its documentation describes the cancel."""
    response = run.facade.request("GET", "/metadata", anonymous=True)
    yield from expect_equal(response.request, 200, response.status)
    if response.status != 200:
        return
    statement: Any = response.resource
    yield from expect_equal("resourceType of /metadata", "CapabilityStatement", statement.get("resourceType"))
    yield from expect_equal("fhirVersion of /metadata", "4.0.1", statement.get("fhirVersion"))
    if wrong := r4.problems(statement):
        yield f"/metadata: expected a valid CapabilityStatement, saw errors at {', '.join(wrong)}"
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
    """They are at the root of the server, not below the base URL's path."""
    scheme, _, rest = run.facade.url.partition("://")
    root = f"{scheme}://{rest.partition('/')[0]}"
    for probe in ("live", "ready"):
        response = run.facade.request("GET", f"/health/{probe}", anonymous=True, base_url=root)
        if response.status == 404:
            raise Skipped(f"{root}/health/{probe} is not routed to the facade")
        yield from expect_equal(response.request, 200, response.status)
