"""One process that serves every source's simulator under its own prefix, and the control API beside them."""

import json
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from werkzeug.datastructures import EnvironHeaders
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from facade import loopback
from facade.errors import ConfigurationError
from facade.testing.control import control_app
from facade.testing.simulator import Clock, Simulator
from facade.testing.transport import FaultyTransport, Timings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


class SimulatorHost:
    """The simulators being served; in the same process, tests may do without the control API."""

    def __init__(self, url: str, simulators: Mapping[str, Simulator], clock: Clock, server: threading.Thread) -> None:
        self.url = url
        self.simulators = simulators
        self.clock = clock
        self._server = server

    def source_url(self, source: str) -> str:
        """The base URL under which an adapter finds this source."""
        return f"{self.url}/{source}"

    def reset(self) -> None:
        """Every source as seeded: state, faults, an empty log."""
        for simulator in self.simulators.values():
            simulator.reset()

    def wait(self) -> None:
        """Serve until interrupted."""
        self._server.join()


@contextmanager
def serve(
    simulators: Mapping[str, Simulator],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    timings: Timings | None = None,
    allowed_origins: Collection[str] = (),
) -> Iterator[SimulatorHost]:
    """Serve the simulators, by source name, from a background thread for as long as the block runs.

    Port 0 is any free one. Requests that a page or a proxy may have sent are refused, but for those of pages of
    ``allowed_origins``. A program that does nothing else calls ``wait()`` inside the block. Raises
    ConfigurationError if the address cannot be listened on.
    """
    clock, stopping = Clock(), threading.Event()
    for simulator in simulators.values():
        simulator.clock = clock
        simulator.reset()
    mounts = {
        f"/{source}": FaultyTransport(simulator, timings or Timings(), stopping)
        for source, simulator in simulators.items()
    }
    app = _OnlyLocal(
        DispatcherMiddleware(_nowhere, {**mounts, "/_control": control_app(simulators, clock)}), allowed_origins
    )
    with _listen(host, port) as listener:  # our own: werkzeug exits the process over a port in use
        port = listener.getsockname()[1]
        server = make_server(host, port, app, threaded=True, request_handler=_RequestHandler, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        name = f"[{host}]" if ":" in host else host
        yield SimulatorHost(f"http://{name}:{port}", simulators, clock, thread)
    finally:
        stopping.set()
        server.shutdown()
        thread.join()


class _OnlyLocal:
    """Refuses what is not from a program on this machine, to the control API and to the simulators alike."""

    def __init__(self, app: "WSGIApplication", allowed_origins: Collection[str]) -> None:
        self._app = app
        self._allowed_origins = allowed_origins

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        why = loopback.refusal(
            EnvironHeaders(environ).items(),
            target=environ["REQUEST_URI"],
            allowed_origins=self._allowed_origins,
            setting="facade sandbox --allowed-origin",
        )
        if why is None:
            return self._app(environ, start_response)
        return Response(json.dumps({"error": why}), 403, mimetype="application/json")(environ, start_response)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"The sandbox cannot listen on {host}, port {port}: {error}. Choose another; 0 is any free port."
        ) from error


def _nowhere(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    text = '{"error": "No source system is served here. Begin the path with its name, or with /_control."}'
    return Response(text, 404, mimetype="application/json")(environ, start_response)


class _RequestHandler(WSGIRequestHandler):
    def connection_dropped(self, error: BaseException, environ: "WSGIEnvironment | None" = None) -> None:
        self.close_connection = True  # else http.server waits for a next request on what a fault has closed

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the simulators' own logs say more."""
