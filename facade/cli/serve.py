"""``facade serve``: the facade under gunicorn."""

import atexit
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import click
import structlog
from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter

from facade.cancellation.reconciler import Reconciler
from facade.cli.reloading import Served
from facade.config import Config
from facade.errors import ConfigurationError, Unavailable
from facade.observability import logs as logging
from facade.server.connection import Limits
from facade.server.worker import worker_class
from facade.web import create_app

# A cancel may wait 8 s for its source; threads that wait cost little.
_THREADS = 32
_BACKLOG = 1024  # connections that wait to be accepted


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, served: Served, settings: dict[str, Any], probe_port: int | None) -> None:
        self.served = served
        self._settings = settings
        self._probe_port = probe_port
        super().__init__()

    def load_config(self) -> None:
        """At the start, and again at each reload: the limits are the configuration's."""
        worker = worker_class(_limits(self.served.facade.config), self._probe_port)
        for name, value in {**self._settings, "worker_class": worker}.items():
            # A setting that the installed gunicorn does not have yet needs no turning off.
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return _worker(self.served)

    def run(self) -> None:
        _Arbiter(self).run()


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn ships no types
    """The master. Its own reload would end everything if no new worker came up."""

    def handle_hup(self) -> None:
        if self.app.served.reload():
            super().handle_hup()


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option("--store", metavar="URL", help="Another ledger than the configuration's, as facade.store.")
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    help="A port for /health/live and /health/ready alone, as facade.health_port.",
)
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes, of 32 threads each.")
def serve(path: Path, host: str, port: int, store: str | None, health_port: int | None, workers: int) -> None:
    """Serve the facade. Ctrl-C or SIGTERM lets what was sent finish, for at most 15 seconds.

    SIGHUP reads the configuration again. If it is not in order, each problem is logged and the old one stays.
    """
    served = Served(path, store, host, workers)
    listeners = [_listen(host, port, "--port")]
    probe_port = None
    if health_port is None:
        health_port = served.facade.config.health_port
    if health_port is not None:
        listeners.append(_listen(host, health_port, "--health-port"))
        probe_port = listeners[1].getsockname()[1]
    logging.configure()
    structlog.get_logger().info(
        "serving",
        host=host,
        port=listeners[0].getsockname()[1],
        **({"health_port": probe_port} if probe_port is not None else {}),
        workers=workers,
        sources=sorted(served.facade.sources),
    )
    settings = {
        "bind": [f"fd://{listener.detach()}" for listener in listeners],
        "workers": workers,
        "threads": _THREADS,
        "graceful_timeout": 15,
        "accesslog": None,  # our own line a request says more, and no path with an id in it
        "loglevel": "error",  # what its parser refuses it logs as a warning, keys and ids included
        "proc_name": "fhir-facade",
        "when_ready": _interrupt_gracefully,
        "post_worker_init": _leave_interrupts_to_the_master,
        "control_socket_disable": True,  # two facades on one host would fight for it
    }
    _Server(served, settings, probe_port).run()


def _limits(config: Config) -> Limits:
    return Limits(
        head=config.head_within, body=config.body_within, answer=config.send_within, connections=config.connections
    )


def _worker(served: Served) -> Flask:
    """In the worker, after the fork: nothing that holds a thread or a connection is shared."""
    facade = served.facade.renewed()
    # In this order: who renames a source or gives its records other keys sees this worker, or is seen by it.
    facade.reconciler.tell()
    try:
        facade.check_sources()
    except ConfigurationError as error:
        for problem in error.problems:
            structlog.get_logger().error("configuration-refused", problem=problem)
        facade.reconciler.leave()
        sys.exit(Arbiter.APP_LOAD_ERROR)
    except Unavailable:  # nothing is sent without the store, and it may come back
        structlog.get_logger().warning("worker-without-ledger")
    facade.reconciler.start()
    atexit.register(_leave, facade.reconciler)
    return create_app(facade)


def _leave(reconciler: Reconciler) -> None:
    """At the worker's end: it takes itself off the list of those that work on the ledger."""
    reconciler.stop()
    reconciler.wait(2.0)


def _interrupt_gracefully(_: Any) -> None:
    """In the master: Ctrl-C is a SIGTERM, and gunicorn's quick stop only the second time."""
    quick = signal.getsignal(signal.SIGINT)

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGINT, quick)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, stop)


def _leave_interrupts_to_the_master(_: Any) -> None:
    """In a worker, which a terminal's Ctrl-C reaches too: its quick stop, begun twice, may wait for itself."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _listen(host: str, port: int, option: str) -> socket.socket:
    """Our own socket: gunicorn would try a port in use for five seconds, and say so in many lines."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        # A host that has no address comes with a number that is not errno's.
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ConfigurationError(
            f"the facade cannot listen on {host}, port {port}: {why}; choose another with --host or {option}"
        ) from error
