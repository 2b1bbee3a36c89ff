"""One exchange with a source, over real sockets: what each fault proves, what never leaves, when it ends."""

import contextlib
import gzip
import inspect
import itertools
import json
import re
import socket
import ssl
import struct
import threading
import time
import tracemalloc
import zlib
from concurrent.futures import ThreadPoolExecutor, wait
from typing import Any
from urllib.parse import unquote

import pytest
import requests
import requests.adapters

from facade import http_client, strict_json
from facade.deadline import deadline, remaining
from facade.errors import AppointmentNotFound, Cause, NotExecuted, OutcomeUnknown, SourceError
from facade.http_client import CAUSES, MAX_BODY, HttpClient, HttpResponse, classify
from tests.support.hang_detection import give_up_once_reached
from tests.support.waiting import LIMIT, Gate, eventually, join

CANARY = "CANARY-id"
PATH = "/v1/appointments/{id}/cancel"
PAUSE = 0.05  # between dripped bytes: far less than any deadline here, as a second is less than 4

# A certificate for 127.0.0.1, signed by itself, until 2120: `openssl ca -selfsign`.
CERTIFICATE = """\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQguk2eDBd6Sk41Q/nG
vpBADsG1V6xinovGnmqNBq3oA0ShRANCAARoKMnd4Vf0BZZkeVZ8kuj8hO5rBqa4
E85X9D0f7e2WDiWIIIdxMZDxeY7/PJKGBj8C4MXzulwDQemRBpai3ENv
-----END PRIVATE KEY-----
-----BEGIN CERTIFICATE-----
MIIBezCCASKgAwIBAgIBATAKBggqhkjOPQQDAjAcMRowGAYDVQQDDBFmaGlyLWZh
Y2FkZS10ZXN0czAgFw0yMDAxMDEwMDAwMDBaGA8yMTIwMDEwMTAwMDAwMFowHDEa
MBgGA1UEAwwRZmhpci1mYWNhZGUtdGVzdHMwWTATBgcqhkjOPQIBBggqhkjOPQMB
BwNCAARoKMnd4Vf0BZZkeVZ8kuj8hO5rBqa4E85X9D0f7e2WDiWIIIdxMZDxeY7/
PJKGBj8C4MXzulwDQemRBpai3ENvo1MwUTAPBgNVHREECDAGhwR/AAABMA4GA1Ud
DwEB/wQEAwIChDAPBgNVHRMBAf8EBTADAQH/MB0GA1UdDgQWBBS187RwfAZIINn/
+xu0gVFf2QutSTAKBggqhkjOPQQDAgNHADBEAiAz+2NFSNkDe04rzptnY2jRC80O
EYt27GDJ1LEeTAq6CQIgERLHi0NFP/Lybh9yvIAP8NhE5u/6TzSM5c/pi9zMpTM=
-----END CERTIFICATE-----
"""


class Source:
    """A raw server that remembers every byte. On each connection it reads one request whole, then behaves.

    It hangs up when ``behave`` returns. ``impatient``: it behaves as soon as anything comes.
    """

    def __init__(self, *behaviours, impatient=False, tls=None):
        self._behaviours = itertools.chain(behaviours, itertools.repeat(behaviours[-1]))
        self._impatient = impatient
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.connections = []  # peer, thread, what it brought
        self.accepted = threading.Event()
        self.shaken = []  # peers whose TLS handshake is done
        self.address = self._listener.getsockname()
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.address[1]}"

    def __enter__(self):
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()
        return self

    def __exit__(self, *_):
        self._listener.shutdown(socket.SHUT_RDWR)
        join(self._accepting)
        self._listener.close()

    def heard(self):
        """What each connection brought, after the client has hung up on all of them."""
        with socket.create_connection(self.address, LIMIT) as last:  # whatever came before is accepted before
            mine = last.getsockname()
            eventually(lambda: any(peer == mine for peer, _, _ in self.connections))
        for _, thread, _ in self.connections:
            join(thread)  # it ends when the client hangs up
        return [bytes(brought) for peer, _, brought in self.connections if peer != mine]

    def _accept(self):
        with contextlib.suppress(OSError):  # shut down
            while True:
                connection, peer = self._listener.accept()
                brought = bytearray()
                thread = threading.Thread(target=self._serve, args=(connection, brought), daemon=True)
                thread.start()
                self.connections.append((peer, thread, brought))
                self.accepted.set()

    def _serve(self, connection, brought):
        with contextlib.suppress(OSError), contextlib.ExitStack() as stack:
            stack.enter_context(connection)
            connection.settimeout(LIMIT)
            if self._tls:
                connection = stack.enter_context(self._tls.wrap_socket(connection, server_side=True))
                self.shaken.append(connection.getpeername())
            if self._has_request(connection, brought):
                next(self._behaviours)(connection)

    def _has_request(self, connection, brought):
        while True:
            head, blank, body = bytes(brought).partition(b"\r\n\r\n")
            length = re.search(rb"(?i)content-length: (\d+)", head)
            if (self._impatient and brought) or (blank and len(body) >= (int(length[1]) if length else 0)):
                return True
            more = connection.recv(65536)
            if not more:
                return False
            brought += more


