"""Measure the latency of a healthy client, alone and beside 200 slow clients of each kind.

    python -m bench.slow_clients [--clients 200] [--count 200] [--rounds 3]

The rounds alternate, so that other load on the machine affects all of them equally. The healthy client repeats a
cancel, each time on a new connection. A slow client whose connection the facade closes connects again. Prints medians
and 99th percentiles in milliseconds, and the ratio of each median to the one without slow clients. "failed" counts the
healthy client's requests that did not return 200.
"""

import contextlib
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import click
import requests
from facade_heim.simulator import HeimSimulator

from facade.testing.simulator.host import serve
from tests.support import process
from tests.support.slow_clients import CANCEL, KINDS, connect

_HALVES = ("half the headers", "half a body", "half a body to a webhook", "one that never reads")
_DRIP = 0.5  # seconds between two bytes
NONE = "none"


@contextlib.contextmanager
def slow_clients(address: tuple[str, int], kind: str, count: int) -> Iterator[None]:
    """Keep ``count`` slow clients of one kind connected while the block runs."""
    if kind == NONE:
        yield
        return
    drips = kind == "one byte per 0.5 s"
    begins = KINDS["half the headers" if drips else kind]
    stop = threading.Event()
    clients: list[socket.socket] = []

    def keep_up() -> None:
        while not stop.wait(_DRIP):
            for n, client in enumerate(clients):
                try:
                    if drips:
                        client.send(b"x")
                    elif kind != "one that never reads" and client.recv(1, socket.MSG_DONTWAIT | socket.MSG_PEEK):
                        raise ConnectionResetError  # the facade has responded with 408
                    elif kind == "one that never reads":
                        client.send(b"\r\n", socket.MSG_DONTWAIT)
                    else:
                        raise ConnectionResetError
                except BlockingIOError:
                    continue
                except OSError:
                    client.close()
                    clients[n] = connect(address, begins)

    clients += [connect(address, begins) for _ in range(count)]
    thread = threading.Thread(target=keep_up)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        for client in clients:
            client.close()


@click.command()
@click.option("--clients", default=200, show_default=True, help="Number of slow clients.")
@click.option("--count", default=200, show_default=True, help="Requests of the healthy client per round.")
@click.option("--rounds", default=3, show_default=True)
def main(clients: int, count: int, rounds: int) -> None:
    """Measure the latency beside slow clients."""
    kinds = (NONE, *_HALVES, "one byte per 0.5 s")
    taken: dict[str, list[float]] = {kind: [] for kind in kinds}
    failed = dict.fromkeys(kinds, 0)
    with (
        tempfile.TemporaryDirectory() as folder,
        serve({"heim": HeimSimulator()}) as host,
        process.facade(process.configuration(Path(folder), host.source_url("heim"))) as facade,
    ):
        facade.call("POST", "/Appointment/heim/apt_2", data=CANCEL)
        for _ in range(rounds):
            for kind in kinds:
                with slow_clients(facade.address, kind, clients):
                    for _ in range(count):
                        began = time.perf_counter()
                        try:
                            ok = facade.call("POST", "/Appointment/heim/apt_2", data=CANCEL).status_code == 200
                        except requests.RequestException:
                            ok = False
                        taken[kind].append(time.perf_counter() - began)
                        failed[kind] += not ok
    base = statistics.median(taken[NONE])
    for kind, times in taken.items():
        median, late = statistics.median(times), statistics.quantiles(times, n=100)[98]
        click.echo(
            f"{kind:<26}{median * 1000:8.2f} ms   p99 {late * 1000:8.2f} ms   {median / base:5.2f} times without   "
            f"{failed[kind]} of {len(times)} failed"
        )


if __name__ == "__main__":
    main()
