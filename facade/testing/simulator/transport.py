"""How every fault looks on an HTTP connection: WSGI middleware around one simulator's own API."""

import json
import os
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING, Any, NoReturn

from werkzeug.exceptions import ClientDisconnected
from werkzeug.wrappers import Request, Response

from facade.testing.simulator import LogEntry, Simulator
from facade.testing.simulator.faults import RETRY_AFTER, Behaviour, Commit, Fault, Timings
from facade.testing.simulator.native_records import renamed

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

_PAGE = "<!doctype html><html><head><title>{0}</title></head><body><h1>{0}</h1></body></html>"
_CANNED: dict[Behaviour, tuple[int, str, str | bytes]] = {
    Behaviour.SERVER_ERROR: (500, "text/plain", "Internal Server Error"),
    Behaviour.HTML_404: (404, "text/html", _PAGE.format("404 Not Found")),
    Behaviour.JSON_404: (404, "application/json", '{"message": "no route matched these values"}'),
    Behaviour.HTML_502: (502, "text/html", _PAGE.format("502 Bad Gateway")),
    Behaviour.ACCEPTED_202: (202, "application/json", "{}"),
    Behaviour.EMPTY_200: (200, "application/json", ""),
    Behaviour.HTML_200: (200, "text/html", _PAGE.format("Please log in")),
    Behaviour.GARBAGE_200: (200, "application/json", b"\x80\xff{\x00cancelled"),
    Behaviour.OTHER_JSON_200: (200, "application/json", '[{"status": ["cancelled"]}, null, 1e3]'),
}
_CUT_INTO_HEADERS = 16  # bytes after the status line: inside the first header, before any Content-Length


