"""Commands as real processes: what they print, what they refuse, and that a stop ends everything they started."""

import json
import os
import re
import shutil
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from importlib.metadata import version

import pytest

from facade.testing.simulator.faults import FAULTS
from tests.conftest import KEY
from tests.integration.test_commands import ALL_SHOWN, SANDBOX, facade
from tests.support.ports import free_port, listening
from tests.support.process import COMMAND, call
from tests.support.waiting import LIMIT, eventually


def test_the_module_is_the_command():
    done = subprocess.run([*COMMAND, "--version"], capture_output=True, text=True, check=True, timeout=LIMIT)
    assert version("fhir-facade") in done.stdout


class Started:
    """A command in a process group of its own; what it writes goes to files, so that nothing waits for it for ever."""

    def __init__(self, *arguments, cwd):
        self._shown, self._errors = cwd / "stdout", cwd / "stderr"
        with self._shown.open("wb") as stdout, self._errors.open("wb") as stderr:
            command = [*COMMAND, *map(str, arguments)]
            self.process = subprocess.Popen(command, cwd=cwd, stdout=stdout, stderr=stderr, start_new_session=True)

    def errors(self):
        return self._errors.read_text("utf-8")

    def shown_until(self, text):
        """What it printed, once ``text`` is there."""
        eventually(lambda: text in self._shown.read_text("utf-8") or self.process.poll() is not None, within=LIMIT)
        shown = self._shown.read_text("utf-8")
        assert text in shown, self.errors()
        return shown

    def members(self):
        """The process group's living members."""
        command = ["ps", "-e", "-o", "pgid=,pid=,stat="]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=LIMIT)
        rows = [line.split() for line in done.stdout.splitlines()]
        return [pid for group, pid, state in rows if group == str(self.process.pid) and not state.startswith("Z")]

    def end(self):
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(LIMIT)


@pytest.fixture
def start(tmp_path):
    begun = []

    def start(*arguments):
        begun.append(Started(*arguments, cwd=tmp_path))
        return begun[-1]

    yield start
    for started in begun:
        started.end()


@pytest.fixture
def both(start, tmp_path):
    """A sandbox and a facade in front of it on free ports, when everything is printed; and what was printed."""

    def both(edit=lambda text: text):
        shutil.copytree(SANDBOX.parent, tmp_path / "config")
        with free_port() as sandbox_port, free_port() as facade_port:
            path = tmp_path / "config" / "sandbox.toml"
            path.write_text(edit(path.read_text("utf-8").replace(":8081", f":{sandbox_port}")), "utf-8")
            started = start(
                "sandbox", "--port", sandbox_port, "--serve", path.relative_to(tmp_path), "--serve-port", facade_port
            )
            return started, started.shown_until(ALL_SHOWN), f"http://127.0.0.1:{facade_port}"

    return both


def pasted(shown):
    """The curl that was printed, run through a shell as it stands."""
    command = re.search(r"^curl (?:.*\\\n)+.*$", shown, re.MULTILINE)[0]
    done = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="what is printed is a curl command")


@needs_curl
def test_the_printed_curl_cancels_and_every_fault_is_listed(both):
    _, shown, url = both()
    lines = shown.splitlines()
    assert re.fullmatch(r"fhir_r4     http://127.0.0.1:\d+/fhir_r4", lines[0])
    assert re.fullmatch(r"heim        http://127.0.0.1:\d+/heim", lines[1])
    assert re.fullmatch(r"control     http://127.0.0.1:\d+/_control", lines[2])
    assert lines[3] == f"facade      {url}"
    for name, fault in FAULTS.items():
        row = next(line for line in lines if line.startswith(f"  apt_{name} "))
        assert row.split()[1] == fault.ends_in
        assert row.endswith(fault.description)

    answer = pasted(shown)
    assert answer["resourceType"] == "Appointment"
    assert answer["status"] == "cancelled"
    assert answer["cancelationReason"]["coding"][0]["code"] == "pat-mv"

    log = re.search(r"^Requests that the source received: (curl .*)$", shown, re.MULTILINE)[1]
    seen = json.loads(subprocess.run(["sh", "-c", log], capture_output=True, check=True, timeout=LIMIT).stdout)
    assert seen["cancels"] == 1
    client = facade("cancel", "heim", "apt_2", "--reason", "pat-mv", "--url", url).stdout
    assert client.startswith("cancelled   heim apt_2\nreason      Patient: Moved (pat-mv)\n")

    assert re.search(
        r"^The same for fhir: apt-…, and curl -sS http://127.0.0.1:\d+/_control/fhir_r4/log$", shown, re.MULTILINE
    )
    assert facade("cancel", "fhir", "apt-1", "--url", url).stdout.startswith("cancelled   fhir apt-1\n")
    assert json.loads(facade("cancel", "heim", "apt_2", "--json", "--url", url).stdout)["status"] == "cancelled"
    assert "refused     HTTP 404" in facade("cancel", "nowhere", "apt_2", "--url", url, code=1).stdout
    assert "proposed    heim apt_refused" in facade("cancel", "heim", "apt_refused", "--url", url, code=3).stdout
    named = re.search(r"^Verify the facade: facade (verify .*)$", shown, re.MULTILINE)[1]
    assert "1 passed, 0 failed" in facade(*named.split(), "--only", "example").stdout


@needs_curl
def test_the_printed_curl_has_base_path_source_and_key(both, monkeypatch):
    monkeypatch.setenv("FACADE_CLIENT_KEY", KEY)

    def edit(text):
        text = text.replace('default_source = "heim"', 'base_path = "/fhir/r4"').replace(
            "[sources.heim]", "[sources.spa]"
        )
        client = '[clients.me]\nkey_env = "FACADE_CLIENT_KEY"\nsources = ["*"]\n'
        return text.replace('mode = "none"', 'mode = "api-key"') + client

    _, shown, url = both(edit)
    assert f"curl -sS {url}/fhir/r4/Appointment/spa/apt_1 " in shown
    assert KEY not in shown
    assert pasted(shown)["status"] == "cancelled"


