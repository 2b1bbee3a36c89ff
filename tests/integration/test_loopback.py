"""Without authentication only programs on this machine are served: no foreign page, no rebound name, no proxy."""

import json
import re
import socket

import pytest
from click.testing import CliRunner
from facade_heim.simulator import HeimSimulator

from facade import loopback
from facade.cli import main
from facade.cli.common import sandbox_serving
from facade.errors import ConfigurationError
from facade.testing.simulator.host import serve
from tests.support.process import call, exchange

OPEN = "/metadata /health/live /health/ready /openapi.json /docs/ /ConceptMap/heim /nowhere".split()
JSON = {"Content-Type": "application/json"}
ALLOWED = "https://app.example"

LOCAL = {
    "the address": {"Host": "127.0.0.1"},
    "the address and a port": {"Host": "127.0.0.1:8080"},
    "the name": {"Host": "localhost:8080"},
    "mixed case": {"Host": "LocalHost:8080"},
    "the name with its dot": {"Host": "localhost.:8080"},
    "IPv6": {"Host": "[::1]:8080"},
    "IPv6 without a port": {"Host": "[::1]"},
    "IPv6 in full": {"Host": "[0:0:0:0:0:0:0:1]:8080"},
    "a page of this machine": {"Origin": "http://localhost:3000"},
    "a page of this machine, IPv6": {"Origin": "http://[::1]:3000"},
    "a page that is allowed": {"Origin": ALLOWED},
    "a page that is allowed, written otherwise": {"Origin": "HTTPS://App.Example:443"},
}
FOREIGN = {
    "a rebound name": ("Host", {"Host": "rebind.example"}),
    "a rebound name and our port": ("Host", {"Host": "rebind.example:8080"}),
    "a rebound name with a dot": ("Host", {"Host": "rebind.example."}),
    "a name that begins like ours": ("Host", {"Host": "localhost.rebind.example"}),
    "a name that ends like ours": ("Host", {"Host": "rebind-localhost"}),
    "an address that begins like ours": ("Host", {"Host": "127.0.0.1.rebind.example"}),
    "another address": ("Host", {"Host": "192.0.2.1"}),
    "any address": ("Host", {"Host": "0.0.0.0:8080"}),
    "another IPv6 address": ("Host", {"Host": "[2001:db8::1]:8080"}),
    "IPv6 without brackets": ("Host", {"Host": "::1"}),
    "credentials": ("Host", {"Host": "localhost@rebind.example"}),
    "two hosts": ("Host", {"Host": "127.0.0.1, rebind.example"}),
    "an empty host": ("Host", {"Host": ""}),
    "a foreign page": ("Origin", {"Origin": "https://evil.example"}),
    "a foreign page that begins like ours": ("Origin", {"Origin": "http://localhost.evil.example"}),
    "a page without a place": ("Origin", {"Origin": "null"}),
    "a file": ("Origin", {"Origin": "file://"}),
    "an extension": ("Origin", {"Origin": "chrome-extension://localhost"}),
    "the allowed page by http": ("Origin", {"Origin": "http://app.example"}),
    "the allowed page at another port": ("Origin", {"Origin": f"{ALLOWED}:8443"}),
    "a page below the allowed one": ("Origin", {"Origin": "https://evil.app.example"}),
    "a proxy's standard header": ("Forwarded", {"Forwarded": "for=192.0.2.1"}),
    "a proxy's client": ("X-Forwarded-For", {"X-Forwarded-For": "127.0.0.1"}),
    "a proxy's host": ("X-Forwarded-Host", {"X-Forwarded-Host": "localhost"}),
    "a proxy's scheme": ("X-Forwarded-Proto", {"x-forwarded-proto": "http"}),
    "a proxy's own header": ("X-Forwarded-Anything", {"X-FORWARDED-ANYTHING": "1"}),
    "a proxy's name": ("Via", {"Via": "1.1 proxy"}),
}


@pytest.fixture
def client(make):
    """A facade without authentication."""
    edits = {'mode = "api-key"': f'mode = "none"\nallowed_origins = ["{ALLOWED}"]'}
    return make(answer_within=2.0, **edits)


@pytest.fixture(scope="module")
def sandbox():
    with serve({"heim": HeimSimulator()}, allowed_origins=[ALLOWED]) as host:
        yield host


def refused(response, header):
    assert response.status_code == 403
    outcome = response.json
    assert (outcome["resourceType"], outcome["issue"][0]["code"]) == ("OperationOutcome", "forbidden")
    text = outcome["issue"][0]["details"]["text"]
    assert re.match(rf"The header {header} [^;]+; \S.*\.$", text), text