def answers(*parts):
    return lambda connection: connection.sendall(b"".join(parts))


def http(status="200 OK", *headers, body=b"{}"):
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    if not any(header.lower().startswith(("content-length", "transfer-encoding")) for header in headers):
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def resets(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def keeps_silent(connection):
    while connection.recv(65536):
        pass  # until the client hangs up


def stalls_after(start):
    def behave(connection):
        connection.sendall(start)
        keeps_silent(connection)

    return behave


def drips(start, end=b"\r\n\r\n", drop=b"x"):
    """``start`` at once, then a drop at a time; if no one hangs up it ends, as a complete answer."""

    def behave(connection):
        connection.sendall(start)
        for _ in range(400):
            connection.sendall(drop)
            time.sleep(PAUSE)
        connection.sendall(end)

    return behave


def floods(start, chunk):
    def behave(connection):
        connection.sendall(start)
        while True:
            connection.sendall(chunk)

    return behave


CHUNKED = "Transfer-Encoding: chunked"
GZIP = "Content-Encoding: gzip"
BOMB = gzip.compress(bytes(32 * MAX_BODY))
SPACES = b" " * 65536

# After the request has left, nothing but a complete answer proves anything.
AFTER_THE_REQUEST = {
    "a reset": (resets, Cause.CONNECTION_LOST),
    "an end without an answer": (answers(b""), Cause.CONNECTION_LOST),
    "an answer cut in its status line": (answers(b"HTTP/1.1 2"), Cause.CONNECTION_LOST),
    "an answer that is not HTTP": (answers(b"220 mail.example ESMTP\r\n"), Cause.CONNECTION_LOST),
    "a body cut short of its length": (answers(http(body=b"{}")[:-1]), Cause.CONNECTION_LOST),
    "a body cut between its chunks": (answers(http("200 OK", CHUNKED, body=b"2\r\n{}\r\n")), Cause.CONNECTION_LOST),
    "a body cut in a chunk": (answers(http("200 OK", CHUNKED, body=b"9\r\n{}")), Cause.CONNECTION_LOST),
    "a chunk without a length": (answers(http("200 OK", CHUNKED, body=b"{}\r\n0\r\n\r\n")), Cause.CONNECTION_LOST),
    "two lengths": (answers(http("200 OK", "Content-Length: 2", "Content-Length: 3")), Cause.UNREADABLE),
    "a body that is not the gzip it says": (answers(http("200 OK", GZIP)), Cause.UNREADABLE),
    "a body over 1 MiB": (answers(http(body=b" " * (MAX_BODY + 1))), Cause.UNREADABLE),
    "a small body that decodes to 32 MiB": (answers(http("200 OK", GZIP, body=BOMB)), Cause.UNREADABLE),
    "an endless body": (floods(b"HTTP/1.1 200 OK\r\n\r\n", SPACES), Cause.UNREADABLE),
    "an endless body in chunks": (
        floods(f"HTTP/1.1 200 OK\r\n{CHUNKED}\r\n\r\n".encode(), b"10000\r\n" + SPACES + b"\r\n"),
        Cause.UNREADABLE,
    ),
    "a redirect with an endless body": (floods(b"HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n", SPACES), Cause.UNREADABLE),
    "silence": (keeps_silent, Cause.TIMEOUT),
    "silence in the body": (stalls_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"), Cause.TIMEOUT),
    "a status line that drips": (drips(b"HTTP/1.1 200 "), Cause.TIMEOUT),
    "provisional answers that drip": (drips(b"", http(), b"HTTP/1.1 100 Continue\r\n\r\n"), Cause.TIMEOUT),
    "headers that drip": (drips(b"HTTP/1.1 200 OK\r\nServer: "), Cause.TIMEOUT),
    "a body that drips": (drips(b"HTTP/1.1 200 OK\r\nContent-Length: 404\r\n\r\n"), Cause.TIMEOUT),
    "a chunked body that drips": (
        drips(http("200 OK", CHUNKED, body=b"190\r\n"), b"\r\n0\r\n\r\n"),
        Cause.TIMEOUT,
    ),
}


def post(url, *, id=CANARY, permit=lambda: None, json=None, headers=None, **settings):  # noqa: A002 - as HttpClient has it
    return client(url, **settings).send(
        "POST", PATH, id=id, permit=permit, json=json or {"note": CANARY}, headers=headers
    )


def client(url, **settings):
    return HttpClient(url, **{"headers": {"Authorization": "CANARY-key"}, "connect_timeout": 5.0, **settings})


def requests_in(heard):
    """The request lines, as many as whole requests came."""
    return [line.decode() for brought in heard for line in re.findall(rb"(?m)^[A-Z]+ \S+ HTTP/1\.1\r$", brought)]


def exchanges():
    return [thread for thread in threading.enumerate() if thread.name == "exchange"]


@pytest.fixture(autouse=True)
def _every_exchange_ends():
    """Each has time enough. No thread outlives its exchange for long: those that were abandoned end too."""
    with deadline(LIMIT):
        yield
    eventually(lambda: not exchanges())


def ended_by_the_deadline(call, behave, **options):
    """What is raised when the deadline passes during an answer, and what the source heard.

    A machine that does not get the request out before the deadline is given more time.
    """
    for seconds in (0.6, 2.4, 9.6):
        with Source(behave, **options) as source:
            with deadline(seconds), pytest.raises(SourceError) as raised:
                call(source.url)
            if isinstance(raised.value, OutcomeUnknown):
                return raised.value, source.heard()
    pytest.fail(f"the request did not leave within {seconds} s: {raised.value}")


def ended(call, behave, cause):
    """What is raised when the source behaves like this, and what it heard."""
    if cause is Cause.TIMEOUT:
        return ended_by_the_deadline(call, behave)
    with Source(behave) as source:
        with pytest.raises(OutcomeUnknown) as raised:
            call(source.url)
        return raised.value, source.heard()


@pytest.fixture
def trusting(monkeypatch, tmp_path):
    """A server's TLS context, whose certificate the client trusts."""
    path = tmp_path / "certificate.pem"
    path.write_text(CERTIFICATE)
    monkeypatch.setattr(requests.adapters, "DEFAULT_CA_BUNDLE_PATH", str(path))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context


@pytest.fixture
def never():
    """A permit that must not be asked for."""
    asked = []
    yield lambda: asked.append(1)
    assert asked == []


# What each exception and each fault proves


def test_every_public_exception_of_requests_has_a_cause():
    theirs = {
        cls
        for name, cls in inspect.getmembers(requests.exceptions, inspect.isclass)
        if cls.__module__ == "requests.exceptions" and not name.startswith("_") and not issubclass(cls, Warning)
    }
    assert len(theirs) > 20
    assert theirs == CAUSES.keys()


@pytest.mark.parametrize("name", AFTER_THE_REQUEST)
def test_after_sending_no_fault_is_proof_and_no_write_repeats(name):
    behave, cause = AFTER_THE_REQUEST[name]
    error, heard = ended(post, behave, cause)
    assert error.cause is cause
    assert requests_in(heard) == [f"POST /v1/appointments/{CANARY}/cancel HTTP/1.1\r"]
    assert "CANARY" not in f"{error!r} {error.detail}"
    # requests and urllib3 write the URL into theirs: whoever logs ours with its chain must not log that.
    assert error.__cause__ is error.__context__ is None


@pytest.mark.parametrize("name", AFTER_THE_REQUEST)
def test_a_read_is_retried_once_after_a_lost_connection(name):
    behave, cause = AFTER_THE_REQUEST[name]
    error, heard = ended(lambda url: client(url).get("/{id}", id="a"), behave, cause)
    assert error.cause is cause
    assert requests_in(heard) == ["GET /a HTTP/1.1\r"] * (2 if cause is Cause.CONNECTION_LOST else 1)


@pytest.mark.parametrize("name", ["silence", "silence in the body"])
def test_the_sockets_own_timeout_is_one_wherever_it_strikes(monkeypatch, name):
    monkeypatch.setattr(http_client, "wait", lambda futures, _: wait(futures, LIMIT))
    behave, cause = AFTER_THE_REQUEST[name]
    assert ended_by_the_deadline(post, behave)[0].cause is cause


def test_a_read_succeeds_the_second_time():
    with Source(resets, answers(http(body=b"[1]"))) as source:
        assert client(source.url).get("/{id}", id="a").json() == [1]
        assert len(source.heard()) == 2


def test_a_write_that_the_source_asks_to_repeat_is_not_repeated():
    with Source(answers(http("503 Service Unavailable", "Retry-After: 0"))) as source:
        assert post(source.url).status == 503
        assert len(source.heard()) == 1


def test_an_answer_cut_inside_its_headers_is_unreadable():
    with Source(answers(b"HTTP/1.1 200 OK\r\nContent-Ty")) as source:
        answer = post(source.url)
    assert (answer.status, answer.body) == (200, b"")
    with pytest.raises(OutcomeUnknown) as raised:
        answer.json()
    assert raised.value.cause is Cause.UNREADABLE


@pytest.mark.parametrize("body", [b"", b"{", b"<html>", b'{"id": "a"', b'{"a": 1, "a": 2}', b"\xff", b"[" * 401])
def test_an_ambiguous_body_is_unknown_and_is_not_quoted(body):
    with pytest.raises(OutcomeUnknown) as raised:
        HttpResponse(200, {}, body).json()
    assert raised.value.cause is Cause.UNREADABLE


def test_an_answer_shows_neither_headers_nor_body_in_its_repr():
    assert "CANARY" not in repr(HttpResponse(200, {"X": "CANARY"}, b"CANARY"))


# Before the request has left


def test_a_name_that_does_not_resolve_is_not_executed(monkeypatch, never):
    def unknown(*_, **__):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NotExecuted) as raised:
        post("http://heim.invalid", permit=never)
    assert raised.value.cause is Cause.UNREACHABLE


def test_a_name_that_cannot_be_one_is_not_executed(never):
    with pytest.raises(NotExecuted) as raised:
        post(f"http://{'a' * 64}.invalid", permit=never)
    assert raised.value.cause is Cause.UNREACHABLE


def test_a_refused_connection_is_not_executed(never):
    with socket.socket() as bound:  # and not listening
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(NotExecuted) as raised:
            post(f"http://127.0.0.1:{bound.getsockname()[1]}", permit=never)
    assert raised.value.cause is Cause.UNREACHABLE
    assert not re.search(r"CANARY|/|\d", f"{raised.value!r}")  # neither path nor address


def test_a_connection_that_is_never_accepted_is_not_executed(never):
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as stack:
        # Linux answers no further connection once the queue is full. Elsewhere nothing is proven here.
        full = False
        for _ in range(16):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0.2)
            try:
                waiting.connect(listener.getsockname())
            except TimeoutError:
                full = True
                break
        if not full:
            pytest.skip("this system's queue of connections does not fill")
        with pytest.raises(NotExecuted) as raised:
            post(f"http://127.0.0.1:{listener.getsockname()[1]}", permit=never, connect_timeout=0.2)
    assert raised.value.cause is Cause.UNREACHABLE


