"""Clients that send or take slowly, by the dozen: others are served, and the slow ones are closed in the time set."""

import contextlib
import json
import select
import socket
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from facade_heim.simulator import HeimSimulator

from facade.server import framing
from facade.testing.simulator.host import serve
from tests.integration.test_webhooks import signed
from tests.support import process
from tests.support.process import configuration, eventually
from tests.support.slow_clients import CANCEL, KINDS, READ, connect, is_open, slow_clients, until_closed

THREADS = 32
MORE_THAN_THREADS = 40
LONG = "head_within = 60.0\nbody_within = 60.0\nsend_within = 60.0\n"
SHORT = "head_within = 1.0\nbody_within = 1.0\nsend_within = 1.0\n"


@pytest.fixture(scope="module")
def source():
    with serve({"heim": HeimSimulator()}) as host:
        yield host


@pytest.fixture(scope="module")
def patient(source, tmp_path_factory):
    """A facade that gives clients a minute."""
    folder = tmp_path_factory.mktemp("patient")
    path = configuration(folder, source.source_url("heim"), facade=LONG)
    text = path.read_text("utf-8").replace(
        "max_concurrent = 64", 'max_concurrent = 64\nwebhook_secret_env = "HEIM_API_KEY"'
    )
    path.write_text(text, "utf-8")
    with process.facade(path) as found:
        yield found


@pytest.fixture(scope="module")
def hasty(source, tmp_path_factory):
    """A facade that gives clients a second."""
    path = configuration(tmp_path_factory.mktemp("hasty"), source.source_url("heim"), facade=SHORT)
    with process.facade(path) as found:
        yield found


def answers(data):
    """Status and body of each answer in what came."""
    found = []
    while data:
        head, _, rest = data.partition(b"\r\n\r\n")
        lines = head.decode().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
        length = int(headers.get("content-length", 0))
        found.append((int(lines[0].split()[1]), headers, rest[:length]))
        data = rest[length:]
    return found


def post(path, *, headers=(), body=CANCEL, length=None):
    lines = [f"POST {path} HTTP/1.1", "Host: 127.0.0.1", f"Content-Length: {len(body) if length is None else length}"]
    lines += [f"{name}: {value}" for name, value in dict(headers).items()]
    return "\r\n".join([*lines, "", ""]).encode() + body


KEYED = {"Authorization": f"Bearer {process.KEY}", "Content-Type": "application/fhir+json"}


# Others are served


@pytest.mark.parametrize("kind", KINDS)
def test_slow_clients_hold_no_thread(patient, kind):
    with slow_clients(patient.address, KINDS[kind], MORE_THAN_THREADS):
        # With a thread for each of them, this would wait for a minute.
        assert patient.call("POST", "/Appointment/heim/apt_2", data=CANCEL).json()["status"] == "cancelled"
        assert patient.call("GET", "/health/live").status_code == 200


# The slow ones are closed


@pytest.mark.parametrize("kind", ["nothing at all", "half the headers"])
def test_headers_that_do_not_come_in_time_end_the_connection(hasty, kind):
    with connect(hasty.address, KINDS[kind]) as connection:
        assert until_closed(connection) == b""


@pytest.mark.parametrize("kind", ["half a body", "half a chunk"])
def test_a_body_that_does_not_come_in_time_is_408(hasty, kind):
    with connect(hasty.address, KINDS[kind]) as connection:
        ((status, headers, body),) = answers(until_closed(connection))
    assert status == 408
    assert headers["connection"] == "close"
    assert headers["x-request-id"] in hasty.log()
    outcome = json.loads(body)
    assert (outcome["resourceType"], outcome["issue"][0]["code"]) == ("OperationOutcome", "timeout")


@pytest.mark.parametrize("begins", ["half the headers", "half a body", "half a chunk"])
def test_one_byte_at_a_time_does_not_gain_time(hasty, begins):
    ended = threading.Event()

    def drip(connection):
        while not ended.wait(0.1):
            try:
                connection.send(b"x")
            except OSError:
                return

    with connect(hasty.address, KINDS[begins]) as connection, ThreadPoolExecutor(1) as pool:
        dripping = pool.submit(drip, connection)
        try:
            until_closed(connection)
        finally:
            ended.set()
        dripping.result(10)


def test_a_response_not_taken_in_time_ends_the_connection(hasty):
    with connect(hasty.address, KINDS["one that never reads"]) as connection:
        poll = select.poll()
        poll.register(connection, select.POLLHUP)  # errors are reported anyway; what there is to read is not
        assert poll.poll(60_000), "the connection was not closed"