# The facade


@pytest.mark.parametrize("headers", LOCAL.values(), ids=LOCAL)
def test_a_local_program_and_an_allowed_page_are_served(client, headers):
    assert client.cancel("apt_1", key=None, headers=headers).json["status"] == "cancelled"


@pytest.mark.parametrize(("header", "headers"), FOREIGN.values(), ids=FOREIGN)
def test_a_foreign_page_and_a_proxy_are_refused(client, simulator, header, headers):
    refused(client.cancel("apt_1", key=None, headers=headers), header)
    refused(client.read("apt_1", key=None, headers=headers), header)
    assert simulator.log.entries() == []


@pytest.mark.parametrize("path", OPEN)
def test_no_path_is_served_to_a_foreign_page(client, path):
    refused(client.request("GET", path, key=None, headers={"Host": "rebind.example"}), "Host")
    refused(client.request("OPTIONS", path, key=None, headers={"Origin": "https://evil.example"}), "Origin")


def test_a_request_without_a_host_is_refused(client):
    refused(client.request("GET", "/metadata", key=None, environ_overrides={"HTTP_HOST": ""}), "Host")
    missing = loopback.reject_reason([("Accept", "*/*")], target="/", allowed_origins=(), setting="x")
    assert missing == "The header Host is missing; send the name of the server: 127.0.0.1, [::1] or localhost."


def test_the_host_in_the_requests_target_counts_too(client):
    other = {"RAW_URI": "http://rebind.example/metadata"}
    refused(client.request("GET", "/metadata", key=None, environ_overrides=other), "Host")
    ours = {"RAW_URI": "http://localhost:8080/metadata"}
    assert client.request("GET", "/metadata", key=None, environ_overrides=ours).status_code == 200


def test_with_keys_a_name_and_a_proxy_are_nobodys_business(make):
    headers = {"Host": "facade.example", "X-Forwarded-For": "192.0.2.1", "Via": "1.1 proxy", "Origin": "null"}
    assert make(answer_within=2.0).cancel("apt_1", headers=headers).json["status"] == "cancelled"


def test_the_description_has_the_refusal_where_it_can_happen(client, make):
    described = client.request("GET", "/openapi.json", key=None).json
    for path in described["paths"].values():
        for operation in path.values():
            assert operation["responses"]["403"] == {"$ref": "#/components/responses/NotLocal"}
    with_keys = make().request("GET", "/openapi.json").json["paths"]
    assert "403" not in with_keys["/metadata"]["get"]["responses"]


# The setting


def test_an_allowed_origin_is_written_one_way(client):
    assert client.facade.config.allowed_origins == {ALLOWED}
    assert loopback.origin("HTTP://Host:80") == "http://host"
    assert loopback.origin("http://[::1]:3000") == "http://[::1]:3000"


@pytest.mark.parametrize(
    "wrong",
    ["*", "null", "app.example", "https://app.example/", "https://app.example/x", "https://a@b", "https://a:65536", ""],
)
def test_what_is_no_origin_is_refused_at_start(make, wrong):
    edits = {'mode = "api-key"': f'mode = "none"\nallowed_origins = ["{wrong}"]'}
    with pytest.raises(ConfigurationError) as refusal:
        make(**edits)
    (problem,) = refusal.value.problems
    assert re.match(r"auth\.allowed_origins.*: must be an origin without a path, like https://", problem)


def test_a_wrong_origin_for_the_sandbox_is_a_wrong_call():
    result = CliRunner().invoke(main, ["sandbox", "--port", "0", "--allowed-origin", "https://a/b"])
    assert result.exit_code == 2
    assert "--allowed-origin must be an origin without a path" in result.stderr


# The sandbox


def ask(sandbox, method, path, headers, body=""):
    address = ("127.0.0.1", int(sandbox.url.rpartition(":")[2]))
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    head = "\r\n".join([*lines, f"Content-Length: {len(body)}", "Connection: close", "", ""])
    status, _, answer = exchange(address, (head + body).encode())
    return status, json.loads(answer)


@pytest.mark.parametrize("headers", LOCAL.values(), ids=LOCAL)
def test_the_sandbox_serves_local_programs_and_allowed_pages(sandbox, headers):
    headers = {"Host": "127.0.0.1", **JSON, **headers}
    assert ask(sandbox, "POST", "/_control/reset", headers, "{}") == (200, {"reset": ["heim"]})
    status, native = ask(sandbox, "GET", "/heim/v1/appointments/apt_1", {**headers, "Authorization": "test_x"})
    assert (status, native["id"]) == (200, "apt_1")