@pytest.mark.parametrize(
    ("behave", "cause"),
    [
        (answers(http("400 Bad Request")), Cause.UNREACHABLE),
        (resets, Cause.UNREACHABLE),
        (answers(b""), Cause.UNREACHABLE),
        (keeps_silent, Cause.TIMEOUT),
        (stalls_after(b"\x16\x03\x03\x40\x00"), Cause.TIMEOUT),
    ],
    ids=["plain HTTP", "a reset", "an end", "silence", "silence in the handshake"],
)
def test_a_failed_tls_handshake_is_not_executed(behave, cause, never):
    with Source(behave, impatient=True) as source:
        patience = 0.5 if cause is Cause.TIMEOUT else LIMIT
        with pytest.raises(NotExecuted) as raised:
            post(source.url.replace("http:", "https:"), permit=never, connect_timeout=patience)
        assert raised.value.cause is cause
        assert all(b"POST" not in brought for brought in source.heard())


def test_an_untrusted_certificate_is_not_executed(trusting, monkeypatch, never):
    monkeypatch.undo()
    with Source(answers(http()), tls=trusting) as source:
        with pytest.raises(NotExecuted) as raised:
            post(source.url, permit=never)
        assert raised.value.cause is Cause.UNREACHABLE
        assert source.heard() == [b""]


