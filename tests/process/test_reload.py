"""SIGHUP: a new configuration that is valid replaces the old one; any other changes nothing."""

import hashlib
import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from facade.cli.common.reloading import Served
from tests.conftest import HEIM_KEY, KEY
from tests.support.process import call, configuration, eventually
from tests.support.process import facade as running

NEW_KEY = "another-key-of-the-scheduler"
SECOND = f'[clients.second]\nkey_sha256 = "{hashlib.sha256(NEW_KEY.encode()).hexdigest()}"\nsources = ["*"]\n'


@pytest.fixture
def path(heim, tmp_path):
    return configuration(tmp_path, heim.source_url("heim"))


@pytest.fixture
def facade(path):
    with running(path) as process:
        yield process


def events(process, name):
    lines = [json.loads(line) for line in process.log().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


def status(process, key):
    headers = {"Authorization": f"Bearer {key}"}
    return call("GET", f"{process.url}/Appointment/heim/apt_1", headers=headers).status_code


def workers(process):
    """The process ids of the master's children."""
    children = subprocess.run(["ps", "-o", "pid=", "--ppid", str(process.pid)], capture_output=True, text=True)
    return {int(pid) for pid in children.stdout.split()}


@pytest.mark.parametrize(
    ("broken", "problem"),
    [
        (lambda text: text + "[[[", "is not TOML"),
        (lambda text: text.replace("HEIM_API_KEY", "HEIM_NOWHERE"), "HEIM_NOWHERE is not set"),
        (lambda text: text.replace('plugin = "heim"', 'plugin = "hiem"'), 'plugin "hiem" is not installed'),
        (
            lambda text: text.replace("[facade]", '[facade]\nstore = "sqlite:///other.db"'),
            "facade.store: cannot be changed by a reload",
        ),
        (
            lambda text: text.replace("[facade]", "[facade]\nhealth_port = 8082"),
            "facade.health_port: cannot be changed by a reload",
        ),
        (lambda _: None, "cannot be read"),
    ],
)
def test_a_broken_configuration_changes_nothing_and_is_logged(facade, path, broken, problem):
    text = path.read_text()
    before = workers(facade)
    if (new := broken(text)) is None:
        path.unlink()
    else:
        path.write_text(new)
    facade.signal(signal.SIGHUP)
    eventually(lambda: events(facade, "configuration-kept"))
    refusals = [line["problem"] for line in events(facade, "configuration-refused")]
    assert any(problem in refusal for refusal in refusals), facade.log()
    assert status(facade, KEY) == 200
    assert workers(facade) == before
    # A worker that is begun anew serves the last valid configuration, whatever the file holds by now.
    os.kill(min(before), signal.SIGKILL)
    eventually(lambda: workers(facade) and not workers(facade) & before)
    eventually(lambda: _answers(facade))
    assert status(facade, KEY) == 200
    path.write_text(text)
    facade.signal(signal.SIGHUP)
    eventually(lambda: events(facade, "configuration-reloaded"))
    eventually(lambda: _answers(facade))


def test_a_reload_takes_over_new_clients_and_lets_old_ones_go(facade, path):
    assert status(facade, NEW_KEY) == 401
    text = path.read_text()
    path.write_text(text + SECOND)
    facade.signal(signal.SIGHUP)
    eventually(lambda: _status(facade, NEW_KEY) == 200)
    assert status(facade, KEY) == 200
    path.write_text(text.replace('key_env = "FACADE_KEY_SCHEDULER"', SECOND.splitlines()[1]))
    facade.signal(signal.SIGHUP)
    eventually(lambda: _status(facade, KEY) == 401)
    assert status(facade, NEW_KEY) == 200


def test_a_key_in_a_file_is_read_again(facade, path, tmp_path):
    key = tmp_path / "heim-key"
    key.write_text(f"{HEIM_KEY}-2\n")
    key.chmod(0o600)
    path.write_text(path.read_text().replace('api_key_env = "HEIM_API_KEY"', 'api_key_file = "heim-key"'))
    facade.signal(signal.SIGHUP)
    eventually(lambda: events(facade, "configuration-reloaded"))
    eventually(lambda: _answers(facade))
    # The workers have it from the master: the file is not needed any more.
    key.unlink()
    before = workers(facade)
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: workers(facade) and not workers(facade) & before)
    eventually(lambda: _answers(facade))
    assert status(facade, KEY) == 200


def test_a_reload_refuses_mode_none_beyond_this_machine_too(path, monkeypatch):
    served = Served(path, None, "0.0.0.0")
    first = served.facade
    path.write_text(path.read_text().replace('mode = "api-key"', 'mode = "none"'))
    assert not served.reload()
    assert served.facade is first


def test_a_fault_in_a_plugin_during_a_reload_changes_nothing(path, monkeypatch):
    served = Served(path, None, "127.0.0.1")
    first = served.facade

    def fails(*_, **__):
        raise RuntimeError("anything")

    monkeypatch.setattr("facade.cli.common.reloading.assemble", fails)
    assert not served.reload()
    assert served.facade is first


def test_a_reloaded_facade_shares_no_thread_and_no_connection(path):
    served = Served(path, None, "127.0.0.1")
    one, other = served.facade.renewed(), served.facade.renewed()
    for mine, theirs in ((one, other), (one, served.facade)):
        assert mine.ledger.engine is not theirs.ledger.engine
        assert mine.sources["heim"].adapter is not theirs.sources["heim"].adapter
        assert mine.reconciler is not theirs.reconciler
    assert one.ledger.option == f"--config {Path(path).resolve()}"
    assert one.sources["heim"].mapping == served.facade.sources["heim"].mapping


def _answers(process):
    return _status(process, KEY) == 200


def _status(process, key):
    """None where a worker that ends has closed the connection meanwhile."""
    try:
        return status(process, key)
    except OSError:
        return None