def test_without_room_the_longest_waiting_connection_is_closed(source, tmp_path):
    path = configuration(tmp_path, source.source_url("heim"), facade=LONG + "connections = 64\n")
    with (
        process.facade(path) as facade,
        slow_clients(facade.address, KINDS["half the headers"], 100) as slow,
    ):
        assert facade.call("GET", "/metadata").status_code == 200
        eventually(lambda: not is_open(slow[0]))
        assert is_open(slow[-1])


def test_a_stop_does_not_wait_for_slow_clients(source, tmp_path):
    path = configuration(tmp_path, source.source_url("heim"), facade=LONG)
    with process.facade(path) as facade:
        slow = [connect(facade.address, sent) for sent in KINDS.values()]
        try:
            assert facade.call("GET", "/health/live").status_code == 200
            facade.terminate()
            assert facade.exit_code(within=10) == 0  # below the 15 seconds that requests in work have
        finally:
            for connection in slow:
                connection.close()


# What the head shows is refused before the body


@pytest.mark.parametrize(
    ("path", "headers", "length", "status"),
    [
        ("/webhooks/nowhere", signed, 10, 401),
        ("/webhooks/heim", {}, 10, 401),
        ("/webhooks/heim", lambda body: signed(body, at=1), 10, 401),
        ("/webhooks/heim", signed, 70_000, 413),
        ("/Appointment/heim/apt_1", {}, 10, 401),
        ("/Appointment/nowhere/apt_1", KEYED, 10, 404),
        ("/Appointment/heim/a%2fb", KEYED, 10, 404),
        ("/Appointment/heim/apt_1", KEYED | {"Content-Type": "text/plain"}, 10, 415),
        ("/Appointment/heim/apt_1", KEYED | {"Accept": "text/html"}, 10, 406),
        ("/Appointment/heim/apt_1", KEYED | {"If-Match": "1"}, 10, 400),
        ("/Appointment/heim/apt_1", KEYED, 70_000, 413),
        ("/nowhere", KEYED, 10, 404),
    ],
)
def test_what_the_head_shows_is_refused_before_the_body(patient, path, headers, length, status):
    headers = headers(b"") if callable(headers) else headers  # signed now, not when the tests were collected
    with connect(patient.address, post(path, headers=headers, body=b"", length=length)) as connection:
        # The facade would wait a minute for the body.
        found = until_closed(connection, within=45)
    assert [one[0] for one in answers(found)] == [status]


def test_a_webhook_without_a_secret_is_refused_before_its_body(hasty):
    with connect(hasty.address, post("/webhooks/heim", headers=signed(b""), body=b"", length=10)) as connection:
        assert [one[0] for one in answers(until_closed(connection))] == [401]


# HTTP still works


def test_a_connection_carries_several_pipelined_requests(patient):
    request = post("/Appointment/heim/apt_3", headers=KEYED)
    last = READ.replace(b"Host", b"Connection: close\r\nHost", 1)
    with connect(patient.address, request) as connection:
        connection.sendall(request[:-10])
        connection.sendall(request[-10:] + request + last)
        found = answers(until_closed(connection))
    assert [status for status, _, _ in found] == [200, 200, 200, 200]
    assert found[0][2] == found[1][2] == found[2][2]


def test_a_request_that_comes_in_pieces_is_answered(patient):
    body = b"".join(b"1\r\n%c\r\n" % byte for byte in CANCEL) + b"0\r\n\r\n"
    head = post("/Appointment/heim/apt_4", headers=KEYED | {"Transfer-Encoding": "chunked"}, body=b"")
    request = head.replace(b"Content-Length: 0\r\n", b"") + body
    with connect(patient.address) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for byte in request:
            connection.sendall(bytes([byte]))
        ((status, _, answer),) = answers(until_closed(connection))
    assert (status, json.loads(answer)["status"]) == (200, "cancelled")


def test_a_client_that_expects_100_continue_gets_it_once(patient):
    headers = KEYED | {"Expect": "100-continue", "Connection": "close"}
    with connect(patient.address, post("/Appointment/heim/apt_5", headers=headers, body=b"", length=54)) as connection:
        interim = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert connection.recv(len(interim), socket.MSG_WAITALL) == interim
        connection.sendall(CANCEL)
        assert [one[0] for one in answers(until_closed(connection))] == [200]


def test_a_refused_client_is_not_asked_for_its_body(patient):
    request = post("/Appointment/heim/apt_5", headers={"Expect": "100-continue"}, body=b"", length=54)
    with connect(patient.address, request) as connection:
        assert [one[0] for one in answers(until_closed(connection))] == [401]


