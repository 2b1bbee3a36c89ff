"""Real processes of this package for tests: started, waited for, spoken to, ended, and that they end cleanly."""

import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import requests

from tests.conftest import CONFIG, HEIM_KEY, KEY, remember
from tests.support.paths import ROOT
from tests.support.waiting import LIMIT, eventually

COMMAND = [sys.executable, "-m", "facade"]
ENV = {"FACADE_KEY_SCHEDULER": KEY, "HEIM_API_KEY": HEIM_KEY}


def call(method: str, url: str, **kwargs: Any) -> requests.Response:
    """One HTTP request, without the environment's proxies; a FHIR answer is kept for the validator."""
    with requests.Session() as session:
        session.trust_env = False
        response = session.request(method, url, **{"timeout": LIMIT, "allow_redirects": False, **kwargs})
    if "fhir+json" in response.headers.get("Content-Type", ""):
        remember(response.json())
    return response


def exchange(address: tuple[str, int], request: bytes) -> tuple[int, bytes, bytes]:
    """Exactly these bytes over a socket, and no more: status, head and body of the answer. It must ask for a close."""
    with socket.create_connection(address, timeout=LIMIT) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3}) ", head)
    assert found, answer
    return int(found[1]), head, body


class Process:
    """A command of ours that serves ``url``; ``log()`` is everything it wrote so far, to both outputs."""

    def __init__(self, url: str, process: "subprocess.Popen[bytes]", outputs: Sequence[Path]) -> None:
        self.url = url
        self._process = process
        self._outputs = outputs

    @property
    def address(self) -> tuple[str, int]:
        """Host and port, for a raw socket."""
        host, _, port = self.url.removeprefix("http://").partition(":")
        return host, int(port)

    def log(self) -> str:
        return _written(self._outputs)

    def call(self, method: str, path: str, **kwargs: Any) -> requests.Response:
        """One request to it as the scheduler, FHIR JSON."""
        headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/fhir+json"}
        return call(method, self.url + path, **{**kwargs, "headers": headers | kwargs.get("headers", {})})

    @property
    def pid(self) -> int:
        return self._process.pid

    def signal(self, number: int) -> None:
        """Send a signal."""
        self._process.send_signal(number)

    def terminate(self) -> None:
        """Send SIGTERM."""
        self.signal(signal.SIGTERM)

    def said(self, fact: str) -> str:
        """A number that it wrote as a fact of its log."""
        found = re.search(rf'"{fact}": (\d+)', self.log())
        assert found, self.log()
        return found[1]

    def exit_code(self, within: float = LIMIT) -> int:
        """What it ended with, after a stop."""
        return self._process.wait(within)


def configuration(
    folder: Path, heim: str, *, facade: str = "", clients: str = "", more: str = "", answer_within: float = 60
) -> Path:
    """A configuration file for a facade in front of the Heim at this base URL.

    It has all the time that a configuration may give, unless the source hangs.
    """
    path = folder / "facade.toml"
    facade = f"answer_within = {answer_within}\n{facade}"
    path.write_text(CONFIG.format(heim=heim, facade=facade, clients=clients, settings="", more=more), "utf-8")
    return path


@contextmanager
def running(
    *arguments: str, says: str, probe: str, env: Mapping[str, str] | None = None, command: Sequence[str] = COMMAND
) -> Iterator[Process]:
    """``facade ARGUMENTS`` on a free port, from when ``probe`` answers; afterwards it must end cleanly.

    ``says`` is a pattern whose group is the port that the command prints, on either of its outputs.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [Path(folder) / name for name in ("stdout", "stderr")]
        with outputs[0].open("wb") as stdout, outputs[1].open("wb") as stderr:
            process = subprocess.Popen(
                [*command, *arguments, "--port", "0"], env={**os.environ, **(env or {})}, stdout=stdout, stderr=stderr
            )
        said: list[str] = []
        try:
            eventually(
                lambda: process.poll() is not None or said.extend(re.findall(says, _written(outputs))) or said,
                within=LIMIT,
            )
            assert said, f"it ended at once:\n{_written(outputs)}"
            found = Process(f"http://127.0.0.1:{said[0]}", process, outputs)
            eventually(lambda: process.poll() is not None or _answers(found.url + probe), within=LIMIT)
            yield found
            found.terminate()
            assert found.exit_code() == 0, found.log()
        finally:
            process.kill()
            process.wait(LIMIT)


def facade(
    config: Path, env: Mapping[str, str] = ENV, command: Sequence[str] = COMMAND, arguments: Sequence[str] = ()
) -> AbstractContextManager[Process]:
    """A facade process with this configuration, ready."""
    says = r'"port": (\d+)'
    return running(
        *("serve", "--config", str(config), *arguments), says=says, probe="/health/ready", env=env, command=command
    )


def sandbox() -> AbstractContextManager[Process]:
    """A sandbox process: every simulator, and the control API under ``/_control``."""
    return running("sandbox", says=r"http://127\.0\.0\.1:(\d+)/_control", probe="/_control/time")


@contextmanager
def serving(config: Path, env: Mapping[str, str] = ENV) -> Iterator[str]:
    """The base URL of a facade process with this configuration, ready; it must end cleanly."""
    with facade(config, env) as process:
        yield process.url


def run_pytest(folder: Path, files: Mapping[str, str], *options: str) -> tuple[int, str]:
    """The exit code and what was printed, of a run of files of tests in a folder of their own."""
    for name, text in files.items():
        (folder / name).write_text(text, "utf-8")
    plugins = ["-p", "xdist", "-p", "pytest_timeout", "-p", "no:cacheprovider"]
    command = [sys.executable, "-m", "pytest", *plugins, *options]
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    env |= {"PYTHONPATH": str(ROOT), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    done = subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=2 * LIMIT)
    return done.returncode, done.stdout + done.stderr


def _answers(url: str) -> bool:
    try:
        return call("GET", url, timeout=5).status_code == 200
    except requests.RequestException:  # not yet, or too slowly
        return False


def _written(outputs: Sequence[Path]) -> str:
    return "".join(output.read_text("utf-8") for output in outputs)