def test_a_trusted_certificate_is_talked_to(trusting):
    with Source(answers(http(body=b"[1]")), tls=trusting) as source:
        assert post(source.url).json() == [1]
        assert len(requests_in(source.heard())) == 1


def test_an_answer_that_drips_through_tls_ends_at_the_deadline(trusting):
    error, heard = ended_by_the_deadline(post, drips(b"HTTP/1.1 200 OK\r\nServer: "), tls=trusting)
    assert error.cause is Cause.TIMEOUT
    assert len(heard) == 1


def test_an_abandoned_tls_connection_still_encrypts(trusting):
    # Another thread may be sending at that moment: what it sends must not be readable on its way out.
    ours, theirs = socket.socketpair()
    with ours, theirs, ThreadPoolExecutor(1) as pool:
        shaken = pool.submit(trusting.wrap_socket, theirs, server_side=True)
        context = ssl.create_default_context(cadata=CERTIFICATE)
        with context.wrap_socket(ours, server_hostname="127.0.0.1") as connection, shaken.result(LIMIT):
            wire = http_client._ExchangeState(None)
            wire.connected(connection)
            wire.abandon()
            assert connection.version() is not None


def test_no_time_left_is_not_executed_and_not_connected(never):
    with Source(answers(http())) as source:
        for call in (lambda: post(source.url, permit=never), lambda: client(source.url).get("/{id}", id="a")):
            with deadline(0), pytest.raises(NotExecuted) as raised:
                call()
            assert raised.value.cause is Cause.TIMEOUT
        assert source.heard() == []