class FaultyTransport:
    """Receives a request, decides its fault, lets the simulator act or not, logs, and answers or does not.

    Needs ``environ["werkzeug.socket"]``. A connection that was dealt with by hand is given up with a
    ConnectionAbortedError, which werkzeug's server takes for a client that hung up: it sends nothing more.
    ``stopping`` ends every wait.
    """

    def __init__(self, simulator: Simulator, timings: Timings, stopping: threading.Event) -> None:
        self._simulator = simulator
        self._app = simulator.app()
        self._timings = timings
        self._stopping = stopping
        self.kept_waiting: set[tuple[str, int]] = set()
        """The addresses of the clients that a silence or a slow drip keeps waiting now."""
        self._reads: dict[str, WSGIEnvironment] = {}  # the last one of each appointment that was answered well

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with self._simulator.connections.open():
            fault, response = self._received(environ)
        return self._deliver(fault, response, environ, start_response)

    def _received(self, environ: "WSGIEnvironment") -> tuple[Fault | None, Response | None]:
        """What comes of a request, written into the log."""
        request = Request(environ)
        path = environ["REQUEST_URI"].removeprefix(request.root_path)
        about = self._simulator.operation(request.method, request.path)
        operation, appointment_id = about or (None, None)
        entry = LogEntry(method=request.method, path=path, operation=operation, appointment=appointment_id)
        try:
            body = request.get_data()
        except (ClientDisconnected, OSError) as error:
            self._simulator.log.record(entry)
            raise ConnectionAbortedError("the request broke off inside its body") from error

        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        with self._simulator.lock:
            revision, epoch = self._simulator.revision, self._simulator.epoch
            fault = self._simulator.faults.take(about[1], about[0]) if about else None
            response = self._response(fault, environ, appointment_id)
            changed = self._simulator.revision != revision
            status = response.status_code if response else None
            if fault is None and about and about[0] == "read" and status == 200:
                self._reads[about[1]] = environ
            name = fault.name if fault else None
            self._simulator.log.record(replace(entry, fault=name, changed=changed, status=status, body=_parsed(body)))
        if fault and fault.commit is Commit.LATE:
            waiting = (environ, appointment_id, fault, epoch)
            threading.Thread(target=self._commit_late, args=waiting, daemon=True).start()
        return fault, response

    def _own_answer(self, environ: "WSGIEnvironment") -> Response:
        return Response.from_app(self._app, environ, buffered=True)

    def _as_it_is(self, appointment_id: str) -> Response:
        """What a read of it would be answered; only who has read it has shown how, and to others it is the record."""
        if appointment_id in self._reads:
            return self._own_answer(self._reads[appointment_id])
        return Response(json.dumps(self._simulator.get(appointment_id)), mimetype="application/json")

    def _refusal(self, behaviour: Behaviour) -> Response:
        status, error, *headers = self._simulator.refusal(behaviour)
        return Response(json.dumps(error), status, headers[0] if headers else None, mimetype="application/json")

    def _about_another(self, environ: "WSGIEnvironment", appointment_id: str) -> Response:
        """What the source would answer, with another id in it; nothing comes of it.

        Where no id is in the answer, one of another shape: no one could tell a success from this one.
        """
        with self._simulator.undone():
            response = self._own_answer(environ)
        try:
            native = json.loads(response.get_data())
        except ValueError:
            native = None
        if isinstance(native, dict):
            other = renamed(native, appointment_id, self._simulator.new_id())
            if other != native:
                response.set_data(json.dumps(other))
                return response
        return Response(_CANNED[Behaviour.OTHER_JSON_200][2], mimetype="application/json")

    def _response(self, fault: Fault | None, environ: "WSGIEnvironment", appointment_id: str | None) -> Response | None:
        """The answer, or what it would be if it were not cut; None where there is none."""
        if fault is None:
            return self._own_answer(environ)
        acts = fault.operation == "read" or fault.commit is Commit.YES
        own = self._own_answer(environ) if acts else None
        match fault.behaviour:
            case Behaviour.SILENCE | Behaviour.RESET:
                return None
            case Behaviour.CUT_HEADERS | Behaviour.CUT_BODY | Behaviour.SLOW_DRIP | Behaviour.TWICE:
                return own
            case Behaviour.ENDLESS:
                return Response(self._endless(), mimetype="application/json")
            case Behaviour.REDIRECT:
                return Response(status=302, headers={"Location": f"{environ['SCRIPT_NAME']}/redirected"})
            case Behaviour.UNAUTHORIZED | Behaviour.REFUSED | Behaviour.THROTTLED:
                return self._refusal(fault.behaviour)
            case Behaviour.THROTTLED_FOR:
                response = self._refusal(Behaviour.THROTTLED)
                if not self._simulator.refusal(Behaviour.THROTTLED)[2:]:
                    response.headers["Retry-After"] = str(RETRY_AFTER)
                return response
            case Behaviour.ABOUT_ANOTHER:
                return self._about_another(environ, str(appointment_id))
            case Behaviour.UNCHANGED_200:
                return self._as_it_is(str(appointment_id))
            case Behaviour.ERROR_200:
                return Response(json.dumps(self._simulator.refusal(Behaviour.REFUSED)[1]), mimetype="application/json")
            case canned:
                status, mimetype, text = _CANNED[canned]
                return Response(text, status, mimetype=mimetype)

    def _deliver(
        self,
        fault: Fault | None,
        response: Response | None,
        environ: "WSGIEnvironment",
        start_response: "StartResponse",
    ) -> Iterable[bytes]:
        connection: socket.socket = environ["werkzeug.socket"]
        answer = fault.behaviour if fault else None
        if response is None:
            if answer is Behaviour.RESET:
                _reset(connection)
            else:
                with self._keeping_waiting(connection):
                    self._keep_silent(connection)
            _give_up()
        if answer is Behaviour.CUT_HEADERS:
            wire = _wire(response, environ)
            connection.sendall(wire[: wire.index(b"\r\n") + 2 + _CUT_INTO_HEADERS])
            _give_up()
        if answer is Behaviour.CUT_BODY:
            missing = (len(response.get_data()) + 1) // 2
            connection.sendall(_wire(response, environ)[:-missing])
            _give_up()
        if answer is Behaviour.TWICE:
            connection.sendall(_wire(response, environ) * 2)
            _give_up()
        if answer is Behaviour.SLOW_DRIP:
            with self._keeping_waiting(connection):
                for byte in _wire(response, environ):
                    connection.sendall(bytes([byte]))
                    if self._stopping.wait(self._timings.drip):
                        break
            _give_up()
        return response(environ, start_response)

    @contextmanager
    def _keeping_waiting(self, connection: socket.socket) -> Iterator[None]:
        client = connection.getpeername()[:2]
        self.kept_waiting.add(client)
        try:
            yield
        finally:
            self.kept_waiting.discard(client)

    def _keep_silent(self, connection: socket.socket) -> None:
        """Wait until the client hangs up, the silence has lasted long enough, or the host stops."""
        ends_at = time.monotonic() + self._timings.silence
        connection.settimeout(0.1)
        while time.monotonic() < ends_at and not self._stopping.is_set():
            try:
                connection.recv(1, socket.MSG_PEEK)
                return  # the request was read whole: only its end can follow
            except TimeoutError:
                continue
            except OSError:
                return

    def _endless(self) -> Iterator[bytes]:
        while not self._stopping.wait(0.01):  # 6 MB a second: soon over any cap, and the processor stays free
            yield b" " * 65536

    def _commit_late(self, environ: "WSGIEnvironment", appointment_id: str, fault: Fault, epoch: int) -> None:
        if self._stopping.wait(self._timings.late_commit):
            return
        with self._simulator.lock:
            if self._simulator.epoch != epoch:
                return  # reset in between: this cancel belongs to a state that is gone
            revision = self._simulator.revision
            self._own_answer(environ)
            changed = self._simulator.revision != revision
            entry = LogEntry(operation="late-commit", appointment=appointment_id, fault=fault.name)
            self._simulator.log.record(replace(entry, changed=changed))


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body) if body else None
    except (ValueError, RecursionError):
        return body.decode("utf-8", "replace")


def _wire(response: Response, environ: "WSGIEnvironment") -> bytes:
    lines = [f"HTTP/1.1 {response.status}"]
    lines += [f"{name}: {value}" for name, value in response.get_wsgi_headers(environ)]
    return "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1") + response.get_data()


def _reset(connection: socket.socket) -> None:
    """Close with a TCP reset: no lingering, and past werkzeug, which would send an orderly end first."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())


def _give_up() -> NoReturn:
    raise ConnectionAbortedError("the answer ended here on purpose")
