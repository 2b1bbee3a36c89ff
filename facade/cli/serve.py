"""``facade serve``: serve the facade with gunicorn."""

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
from facade.cli.common.reloading import Served
from facade.config import Config
from facade.errors import ConfigurationError, Unavailable
from facade.observability import logs
from facade.server.connection import Limits
from facade.server.worker import worker_class
from facade.web import create_app

# A cancel may wait 8 s for its source; a waiting thread costs little.
_THREADS = 32
_BACKLOG = 1024  # connections waiting to be accepted


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, served: Served, settings: dict[str, Any], probe_port: int | None) -> None:
        self.served = served
        self._settings = settings
        self._probe_port = probe_port
        super().__init__()

    def load_config(self) -> None:
        """Set gunicorn's settings, at the start and at each reload; the limits come from the configuration."""
        worker = worker_class(_limits(self.served.facade.config), self._probe_port)
        for name, value in {**self._settings, "worker_class": worker}.items():
            # An older gunicorn does not have every setting; what it lacks, it does not need.
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return _worker(self.served)

    def run(self) -> None:
        _Arbiter(self).run()


class _Arbiter(Arbiter):  # type: ignore[misc]  # gunicorn ships no types
    """The master process. gunicorn's own reload would end the facade if no new worker started."""

    def handle_hup(self) -> None:
        if self.app.served.reload():
            super().handle_hup()


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option("--store", metavar="URL", help="The ledger's URL. Replaces facade.store.")
@click.option(
    "--health-port",
    type=click.IntRange(0, 65535),
    help="A port for /health/live and /health/ready only. Replaces facade.health_port.",
)
@click.option(
    "--workers",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="The number of processes, each with 32 threads.",
)
def serve(path: Path, host: str, port: int, store: str | None, health_port: int | None, workers: int) -> None:
    """Serve the facade. Ctrl-C or SIGTERM ends it after the requests in progress, for at most 15 seconds.

    SIGHUP reloads the configuration. If the new one is not valid, each problem is logged and the old one stays.
    """
    served = Served(path, store, host, workers)
    listeners = [_listen(host, port, "--port")]
    probe_port = None
    if health_port is None:
        health_port = served.facade.config.health_port
    if health_port is not None:
        listeners.append(_listen(host, health_port, "--health-port"))
        probe_port = listeners[1].getsockname()[1]
    logs.configure()
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
        "accesslog": None,  # our own log line says more, and contains no path with an id
        "loglevel": "error",  # its warnings contain the requests that its parser rejects, with keys and ids
        "proc_name": "fhir-facade",
        "when_ready": _interrupt_gracefully,
        "post_worker_init": _ignore_interrupts,
        "control_socket_disable": True,  # two facades on one host would use the same socket
    }
    _Server(served, settings, probe_port).run()


def _limits(config: Config) -> Limits:
    return Limits(
        head=config.head_within, body=config.body_within, response=config.send_within, connections=config.connections
    )


def _worker(served: Served) -> Flask:
    """Create a worker's application, after the fork: no thread and no connection is shared with the master."""
    facade = served.facade.renewed()
    # In this order: a rename or rekey in another process either sees this worker, or this worker sees its effect.
    facade.reconciler.announce()
    try:
        facade.check_sources()
    except ConfigurationError as error:
        for problem in error.problems:
            structlog.get_logger().error("configuration-refused", problem=problem)
        facade.reconciler.leave()
        sys.exit(Arbiter.APP_LOAD_ERROR)
    except Unavailable:  # the worker sends nothing without the store, which may come back
        structlog.get_logger().warning("worker-without-ledger")
    facade.reconciler.start()
    atexit.register(_leave, facade.reconciler)
    return create_app(facade)


def _leave(reconciler: Reconciler) -> None:
    """End a worker: remove it from the list of processes on the ledger."""
    reconciler.stop()
    reconciler.wait(2.0)


def _interrupt_gracefully(_: Any) -> None:
    """In the master, treat the first Ctrl-C as SIGTERM; the second one is gunicorn's quick stop."""
    quick = signal.getsignal(signal.SIGINT)

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGINT, quick)
        os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGINT, stop)


def _ignore_interrupts(_: Any) -> None:
    """In a worker, ignore Ctrl-C, which a terminal sends to all: the quick stop, begun twice, may deadlock."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _listen(host: str, port: int, option: str) -> socket.socket:
    """Open a socket. gunicorn's own would retry a port in use for five seconds, with many lines of output."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        # The number of a gaierror is not an errno.
        why = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise ConfigurationError(
            f"the facade cannot listen on {host}, port {port}: {why}; choose another with --host or {option}"
        ) from error