@pytest.mark.parametrize(
    ("headers", "body"), [({"X": "a\r\nY: b"}, {}), ({}, {"note": float("nan")})], ids=["header", "NaN"]
)
def test_a_request_that_cannot_be_written_is_not_executed(headers, body, never):
    with Source(answers(http())) as source:
        with pytest.raises(NotExecuted) as raised:
            post(source.url, permit=never, json=body, headers=headers)
        assert raised.value.cause is Cause.INTERNAL
        assert source.heard() == []


def test_headers_of_a_read_go_with_its_retry_and_no_other():
    with Source(resets, answers(http())) as source:
        reader = client(source.url)
        reader.get(PATH, id="a", headers={"If-None-Match": "x", "Authorization": "another"})
        reader.get(PATH, id="a")
        first, second, third = source.heard()
    for heard in (first, second):
        assert b"If-None-Match: x\r\n" in heard
        assert b"Authorization: another\r\n" in heard
    assert b"If-None-Match" not in third
    assert b"Authorization: CANARY-key\r\n" in third


def test_a_form_is_sent_as_a_form():
    with Source(answers(http())) as source:
        client(source.url).send("POST", "/token", form={"scope": "a b", "key": "ü&="}, permit=lambda: None)
        (heard,) = source.heard()
    head, _, body = heard.partition(b"\r\n\r\n")
    assert b"Content-Type: application/x-www-form-urlencoded\r\n" in head
    assert body == b"scope=a+b&key=%C3%BC%26%3D"


def test_json_is_sent_as_json_unless_a_header_says_which():
    with Source(answers(http())) as source:
        post(source.url)
        post(source.url, headers={"Content-Type": "application/fhir+json"})
        client(source.url).send("POST", "/a", permit=lambda: None)
        plain, fhir, empty = source.heard()
    assert b"Content-Type: application/json\r\n" in plain
    assert fhir.count(b"Content-Type") == fhir.count(b"Content-Type: application/fhir+json\r\n") == 1
    assert b"Content-Type" not in empty
    assert b"Content-Length: 0\r\n" in empty


@pytest.mark.parametrize(
    "number", ["1.10", "0.0000001", "1E+2", "-0.0", "12345678901234567890.5", "1e999999999", "-0", "1" * 80]
)
def test_an_exactly_read_number_is_written_back_exactly(number):
    with Source(answers(http(body=b'{"n": [%s, "1.10", true, null]}' % number.encode()))) as source:
        sent_back = client(source.url).get(PATH, id="a").json(exact=True)
        post(source.url, json=sent_back)
        _, heard = source.heard()
    assert heard.endswith(b'{"n": [%s, "1.10", true, null]}' % number.encode())


@pytest.mark.parametrize("text", [r'"\ufdd0number:5"', '"number-5"'])
def test_text_like_a_marked_number_is_written_back_as_text(text):
    assert strict_json.dumps(strict_json.loads_native(text.encode(), exact=True)) == text


@pytest.mark.parametrize("constant", ["NaN", "Infinity", "-Infinity"])
def test_what_is_not_json_is_null_or_unreadable(constant):
    answer = HttpResponse(200, {}, b'{"n": %s}' % constant.encode())
    assert answer.json() == {"n": None}
    with pytest.raises(OutcomeUnknown, match="NaN and infinities") as raised:
        answer.json(exact=True)
    assert raised.value.cause is Cause.UNREADABLE


# The permit


def test_the_permit_is_taken_once_before_the_first_byte():
    taken = []

    def permit():
        eventually(source.accepted.is_set)
        taken.append([bytes(brought) for _, _, brought in source.connections])

    with Source(answers(http())) as source:
        assert post(source.url, permit=permit).status == 200
        assert len(requests_in(source.heard())) == 1
    assert taken == [[b""]]


def test_the_permit_is_taken_after_the_tls_handshake(trusting):
    with Source(answers(http()), tls=trusting) as source:
        # The server's half of it ends with the client's last message, so it would never come true before.
        assert post(source.url, permit=lambda: eventually(lambda: source.shaken)).status == 200


@pytest.mark.parametrize(
    "error", [NotExecuted(Cause.INTERNAL), OutcomeUnknown(Cause.INTERNAL), ZeroDivisionError(), KeyError()]
)
def test_an_error_of_the_permit_is_raised_and_nothing_is_sent(error):
    assert raised_through(error) is error


@pytest.mark.parametrize("error", [OSError(28, "full"), BrokenPipeError(), ConnectionResetError(), TimeoutError()])
def test_a_permit_that_fails_like_a_network_is_distinguished(error):
    assert raised_through(error) is error


def raised_through(error):
    def permit():
        raise error

    with Source(answers(http())) as source:
        with pytest.raises(type(error)) as raised:
            post(source.url, permit=permit)
        assert source.heard() == [b""]
    return raised.value


