"""Measure the time from the last check before a write to the write, alone and beside other threads and processes.

    python -m bench.send_window [--count 2000]

A process may be frozen in this window. Only the source could close it: see docs/concepts/at-most-once.md. Prints the
median, the 99th percentile and the maximum in microseconds, and the ratio of each median to the first.
"""

import http.client
import multiprocessing
import statistics
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest import mock

import click

from facade import HttpClient, http_client
from facade.deadline import deadline


class _Source(BaseHTTPRequestHandler):
    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        """Log nothing."""


class _Server(ThreadingHTTPServer):
    request_queue_size = 128


@contextmanager
def _source() -> Iterator[str]:
    with _Server(("127.0.0.1", 0), _Source) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@contextmanager
def _measured(found: list[float]) -> Iterator[None]:
    """Append the length of every window to ``found``, in seconds."""
    checked = threading.local()
    check, send = http_client._ExchangeState.before_first_byte, http.client.HTTPConnection.send

    def before_first_byte(self, sock):
        check(self, sock)
        checked.at = time.perf_counter()

    def sending(self, data):
        at, checked.at = getattr(checked, "at", None), None
        if at is not None:
            found.append(time.perf_counter() - at)
        send(self, data)

    with ExitStack() as patched:
        patched.enter_context(mock.patch.object(http_client._ExchangeState, "before_first_byte", before_first_byte))
        patched.enter_context(mock.patch.object(http.client.HTTPConnection, "send", sending))
        yield


def _spin() -> None:
    while True:
        pass


@contextmanager
def _busy_processes(processes: int) -> Iterator[None]:
    others = [multiprocessing.get_context("spawn").Process(target=_spin, daemon=True) for _ in range(processes)]
    for other in others:
        other.start()
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.join(10)


def _windows(url: str, count: int, threads: int, processes: int) -> list[float]:
    client = HttpClient(url, max_concurrent=threads)
    found: list[float] = []

    def cancel(_: int) -> None:
        with deadline(60.0):
            client.send("POST", "/cancel", permit=lambda: None, json={"reason": "x" * 100})

    with _busy_processes(processes), _measured(found), ThreadPoolExecutor(threads) as pool:
        list(pool.map(cancel, range(count)))
    return found


@click.command()
@click.option("--count", default=2000, show_default=True, help="Writes under each load.")
def main(count: int) -> None:
    """Measure the window under three loads."""
    loads = [("alone", 1, 0), ("32 threads", 32, 0), ("32 threads and 4 busy processes", 32, 4)]
    first = 0.0
    with _source() as url:
        for name, threads, processes in loads:
            found = sorted(_windows(url, count, threads, processes))
            median = statistics.median(found)
            first = first or median
            worst = found[int(0.99 * len(found))], found[-1]
            figures = ", ".join(f"{1e6 * seconds:.0f}" for seconds in (median, *worst))
            click.echo(f"{name}: median, p99, maximum {figures} µs; {median / first:.1f} times the first median")


if __name__ == "__main__":
    main()