@pytest.mark.parametrize("how", ["Ctrl-C", "SIGTERM", "SIGTERM to all", "SIGHUP"])
def test_a_stop_stops_both(both, how):
    started, _, _ = both()
    assert len(started.members()) >= 3  # the sandbox, gunicorn's master, its worker
    match how:
        case "Ctrl-C":  # a terminal sends it to the whole group
            os.killpg(started.process.pid, signal.SIGINT)
        case "SIGTERM to all":
            os.killpg(started.process.pid, signal.SIGTERM)
        case "SIGTERM":
            started.process.send_signal(signal.SIGTERM)
        case "SIGHUP":
            started.process.send_signal(signal.SIGHUP)
    assert started.process.wait(LIMIT) == 0
    assert started.members() == []
    errors = started.errors()
    assert "Traceback" not in errors
    assert "SIGKILL" not in errors


def test_ctrl_c_lets_a_cancel_that_was_sent_finish(both):
    """The source answers too slowly for the write's deadline, so the facade reads, and answers, and only then ends."""
    started, shown, url = both(lambda text: text.replace("[facade]", "[facade]\nanswer_within = 16"))
    log = re.search(r"^control +(\S+)$", shown, re.MULTILINE)[1] + "/heim/log"
    cancel = {"resourceType": "Appointment", "status": "cancelled"}
    with ThreadPoolExecutor() as pool:
        answer = pool.submit(call, "POST", f"{url}/Appointment/heim/apt_slow-drip", json=cancel)
        eventually(lambda: call("GET", log).json()["cancels"] == 1)
        os.killpg(started.process.pid, signal.SIGINT)
        assert answer.result(LIMIT).json()["status"] == "cancelled"
    assert started.process.wait(LIMIT) == 0
    assert "SIGKILL" not in started.errors()


def test_a_sandbox_alone_is_stopped_by_ctrl_c(start):
    started = start("sandbox", "--port", "0")
    started.shown_until("control")
    os.killpg(started.process.pid, signal.SIGINT)
    assert started.process.wait(LIMIT) == 0
    assert started.errors() == ""


def not_started(*arguments):
    """What a command that would serve for ever writes to standard error when it refuses to."""
    done = subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=LIMIT)
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    return done.stderr


def test_a_taken_port_is_one_sentence_and_exit_code_2(tmp_path):
    with listening() as taken, free_port() as free:
        message = not_started("sandbox", "--port", taken)
        assert re.fullmatch(rf"facade: The sandbox cannot listen on 127\.0\.0\.1, port {taken}: .*\n", message)
        expected = f"port {taken}: Address already in use; choose another with --host or --port"
        message = not_started("serve", "--config", SANDBOX, "--port", taken)
        assert message == f"facade: the facade cannot listen on 127.0.0.1, {expected}\n"
        path = tmp_path / "sandbox.toml"
        path.write_text(SANDBOX.read_text("utf-8").replace(":8081", f":{free}"), "utf-8")
        shutil.copy(SANDBOX.parent / "sandbox-key.txt", tmp_path)
        message = not_started("sandbox", "--port", free, "--serve", path, "--serve-port", taken)
        assert message == f"facade: port {taken} is in use; choose another for the facade with --serve-port\n"


def test_a_host_that_has_no_address_is_one_sentence(tmp_path):
    path = tmp_path / "facade.toml"
    text = SANDBOX.read_text("utf-8").replace('mode = "none"', 'mode = "api-key"')
    path.write_text(f'{text}\n[clients.me]\nkey_env = "FACADE_KEY_SCHEDULER"\nsources = ["*"]\n', "utf-8")
    shutil.copy(SANDBOX.parent / "sandbox-key.txt", tmp_path)
    (tmp_path / "sandbox-key.txt").chmod(0o600)
    message = not_started("serve", "--config", path, "--host", "nowhere.invalid")
    assert re.fullmatch(
        r"facade: the facade cannot listen on nowhere\.invalid, port 8080: .+; choose another .*\n", message
    )


def test_a_sandbox_without_a_configured_source_is_refused():
    with free_port() as port:
        message = not_started("sandbox", "--port", port, "--serve", SANDBOX)
    urls = f"http://127.0.0.1:{port}/fhir_r4 or http://127.0.0.1:{port}/heim"
    advice = "set it, or serve the sandbox at the port of its sources with --port"
    assert message == f"facade: {SANDBOX} has no source with the base_url {urls}; {advice}\n"


def test_the_facade_says_where_it_serves(start, tmp_path):
    started = start("serve", "--config", SANDBOX, "--port", "0")
    eventually(lambda: "\n" in started.errors())
    line = json.loads(started.errors().splitlines()[0])
    assert (line["event"], line["host"], line["workers"], line["sources"]) == (
        "serving",
        "127.0.0.1",
        1,
        ["fhir", "heim"],
    )
    assert call("GET", f"http://127.0.0.1:{line['port']}/health/ready").json() == {"status": "ready"}
    started.process.terminate()
    assert started.process.wait(LIMIT) == 0


def test_a_malformed_store_shows_no_traceback_in_a_process():
    url = "postgresql+psycopg://facade:s3cret@db:port/facade"
    done = subprocess.run([*COMMAND, "ledger", "list", "--store", url], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert done.stderr.startswith("facade: --store: is not a database URL; write one like")
    assert "s3cret" not in done.stdout + done.stderr