def test_a_permit_sees_the_ambient_deadline():
    left = []
    with Source(answers(http())) as source, deadline(7):
        post(source.url, permit=lambda: left.append(remaining()))
    assert 0 < left[0] <= 7


# The deadline, before the first byte


def test_a_deadline_during_the_permit_sends_nothing_ever(monkeypatch):
    taken = threading.Event()

    def permit():
        gate.wait()
        taken.set()

    with Source(answers(http())) as source, Gate() as gate:
        give_up_once_reached(monkeypatch, gate)
        with pytest.raises(NotExecuted) as raised:
            post(source.url, permit=permit)
        assert raised.value.cause is Cause.TIMEOUT
        assert not taken.is_set()
        gate.open()
        eventually(lambda: not exchanges())
        assert taken.is_set()
        assert source.heard() == [b""]


def test_a_deadline_during_name_resolution_sends_nothing_ever(monkeypatch, never):
    resolve = socket.getaddrinfo

    def slow(*arguments, **options):
        gate.wait()
        return resolve(*arguments, **options)

    with Source(answers(http())) as source, Gate() as gate:
        with monkeypatch.context() as patched:
            patched.setattr(socket, "getaddrinfo", slow)
            give_up_once_reached(patched, gate)
            for call in (lambda: post(source.url, permit=never), lambda: client(source.url).get("/{id}", id="a")):
                with pytest.raises(NotExecuted) as raised:
                    call()
                assert raised.value.cause is Cause.TIMEOUT
            gate.open()
            eventually(lambda: not exchanges())
        assert source.heard() == [b"", b""]  # it connects, finds the time over, hangs up


def test_the_default_deadline_ends_a_call_for_good(monkeypatch, never):
    resolve = socket.getaddrinfo

    def slow(*arguments, **options):
        gate.wait()
        return resolve(*arguments, **options)

    with Source(answers(http())) as source, Gate() as gate:
        with monkeypatch.context() as patched:
            patched.setattr(http_client, "remaining", lambda: 0.2)  # what it is when no deadline was set
            patched.setattr(socket, "getaddrinfo", slow)
            with pytest.raises(NotExecuted):
                post(source.url, permit=never)
            gate.open()
            eventually(lambda: not exchanges())
        assert source.heard() == [b""]


def test_a_thread_that_wakes_early_sees_that_time_is_over(monkeypatch):
    # What a process that was frozen does: the one that waits for the deadline has not noticed it yet.
    monkeypatch.setattr(http_client, "wait", lambda futures, _: wait(futures, LIMIT))

    def permit():
        eventually(lambda: not remaining())

    with Source(answers(http())) as source:
        with deadline(0.3), pytest.raises(NotExecuted) as raised:
            post(source.url, permit=permit)
        assert raised.value.cause is Cause.TIMEOUT
        assert not any(source.heard())


# Concurrent calls


def test_one_call_too_many_is_refused_and_slots_are_freed():
    inside = threading.Semaphore(0)

    def permit():
        inside.release()
        gate.wait()

    with Source(answers(http())) as source, ThreadPoolExecutor(2) as pool, Gate() as gate:
        http_source = client(source.url, max_concurrent=2)

        def send():
            with deadline(LIMIT):  # a thread begins without one
                return http_source.send("POST", PATH, permit=permit, id="a", json={})

        both = [pool.submit(send) for _ in range(2)]
        assert inside.acquire(timeout=LIMIT)
        assert inside.acquire(timeout=LIMIT)
        for call in (send, lambda: http_source.get("/{id}", id="a")):
            with pytest.raises(NotExecuted) as raised:
                call()
            assert raised.value.cause is Cause.THROTTLED
        gate.open()
        assert [future.result(LIMIT).status for future in both] == [200, 200]
        assert http_source.get("/{id}", id="a").status == 200
        assert sorted(line[:4] for line in requests_in(source.heard())) == ["GET ", "POST", "POST"]


def test_a_slot_is_free_once_the_request_has_ended():
    with Source(answers(http())) as source:
        http_source = client(source.url, max_concurrent=1)
        assert [http_source.get("/{id}", id="a").status for _ in range(20)] == [200] * 20


def test_an_abandoned_call_keeps_its_slot_until_it_ends():
    with Source(keeps_silent, answers(http())) as source:
        http_source = client(source.url, max_concurrent=1)
        with deadline(0.5), pytest.raises(SourceError):
            http_source.get("/{id}", id="a")
        eventually(lambda: not exchanges())
        assert http_source.get("/{id}", id="a").status == 200


