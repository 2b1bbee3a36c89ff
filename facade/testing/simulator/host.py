"""Serve simulators and their control API from one process.

HTTP simulators are mounted under a prefix each; any other simulator is served by its own listener.
"""

import json
import socket
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from werkzeug.datastructures import EnvironHeaders
from werkzeug.middleware.dispatcher import DispatcherMiddleware
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Response

from facade import loopback
from facade.errors import ConfigurationError
from facade.plugin.contract import Capabilities
from facade.testing.simulator import BareSimulator, Clock, Simulator
from facade.testing.simulator.control_api import control_app
from facade.testing.simulator.faults import Timings
from facade.testing.simulator.transport import FaultyTransport

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment


_STOP_WITHIN = 10.0  # seconds; the server checks every 0.05 s whether it must stop


class SimulatorHost:
    """The simulators that are being served; a test in the same process needs no control API."""

    def __init__(
        self,
        url: str,
        simulators: Mapping[str, BareSimulator],
        clock: Clock,
        server: threading.Thread,
        addresses: Mapping[str, str],
        transports: Collection[FaultyTransport],
    ) -> None:
        self.url = url
        self.simulators = simulators
        self.clock = clock
        self._server = server
        self._addresses = addresses
        self._transports = transports

    def source_url(self, source: str) -> str:
        """Return where an adapter reaches this source: a base URL, or the address from its own listener."""
        return self._addresses[source]

    def reset(self) -> None:
        """Reset every simulator: appointments and faults as seeded, an empty log."""
        for simulator in self.simulators.values():
            simulator.reset()

    def keeps_waiting(self, client: tuple[str, int]) -> bool:
        """Return whether a silence or a slow drip keeps the client at this address waiting now."""
        return any(client in transport.kept_waiting for transport in self._transports)

    def wait(self) -> None:
        """Wait until the server ends, or the process is interrupted."""
        self._server.join()


@contextmanager
def serve(
    simulators: Mapping[str, BareSimulator],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    timings: Timings | None = None,
    allowed_origins: Collection[str] = (),
    ports: Mapping[str, int] | None = None,
    capabilities: Mapping[str, Capabilities] | None = None,
) -> Iterator[SimulatorHost]:
    """Serve the simulators, by source name, from background threads until the block ends.

    Port 0 is any free port. Requests that a web page or a proxy may have sent are rejected, except from pages of
    ``allowed_origins``. ``ports``: the ports of the sources that are not HTTP, by name; any free port by default.
    ``capabilities``: what the plugins declare, by source name; the control API shows it. A program that does nothing
    else calls ``wait()`` inside the block. Raises ConfigurationError if it cannot listen on an address, or if a
    simulator is not HTTP and has no listener.
    """
    clock, stopping = Clock(), threading.Event()
    timings = timings or Timings()
    for simulator in simulators.values():
        simulator.clock = clock
        simulator.reset()
    mounts = {
        f"/{source}": FaultyTransport(simulator, timings, stopping)
        for source, simulator in simulators.items()
        if isinstance(simulator, Simulator)
    }
    addresses: dict[str, str] = {}  # complete when every listener listens
    control = control_app(simulators, clock, capabilities or {}, addresses)
    app = _OnlyLocal(DispatcherMiddleware(_not_mounted, {**mounts, "/_control": control}), allowed_origins)
    with _listen(host, port) as listener:  # werkzeug's own would end the process if the port is in use
        port = listener.getsockname()[1]
        server = make_server(host, port, app, threaded=True, request_handler=_RequestHandler, fd=listener.fileno())
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        name = f"[{host}]" if ":" in host else host
        url = f"http://{name}:{port}"
        with ExitStack() as listeners:
            for source, simulator in simulators.items():
                if isinstance(simulator, Simulator):
                    addresses[source] = f"{url}/{source}"
                else:
                    own_port = (ports or {}).get(source, 0)
                    addresses[source] = _start_listener(listeners, source, simulator, host, own_port, timings)
            yield SimulatorHost(url, simulators, clock, thread, addresses, mounts.values())
    finally:
        stopping.set()
        server.shutdown()
        thread.join(_STOP_WITHIN)


class _OnlyLocal:
    """Rejects requests that are not from a program on this machine, for the simulators and the control API."""

    def __init__(self, app: "WSGIApplication", allowed_origins: Collection[str]) -> None:
        self._app = app
        self._allowed_origins = allowed_origins

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        why = loopback.reject_reason(
            EnvironHeaders(environ).items(),
            target=environ["REQUEST_URI"],
            allowed_origins=self._allowed_origins,
            setting="facade sandbox --allowed-origin",
        )
        if why is None:
            return self._app(environ, start_response)
        return Response(json.dumps({"error": why}), 403, mimetype="application/json")(environ, start_response)


def is_servable(simulator: BareSimulator) -> bool:
    """Return whether a simulator is HTTP or has a listener."""
    return isinstance(simulator, Simulator) or type(simulator).listener is not BareSimulator.listener


def _start_listener(
    listeners: ExitStack, source: str, simulator: BareSimulator, host: str, port: int, timings: Timings
) -> str:
    """Enter a simulator's own listener. Returns its address."""
    listener = simulator.listener(host, port, timings)
    if listener is None:
        raise ConfigurationError(
            f"the simulator of {source} is not HTTP and has no listener; write BareSimulator.listener"
        )
    try:
        return listeners.enter_context(listener)
    except OSError as error:
        raise ConfigurationError(
            f"the simulator of {source} cannot listen on {host}, port {port}: {error}; choose another port"
        ) from error


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=128)
    except (OSError, OverflowError) as error:
        raise ConfigurationError(
            f"The sandbox cannot listen on {host}, port {port}: {error}. Choose another; 0 is any free port."
        ) from error


def _not_mounted(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    text = '{"error": "No source system is served here. Begin the path with its name, or with /_control."}'
    return Response(text, 404, mimetype="application/json")(environ, start_response)


class _RequestHandler(WSGIRequestHandler):
    def connection_dropped(self, error: BaseException, environ: "WSGIEnvironment | None" = None) -> None:
        self.close_connection = True  # else http.server waits for the next request on a connection that a fault closed

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Log nothing: the simulators' own logs contain more."""
