"""Show every fault on an HTTP connection: WSGI middleware around one simulator's API."""

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
    """Receives a request, takes its fault, calls the simulator or not, logs, and responds as the fault demands.

    Needs ``environ["werkzeug.socket"]``. After writing to the connection itself, it raises ConnectionAbortedError,
    which werkzeug's server treats as a client that closed the connection: the server sends nothing more. ``stopping``
    ends every wait.
    """

    def __init__(self, simulator: Simulator, timings: Timings, stopping: threading.Event) -> None:
        self._simulator = simulator
        self._app = simulator.app()
        self._timings = timings
        self._stopping = stopping
        self.kept_waiting: set[tuple[str, int]] = set()
        """The addresses of the clients that a silence or a slow drip keeps waiting now."""
        self._reads: dict[str, WSGIEnvironment] = {}  # the last successful read of each appointment

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        with self._simulator.connections.open():
            fault, response = self._process(environ)
        return self._deliver(fault, response, environ, start_response)

    def _process(self, environ: "WSGIEnvironment") -> tuple[Fault | None, Response | None]:
        """Process a request and log it. Returns its fault and its response."""
        request = Request(environ)
        path = environ["REQUEST_URI"].removeprefix(request.root_path)
        about = self._simulator.operation(request.method, request.path)
        operation, appointment_id = about or (None, None)
        entry = LogEntry(method=request.method, path=path, operation=operation, appointment=appointment_id)
        try:
            body = request.get_data()
        except (ClientDisconnected, OSError) as error:
            self._simulator.log.record(entry)
            raise ConnectionAbortedError("the request ended inside its body") from error

        environ["wsgi.input"], environ["CONTENT_LENGTH"] = BytesIO(body), str(len(body))
        with self._simulator.lock:
            revision, reset_count = self._simulator.revision, self._simulator.reset_count
            fault = self._simulator.faults.take(about[1], about[0]) if about else None
            response = self._response(fault, environ, appointment_id)
            changed = self._simulator.revision != revision
            status = response.status_code if response else None
            if fault is None and about and about[0] == "read" and status == 200:
                self._reads[about[1]] = environ
            name = fault.name if fault else None
            self._simulator.log.record(replace(entry, fault=name, changed=changed, status=status, body=_parsed(body)))
        if fault and fault.commit is Commit.LATE:
            waiting = (environ, appointment_id, fault, reset_count)
            threading.Thread(target=self._commit_late, args=waiting, daemon=True).start()
        return fault, response

    def _proper_response(self, environ: "WSGIEnvironment") -> Response:
        return Response.from_app(self._app, environ, buffered=True)

    def _unchanged(self, appointment_id: str) -> Response:
        """Return the response to a read of it, if someone has read it before; else the native record as JSON."""
        if appointment_id in self._reads:
            return self._proper_response(self._reads[appointment_id])
        return Response(json.dumps(self._simulator.get(appointment_id)), mimetype="application/json")

    def _refusal(self, behaviour: Behaviour) -> Response:
        status, error, *headers = self._simulator.refusal(behaviour)
        return Response(json.dumps(error), status, headers[0] if headers else None, mimetype="application/json")

    def _about_another(self, environ: "WSGIEnvironment", appointment_id: str) -> Response:
        """Return the source's proper response with another id in it. Nothing is changed.

        If the response contains no id, return JSON of another shape: with another id it would be a proper success.
        """
        with self._simulator.undone():
            response = self._proper_response(environ)
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
        """Return the response, whole even if the fault cuts it; None if the fault sends none."""
        if fault is None:
            return self._proper_response(environ)
        acts = fault.operation == "read" or fault.commit is Commit.YES
        proper = self._proper_response(environ) if acts else None
        match fault.behaviour:
            case Behaviour.SILENCE | Behaviour.RESET:
                return None
            case Behaviour.CUT_HEADERS | Behaviour.CUT_BODY | Behaviour.SLOW_DRIP | Behaviour.TWICE:
                return proper
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
                return self._unchanged(str(appointment_id))
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
        behaviour = fault.behaviour if fault else None
        if response is None:
            if behaviour is Behaviour.RESET:
                _reset(connection)
            else:
                with self._keeping_waiting(connection):
                    self._keep_silent(connection)
            _abort()
        if behaviour is Behaviour.CUT_HEADERS:
            wire = _wire(response, environ)
            connection.sendall(wire[: wire.index(b"\r\n") + 2 + _CUT_INTO_HEADERS])
            _abort()
        if behaviour is Behaviour.CUT_BODY:
            missing = (len(response.get_data()) + 1) // 2
            connection.sendall(_wire(response, environ)[:-missing])
            _abort()
        if behaviour is Behaviour.TWICE:
            connection.sendall(_wire(response, environ) * 2)
            _abort()
        if behaviour is Behaviour.SLOW_DRIP:
            with self._keeping_waiting(connection):
                for byte in _wire(response, environ):
                    connection.sendall(bytes([byte]))
                    if self._stopping.wait(self._timings.drip):
                        break
            _abort()
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
        """Wait until the client closes the connection, the silence has lasted long enough, or the host stops."""
        ends_at = time.monotonic() + self._timings.silence
        connection.settimeout(0.1)
        while time.monotonic() < ends_at and not self._stopping.is_set():
            try:
                connection.recv(1, socket.MSG_PEEK)
                return  # the whole request was read, so only the end of the connection can follow
            except TimeoutError:
                continue
            except OSError:
                return

    def _endless(self) -> Iterator[bytes]:
        while not self._stopping.wait(0.01):  # 6 MB a second: soon over any limit, with little processor time
            yield b" " * 65536

    def _commit_late(self, environ: "WSGIEnvironment", appointment_id: str, fault: Fault, reset_count: int) -> None:
        if self._stopping.wait(self._timings.late_commit):
            return
        with self._simulator.lock:
            if self._simulator.reset_count != reset_count:
                return  # a reset in between removed the state that this cancel belongs to
            revision = self._simulator.revision
            self._proper_response(environ)
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
    """Close with a TCP reset. Bypasses werkzeug, which would shut the connection down in the orderly way first."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())


def _abort() -> NoReturn:
    raise ConnectionAbortedError("the fault ends the response here")