def test_what_is_abandoned_hangs_up():
    over, hung_up = threading.Event(), threading.Event()

    def drips_until_the_client_leaves(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\nServer: ")
        try:
            while not over.wait(PAUSE):
                connection.sendall(b"x")
        except OSError:
            hung_up.set()

    with Source(drips_until_the_client_leaves) as source:
        try:
            for seconds in (0.5, 2.0, 8.0):  # more for a machine that does not get the request out in time
                with deadline(seconds), pytest.raises(SourceError) as raised:
                    post(source.url)
                if isinstance(raised.value, OutcomeUnknown):
                    break
            eventually(hung_up.is_set)
        finally:
            over.set()


def test_a_process_out_of_threads_refuses_and_loses_no_slot(monkeypatch, never):
    def start(_):
        raise RuntimeError("can't start new thread")

    with Source(answers(http())) as source:
        http_source = client(source.url, max_concurrent=1)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", start)
            with pytest.raises(NotExecuted) as raised:
                http_source.send("POST", PATH, permit=never, id="a", json={})
        assert raised.value.cause is Cause.THROTTLED
        assert http_source.get("/{id}", id="a").status == 200


# What is sent, and to whom


def test_a_write_is_json_with_the_clients_headers_and_its_own():
    with Source(answers(http())) as source:
        url = f"{source.url}/base/"
        post(url, json={"note": "ü"}, headers={"If-Match": 'W/"1"', "Content-Type": "application/json-patch+json"})
        head, _, body = source.heard()[0].partition(b"\r\n\r\n")
    line, *headers = head.decode().split("\r\n")
    assert line == f"POST /base/v1/appointments/{CANARY}/cancel HTTP/1.1"
    assert json.loads(body) == {"note": "ü"}
    assert sorted(headers) == [
        "Accept-Encoding: identity",
        "Accept: application/json",
        "Authorization: CANARY-key",
        "Connection: close",
        f"Content-Length: {len(body)}",
        "Content-Type: application/json-patch+json",
        f"Host: 127.0.0.1:{source.address[1]}",
        'If-Match: W/"1"',
        "User-Agent: fhir-facade",
    ]


def test_a_read_has_no_body():
    with Source(answers(http())) as source:
        client(source.url).get("/{id}", id="a")
        head, _, body = source.heard()[0].partition(b"\r\n\r\n")
    assert body == b""
    assert b"Content-" not in head


@pytest.mark.parametrize("id_", ["", ".", "..", "/", "a/b", "../a", "a/..", "\\", "a\\b", "..\\a", "\ud800", "a\udcff"])
def test_an_id_that_is_no_path_segment_sends_no_byte(id_, never):
    with Source(answers(http())) as source:
        for call in (lambda: post(source.url, id=id_, permit=never), lambda: client(source.url).get("/{id}", id=id_)):
            with pytest.raises(NotExecuted) as raised:
                call()
            assert raised.value.cause is Cause.INTERNAL
        assert source.heard() == []


HARMLESS = "... .a ~ %2e%2e %2E a%2Fb % a?b a#b a;b a:b a&b=c + {id} {0} ü 🙂 @ http: * '\"<>`|^".split()


@pytest.mark.parametrize("id_", [*HARMLESS, "a b", "a\r\nX: y", "a\x00b"])
def test_any_other_id_arrives_as_exactly_one_segment(id_):
    with Source(answers(http())) as source:
        post(f"{source.url}/base", id=id_)
        line = requests_in(source.heard())[0]
    before, after = "POST /base/v1/appointments/", "/cancel HTTP/1.1\r"
    assert line.startswith(before)
    assert line.endswith(after)
    segment = line.removeprefix(before).removesuffix(after)
    assert "/" not in segment
    assert unquote(segment) == id_


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_not_followed_and_is_unknown(status):
    with Source(answers(http())) as other, Source(answers(http(status, f"Location: {other.url}/x"))) as source:
        for answer in (post(source.url), client(source.url).get("/{id}", id="a")):
            assert answer.status == int(status[:3])
            with pytest.raises(OutcomeUnknown):
                classify(answer, own_error=lambda _: True)
        assert len(source.heard()) == 2
        assert other.heard() == []


def test_a_redirect_to_nonsense_is_an_answer_like_any_other():
    with Source(answers(http("302 Found", "Location: http://[/\xff"))) as source:
        assert post(source.url).status == 302


@pytest.mark.parametrize("upper", [True, False])
def test_proxies_of_the_environment_are_ignored(monkeypatch, upper):
    with Source(answers(http("502 Proxy"))) as proxy, Source(answers(http())) as source:
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name if upper else name.lower(), proxy.url)
        for name in ("NO_PROXY", "no_proxy"):
            monkeypatch.delenv(name, raising=False)
        assert post(source.url).status == 200
        assert client(source.url).get("/{id}", id="a").status == 200
        assert proxy.heard() == []


