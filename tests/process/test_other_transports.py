"""A source that is not HTTP is served by the sandbox, counted by check, and refused with a reason elsewhere."""

import re
import socket
from contextlib import closing

import pytest
from click.testing import CliRunner
from facade_heim.simulator import HeimSimulator

from facade.cli import main
from facade.errors import ConfigurationError
from facade.testing.simulator.faults import FAULTS
from facade.testing.simulator.host import serve
from tests.support import line_source
from tests.support.line_source import LineSimulator
from tests.support.process import call, running
from tests.support.temporary_plugins import installed, on_the_path

SHOWN = [name for name, fault in FAULTS.items() if fault.behaviour in LineSimulator.behaviours]


@pytest.fixture
def install(tmp_path, monkeypatch):
    def install(*names):
        folder = installed(tmp_path / "site-packages", *names)
        monkeypatch.syspath_prepend(str(folder))
        return folder

    return install


def asked(address, line):
    """What a source in lines answers."""
    host, _, port = address.rpartition(":")
    with closing(socket.create_connection((host, int(port)), timeout=10)) as connection:
        connection.sendall(line + b"\n")
        return connection.makefile("rb").readline()


def control(host, method, path, **kwargs):
    return call(method, f"{host.url}/_control{path}", **kwargs)


def test_the_sandbox_serves_a_source_that_is_not_http(install):
    folder = install("line", "line-mute", "line-bare")
    with running(
        "sandbox",
        "--listen",
        "line=0",
        says=r"http://127\.0\.0\.1:(\d+)/_control",
        probe="/_control/time",
        env=on_the_path(folder),
    ) as sandbox:
        said = sandbox.log()
        address = re.search(r"^line +(127\.0\.0\.1:\d+)$", said, re.MULTILINE)[1]
        assert asked(address, b"GET key apt_500-before-commit").startswith(b"OK {")
        assert (
            'not served: the simulator of plugin "line-mute" is not HTTP and has no listener; '
            "write BareSimulator.listener\n" in said
        )
        assert 'not served: plugin "line-bare" declares no simulator\n' in said
        facts = call("GET", f"{sandbox.url}/_control/line/facts").json()
        assert facts == {
            "address": address,
            "faults": SHOWN,
            "capabilities": {"read": "full", "versionedWrites": "full"},
        }
        made = call("POST", f"{sandbox.url}/_control/line/appointments", json={}).json()["id"]
        asked(address, f"CANCEL key {made} OTHER 0".encode())
        assert call("GET", f"{sandbox.url}/_control/line/log?appointment={made}").json()["cancels"] == 1


def test_a_fault_that_a_transport_cannot_show_is_not_armed():
    simulator = LineSimulator()
    assert simulator.fault_ids().keys() >= {"apt_html-404"}
    with serve({"line": simulator, "heim": HeimSimulator()}) as host:
        assert {armed.fault.name for armed in simulator.faults} == set(SHOWN)
        listen = {"appointment": "apt_refused", "fault": "html-404"}
        refused = control(host, "POST", "/line/faults", json=listen)
        assert refused.status_code == 400
        assert refused.json()["error"] == (
            '"line" cannot show a source that is hidden behind a gateway\'s HTML 404. Use another fault: '
            "GET /_control/line/facts names them."
        )
        assert control(host, "GET", "/line/facts").json() == {
            "address": host.source_url("line"),
            "faults": SHOWN,
            "capabilities": None,
        }
        assert control(host, "GET", "/heim/facts").json()["faults"] == list(FAULTS)


def test_a_non_http_simulator_without_a_listener_is_refused():
    class Mute(LineSimulator):
        listener = line_source.BareSimulator.listener

    sentence = "the simulator of line is not HTTP and has no listener; write BareSimulator.listener"
    with pytest.raises(ConfigurationError, match=sentence), serve({"line": Mute()}):
        pass


def test_a_listeners_port_that_is_taken_is_one_sentence():
    with (
        closing(socket.create_server(("127.0.0.1", 0))) as taken,
        pytest.raises(ConfigurationError, match="the simulator of line cannot listen on "),
        serve({"line": LineSimulator()}, ports={"line": taken.getsockname()[1]}),
    ):
        pass


@pytest.mark.parametrize(
    ("listen", "message"),
    [
        ("heim=1", "--listen heim=1: name a source system that is not HTTP (line)"),
        ("line=x", "--listen line=x: the port is 0 to 65535, for example line=2575"),
        ("line", "--listen line: the port is 0 to 65535, for example line=2575"),
    ],
)
def test_a_port_is_given_to_a_source_that_is_not_http_only(install, listen, message):
    install("line")
    done = CliRunner().invoke(main, ["sandbox", "--port", "0", "--listen", listen])
    assert (done.exit_code, message in done.stderr) == (2, True), done.output


def test_check_counts_the_faults_that_the_simulator_can_show(install):
    install("line", "line-mute")
    behaves = f"shows {len(SHOWN)} of {len(FAULTS)} faults"
    said = CliRunner().invoke(main, ["check", "--plugin", "line"]).stdout
    assert re.search(rf"^line +simulator +{behaves}$", said, re.MULTILINE)
    said = CliRunner().invoke(main, ["check", "--plugin", "line-mute"]).stdout
    left_out = "the sandbox does not serve it: it is not HTTP and has no listener"
    assert re.search(rf"^line-mute +simulator +warning: {behaves}; {left_out}$", said, re.MULTILINE)