@pytest.mark.parametrize(("header", "headers"), FOREIGN.values(), ids=FOREIGN)
def test_the_sandbox_refuses_a_foreign_page_and_a_proxy(sandbox, header, headers):
    sandbox.reset()
    headers = {"Host": "127.0.0.1", **JSON, "Authorization": "test_x", **headers}
    for method, path, body in (
        ("GET", "/_control/heim/log", ""),
        ("POST", "/_control/reset", "{}"),
        ("GET", "/heim/v1/appointments/apt_1", ""),
        ("POST", "/heim/v1/appointments/apt_1/cancel", "{}"),
        ("GET", "/nowhere", ""),
    ):
        status, answer = ask(sandbox, method, path, headers, body)
        assert status == 403
        assert re.match(rf"The header {header} [^;]+; \S.*\.$", answer["error"], re.IGNORECASE), answer
    assert sandbox.simulators["heim"].log.entries() == []


@pytest.mark.parametrize("path", ["/_control/time", "/heim/v1/appointments/apt_1"])
def test_the_sandbox_refuses_a_request_without_a_host(sandbox, path):
    status, answer = ask(sandbox, "GET", path, {"Authorization": "test_x"})
    assert (status, answer["error"][:26]) == (403, "The header Host is missing")


@pytest.mark.parametrize("kind", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", None])
@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/reset", ""),
        ("/heim/faults", '{"appointment": "apt_1", "fault": "html-404"}'),
        ("/heim/appointments", "{}"),
        ("/heim/appointments/apt_1/move", '{"seconds": 60}'),
    ],
)
def test_a_cross_site_form_post_does_not_change_the_sandbox(sandbox, kind, path, body):
    simulator = sandbox.simulators["heim"]
    simulator.put("apt_kept", {"id": "apt_kept"})
    revision, armed = simulator.revision, len(list(simulator.faults))
    headers = {"Host": "127.0.0.1", **({"Content-Type": kind} if kind else {})}
    status, answer = ask(sandbox, "POST", f"/_control{path}", headers, body)
    assert status == 403
    assert "Content-Type" in answer["error"]
    assert "Send Content-Type: application/json" in answer["error"]
    assert (simulator.revision, len(list(simulator.faults))) == (revision, armed)


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
def test_a_body_of_another_kind_does_not_change_an_appointment(sandbox, method):
    headers = {"Host": "127.0.0.1", "Content-Type": "text/plain"}
    assert ask(sandbox, method, "/_control/heim/appointments/apt_1", headers, "{}")[0] == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_a_body_in_chunks_is_a_body(sandbox, method):
    chunks = iter([b'{"time": "2031-01-01T00:00:00Z"}'])
    headers = {"Content-Type": "text/plain"}
    assert call(method, f"{sandbox.url}/_control/time", data=chunks, headers=headers).status_code == 403


def test_json_with_a_charset_is_json(sandbox):
    headers = {"Content-Type": "Application/JSON; charset=utf-8"}
    assert call("POST", f"{sandbox.url}/_control/reset", data="{}", headers=headers).status_code == 200


def test_the_sandbox_answers_on_ipv6_loopback():
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            pass
    except OSError:
        pytest.skip("this machine has no IPv6 loopback")
    with serve({"heim": HeimSimulator()}, host="::1") as host:
        assert call("GET", f"{host.url}/_control/time").status_code == 200


def test_the_shells_commands_still_reach_the_sandbox(sandbox):
    for arguments in (["reset"], ["new", "heim"], ["arm", "heim", "apt_1", "html-404"], ["time", "--real"]):
        result = CliRunner().invoke(main, ["sandbox", *arguments, "--url", sandbox.url])
        assert result.exit_code == 0, result.output


def test_the_sandbox_allows_its_option_and_the_facades_origins(tmp_path, make, monkeypatch):
    make(**{'mode = "api-key"': f'mode = "none"\nallowed_origins = ["{ALLOWED}"]'})
    seen = []

    def not_served(*_, allowed_origins, **__):
        seen.append(allowed_origins)
        raise KeyboardInterrupt

    monkeypatch.setattr(sandbox_serving, "serve", not_served)
    given = ["--serve", str(tmp_path / "facade.toml"), "--allowed-origin", "http://Other:80"]
    CliRunner().invoke(main, ["sandbox", *given])
    assert seen == [{ALLOWED, "http://other"}]