def test_netrc_is_ignored(monkeypatch, tmp_path):
    for name in (".netrc", "_netrc"):
        (tmp_path / name).write_text("machine 127.0.0.1 login CANARY-login password CANARY-password\n")
        (tmp_path / name).chmod(0o600)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("NETRC", str(tmp_path / ".netrc"))
    with Source(answers(http())) as source:
        HttpClient(source.url).get("/{id}", id="a")
        post(source.url)
        without, own = source.heard()
    assert b"Authorization" not in without
    assert b"Authorization: CANARY-key\r\n" in own


def test_a_cookie_is_not_kept():
    with Source(answers(http("200 OK", "Set-Cookie: session=1; Path=/"))) as source:
        http_source = client(source.url)
        http_source.get("/{id}", id="a")
        http_source.get("/{id}", id="a")
        assert all(b"Cookie" not in brought for brought in source.heard())


# What is read


@pytest.mark.parametrize("encode", [bytes, gzip.compress, zlib.compress], ids=["as it is", "gzip", "deflate"])
def test_a_body_of_1_mib_after_decoding_is_read(encode):
    named: dict[Any, list[str]] = {
        gzip.compress: ["Content-Encoding: gzip"],
        zlib.compress: ["Content-Encoding: deflate"],
    }
    with Source(answers(http("200 OK", *named.get(encode, []), body=encode(b" " * MAX_BODY)))) as source:
        assert client(source.url).get("/{id}", id="a").body == b" " * MAX_BODY


def test_a_bomb_inside_a_bomb_takes_little_memory():
    bomb = gzip.compress(gzip.compress(bytes(128 * MAX_BODY), 1), 9)
    with Source(answers(http("200 OK", "Content-Encoding: gzip, gzip", body=bomb))) as source:
        tracemalloc.start()
        try:
            with pytest.raises(OutcomeUnknown) as raised:
                post(source.url)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
    assert raised.value.cause is Cause.UNREADABLE
    assert peak < 16 * MAX_BODY


def test_headers_are_found_in_any_case():
    with Source(answers(http("200 OK", "X-RateLimit-Reset: 7"))) as source:
        assert client(source.url).get("/{id}", id="a").headers["x-ratelimit-reset"] == "7"


# What a complete answer proves

UNCLEAR = {
    100: Cause.UNREADABLE,
    202: Cause.UNPROVEN,
    203: Cause.UNREADABLE,
    206: Cause.UNREADABLE,
    300: Cause.UNREADABLE,
    302: Cause.UNREADABLE,
    304: Cause.UNREADABLE,
    400: Cause.UNREADABLE,
    401: Cause.CREDENTIALS,
    402: Cause.UNREADABLE,
    403: Cause.CREDENTIALS,
    404: Cause.UNREADABLE,
    405: Cause.UNREADABLE,
    408: Cause.TIMEOUT,
    409: Cause.CONFLICT,
    410: Cause.UNREADABLE,
    412: Cause.CONFLICT,
    422: Cause.UNREADABLE,
    423: Cause.CONFLICT,
    424: Cause.UNREADABLE,
    429: Cause.THROTTLED,
    500: Cause.SERVER_ERROR,
    501: Cause.SERVER_ERROR,
    502: Cause.SERVER_ERROR,
    503: Cause.SERVER_ERROR,
    504: Cause.TIMEOUT,
    599: Cause.SERVER_ERROR,
}
OWN_REFUSALS = {
    400: (NotExecuted, Cause.REFUSED),
    401: (NotExecuted, Cause.CREDENTIALS),
    403: (NotExecuted, Cause.CREDENTIALS),
    404: (AppointmentNotFound, Cause.REFUSED),
    422: (NotExecuted, Cause.REFUSED),
}


def classified(status, *, own, **options):
    answer = HttpResponse(status, {}, b"CANARY")
    with pytest.raises(SourceError) as raised:
        classify(answer, own_error=lambda given: given is answer and own, **options)
    assert str(status) in raised.value.detail
    assert "CANARY" not in raised.value.detail
    return type(raised.value), raised.value.cause


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("status", [200, 201, 204])
def test_a_plain_success_is_passed_on(status, own):
    answer = HttpResponse(status, {}, b"")
    assert classify(answer, own_error=lambda _: own) is answer


@pytest.mark.parametrize("status", UNCLEAR)
def test_any_other_status_in_a_strangers_shape_is_unknown(status):
    assert classified(status, own=False) == (OutcomeUnknown, UNCLEAR[status])
    assert classified(status, own=False, throttles_before_execution=True) == (OutcomeUnknown, UNCLEAR[status])


@pytest.mark.parametrize("status", UNCLEAR)
def test_the_error_shape_proves_a_refusal_for_five_statuses(status):
    assert classified(status, own=True) == OWN_REFUSALS.get(status, (OutcomeUnknown, UNCLEAR[status]))


def test_a_documented_429_in_the_error_shape_is_a_refusal():
    assert classified(429, own=True, throttles_before_execution=True) == (NotExecuted, Cause.THROTTLED)
