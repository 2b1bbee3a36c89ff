"""``facade serve``: the facade under gunicorn."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import structlog
from gunicorn.app.base import BaseApplication

from facade import log as logging
from facade.app import assemble
from facade.config import LOOPBACK_HOSTS
from facade.errors import ConfigurationError
from facade.web import create_app

# A cancel may wait 8 s for its source; threads that wait cost little.
_THREADS = 32


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn ships no types
    def __init__(self, load: Callable[[], Any], settings: dict[str, Any]) -> None:
        self._load = load
        self._settings = settings
        super().__init__()

    def load_config(self) -> None:
        for name, value in self._settings.items():
            # A setting that the installed gunicorn does not have yet needs no turning off.
            if name in self.cfg.settings:
                self.cfg.set(name, value)

    def load(self) -> Any:
        return self._load()


@click.command()
@click.option("--config", "path", type=click.Path(path_type=Path), required=True, help="The configuration file.")
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option("--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="The port to listen on.")
@click.option("--workers", default=1, show_default=True, type=click.IntRange(1), help="Processes, of 32 threads each.")
def serve(path: Path, host: str, port: int, workers: int) -> None:
    """Serve the facade. Ctrl-C or SIGTERM lets what was sent finish, for at most 15 seconds."""
    facade = assemble(path)
    if facade.config.auth_mode == "none" and host not in LOOPBACK_HOSTS:
        raise ConfigurationError(
            f'auth.mode: "none" serves loopback only and --host is {host}; use mode = "api-key" or --host 127.0.0.1'
        )
    logging.configure()
    structlog.get_logger().info("serving", host=host, port=port, workers=workers, sources=sorted(facade.sources))
    settings = {
        "bind": [f"[{host}]:{port}" if ":" in host else f"{host}:{port}"],
        "workers": workers,
        "worker_class": "gthread",
        "threads": _THREADS,
        "graceful_timeout": 15,
        "accesslog": None,  # our own line a request says more, and no path with an id in it
        "loglevel": "warning",
        "proc_name": "fhir-facade",
        "control_socket_disable": True,  # two facades on one host would fight for it
    }
    # In the worker, after the fork: nothing that holds a thread or a connection is shared.
    _Server(lambda: create_app(assemble(path)), settings).run()