def test_headers_without_end_are_431(patient):
    with connect(patient.address, b"GET / HTTP/1.1\r\nX-Long: " + b"x" * 70_000) as connection:
        assert [one[0] for one in answers(until_closed(connection))] == [431]


# Probes


class Held(HeimSimulator):
    """A Heim that answers when it is let."""

    def __init__(self):
        super().__init__()
        self.go_on = threading.Event()
        self.asked = threading.Semaphore(0)

    def operation(self, method, path):
        self.asked.release()
        return super().operation(method, path)

    def app(self):
        inner = super().app()

        def held(environ, start_response):
            self.go_on.wait(120)
            return inner(environ, start_response)

        return held


def test_probes_are_answered_when_every_thread_is_busy(tmp_path):
    held = Held()
    with serve({"heim": held}) as host:
        path = configuration(tmp_path, host.source_url("heim"), facade=LONG)
        with (
            process.facade(path, arguments=("--health-port", "0")) as facade,
            ThreadPoolExecutor(40) as pool,
        ):
            try:
                busy = [pool.submit(facade.call, "GET", f"/Appointment/heim/apt_{n}", timeout=120) for n in range(36)]
                for _ in range(THREADS):
                    assert held.asked.acquire(timeout=60)
                other = pool.submit(facade.call, "GET", "/metadata", timeout=120)
                port = facade.said("health_port")
                for url in (facade.url, f"http://127.0.0.1:{port}"):
                    for probe, word in (("live", "live"), ("ready", "ready")):
                        assert process.call("GET", f"{url}/health/{probe}").json() == {"status": word}
                assert process.call("GET", f"http://127.0.0.1:{port}/metadata").status_code == 404
                assert not other.done()
            finally:
                held.go_on.set()
            assert wait([*busy, other], timeout=120)[1] == set()
            assert other.result().status_code == 200


def test_the_port_for_probes_says_what_is_true_of_the_worker(source, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path = configuration(tmp_path, source.source_url("heim"), facade=f"health_port = {port}\n")
    with process.facade(path, arguments=("--workers", "2")) as facade:
        assert facade.said("health_port") == str(port)
        url = f"http://127.0.0.1:{port}/health"
        assert process.call("GET", f"{url}/ready").json() == {"status": "ready"}
        with contextlib.closing(sqlite3.connect(tmp_path / "var" / "facade.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert process.call("GET", f"{url}/ready").status_code == 503
            assert process.call("GET", f"{url}/live").status_code == 200
            other.execute("ROLLBACK")
        assert process.call("GET", f"{url}/ready").status_code == 200


def test_a_flood_of_connections_leaves_the_port_open_to_probes(source, tmp_path):
    path = configuration(tmp_path, source.source_url("heim"), facade=LONG + "connections = 64\n")
    with process.facade(path, arguments=("--health-port", "0")) as facade:
        address = ("127.0.0.1", int(facade.said("health_port")))
        with (
            slow_clients(facade.address, KINDS["half the headers"], 80),
            slow_clients(address, KINDS["half the headers"], 80),
        ):
            assert process.call("GET", f"http://127.0.0.1:{address[1]}/health/live").status_code == 200


# Where a request ends


@pytest.mark.parametrize(
    ("body", "rest"),
    [
        (b"0\r\n\r\n", b"GET"),
        (b"3\r\nabc\r\n0\r\n\r\n", b""),
        (b"3;x=y\r\na\r\n\r\n1f\r\n" + b"\r\n" * 15 + b"x\r\n0\r\nTrailer: 1\r\n\r\n", b"POST / HTTP/1.1\r\n\r\n"),
    ],
)
def test_the_end_of_a_chunked_body_is_found_however_it_is_cut(body, rest):
    whole = b"head" + body + rest
    for step in range(1, len(whole) + 1):
        frame, buffer = framing.ChunkedBody(4), bytearray(b"head")
        ends = []
        for at in range(4, len(whole), step):
            buffer += whole[at : at + step]
            ends.append(frame.end(buffer))
            if ends[-1] is not None:
                break
        assert ends[-1] == 4 + len(body)
        assert set(ends[:-1]) <= {None}


@pytest.mark.parametrize("body", [b"xyz\r\n", b"-1\r\n", b"\r\n", b"1" * 9 + b"\r\n", b"1" * 5000])
def test_a_body_with_bad_chunks_is_left_to_the_parser(body):
    assert framing.ChunkedBody(0).end(bytearray(body)) == len(body)
