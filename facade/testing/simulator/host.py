"""One process that serves every source's simulator, and the control API beside them.

HTTP simulators are mounted under their own prefix; any other is served by its own listener.
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


_STOP_WITHIN = 10.0  # seconds; the server looks every 0.05 s whether it is to stop


class SimulatorHost:
    """The simulators being served; in the same process, tests may do without the control API."""

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
        """Where an adapter finds this source: a base URL, or the address that its own listener gave."""
        return self._addresses[source]

    def reset(self) -> None:
        """Every source as seeded: state, faults, an empty log."""
        for simulator in self.simulators.values():
            simulator.reset()

    def keeps_waiting(self, client: tuple[str, int]) -> bool:
        """Whether a silence or a slow drip keeps the client at this address waiting now."""
        return any(client in transport.kept_waiting for transport in self._transports)

    def wait(self) -> None:
        """Serve until interrupted, however long that is."""
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
    """Serve the simulators, by source name, from background threads for as long as the block runs.

    Port 0 is any free one. Requests that a page or a proxy may have sent are refused, but for those of pages of
    ``allowed_origins``. ``ports`` are those of the sources that are not HTTP, by name; any free one by default.
    ``capabilities`` are what the plugins declare, by source name, for those who ask the control API. A program that
    does nothing else calls ``wait()`` inside the block. Raises ConfigurationError if an address cannot be listened on,
    or if a simulator is not HTTP and has no listener.
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
    addresses: dict[str, str] = {}  # complete once every listener listens
    control = control_app(simulators, clock, capabilities or {}, addresses)
    app = _OnlyLocal(DispatcherMiddleware(_nowhere, {**mounts, "/_control": control}), allowed_origins)
    with _listen(host, port) as listener:  # our own: werkzeug exits the process over a port in use
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
                    its_port = (ports or {}).get(source, 0)
                    addresses[source] = _serve_apart(listeners, source, simulator, host, its_port, timings)
            yield SimulatorHost(url, simulators, clock, thread, addresses, mounts.values())
    finally:
        stopping.set()
        server.shutdown()
        thread.join(_STOP_WITHIN)


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


def is_servable(simulator: BareSimulator) -> bool:
    """Whether it is HTTP, or brings a listener."""
    return isinstance(simulator, Simulator) or type(simulator).listener is not BareSimulator.listener


def _serve_apart(
    listeners: ExitStack, source: str, simulator: BareSimulator, host: str, port: int, timings: Timings
) -> str:
    """Enter a simulator's own listener; its address."""
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


def _nowhere(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
    text = '{"error": "No source system is served here. Begin the path with its name, or with /_control."}'
    return Response(text, 404, mimetype="application/json")(environ, start_response)


class _RequestHandler(WSGIRequestHandler):
    def connection_dropped(self, error: BaseException, environ: "WSGIEnvironment | None" = None) -> None:
        self.close_connection = True  # else http.server waits for a next request on what a fault has closed

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the simulators' own logs say more."""
