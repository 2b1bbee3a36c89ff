"""The description is true of every route, status and header, and Swagger UI needs nothing from elsewhere."""

import contextlib
import hashlib
import io
import os
import re
import subprocess
import sys
from typing import Any
from unittest import mock

import pytest
from facade_heim.simulator import HeimSimulator
from jsonschema import Draft202012Validator
from openapi_spec_validator import OpenAPIV31SpecValidator

from facade.fhir import validation
from facade.plugin.configured_source import ConfiguredSource
from facade.testing.simulator.faults import Timings
from facade.testing.simulator.host import serve
from facade.web import create_app
from facade.web.operations import OPERATIONS, api_description
from tests.conftest import KEY, remember
from tests.integration.test_webhooks import SECRET, about, signed
from tests.support.paths import ROOT
from tests.support.process import configuration, facade
from tests.support.stores import locked

pytestmark = pytest.mark.timeout(400)  # Schemathesis, which ends after 300 s

BARE = '{"resourceType": "Appointment", "status": "cancelled"}'
# Clients that may do one thing each; their keys are their names.
CLIENTS = "\n".join(
    f'[clients.{name}]\nkey_sha256 = "{hashlib.sha256(name.encode()).hexdigest()}"\nsources = ["heim"]\n'
    f'operations = ["{name}"]'
    for name in ("read", "cancel")
)
WEBHOOK = 'webhook_secret_env = "HEIM_WEBHOOK_SECRET"'


@pytest.fixture
def client(make, monkeypatch):
    monkeypatch.setenv("HEIM_WEBHOOK_SECRET", SECRET)
    return make(clients=CLIENTS, settings=WEBHOOK)


def described(client):
    return client.request("GET", "/openapi.json", key=None).json


def followed(document, value):
    """What a $ref leads to."""
    while "$ref" in value:
        found = document
        for step in value["$ref"].removeprefix("#/").split("/"):
            found = found[step]
        value = found
    return value


def operations(document):
    """Path, method and operation of each."""
    for path, item in document["paths"].items():
        for method in item.keys() & {"get", "post"}:
            yield path, method.upper(), item[method]


def problems(document, schema, value):
    schema = {**schema, "components": document["components"]}
    return [error.message for error in Draft202012Validator(schema).iter_errors(value)]


# The document


@pytest.mark.parametrize("base_path", ["", "/fhir/r4"])
def test_the_document_is_valid_openapi_3_1(make, base_path):
    document = described(make(facade=f'base_path = "{base_path}"'))
    assert re.fullmatch(r"3\.1\.\d", document["openapi"])
    OpenAPIV31SpecValidator(document).validate()


def test_every_route_is_described_with_its_methods_or_a_page(client):
    document = described(client)
    paths = {(re.sub(r"\{\w+\}", "{}", path), method) for path, method, _ in operations(document)}
    rules = list(create_app(client.facade).url_map.iter_rules())
    for_people = {operation.name for operation in OPERATIONS if not operation.documented}
    served = {
        (re.sub(r"<\w+>", "{}", rule.rule), method)
        for rule in rules
        for method in rule.methods - {"HEAD"}
        if rule.endpoint not in for_people
    }
    assert paths == served
    assert for_people
    assert {rule.endpoint for rule in rules} >= for_people


def test_only_fhir_routes_are_under_the_base_path(make):
    paths = set(described(make(facade='base_path = "/fhir/r4"'))["paths"])
    fhir = "/Appointment/{sourceSystem}/{id} /Appointment/{id} /ConceptMap/{sourceSystem} /metadata".split()
    others = "/openapi.json /health/live /health/ready /webhooks/{sourceSystem}".split()
    assert paths == {*(f"/fhir/r4{path}" for path in fhir), *others}


NORTH = """
[sources.north]
plugin = "heim"
base_url = "http://127.0.0.1:9/north"
api_key_env = "HEIM_API_KEY"
environment = "test"
"""


def test_single_source_routes_are_described_if_served(make):
    several = make(more=NORTH)
    assert "/Appointment/{id}" not in described(several)["paths"]
    assert several.request("POST", "/Appointment/apt_1", data=BARE).status_code == 404
    assert "/Appointment/{id}" in described(make(more=NORTH, facade='default_source = "north"'))["paths"]


def test_no_configured_source_is_named_and_no_key_is_needed(make):
    client = make(more=NORTH, facade='default_source = "north"')
    answer = client.request("GET", "/openapi.json", key=None)
    assert answer.status_code == 200
    assert not re.search("heim|north", answer.text, re.IGNORECASE)
    assert answer.data == client.request("GET", "/openapi.json").data
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Request-Id"]


def test_a_key_is_described_exactly_where_one_is_needed(client, make):
    secured = {(path, method): operation["security"] for path, method, operation in operations(described(client))}
    for (path, method), security in secured.items():
        status = client.request(method, path.replace("{sourceSystem}", "heim"), key=None, data=BARE).status_code
        assert (status == 401) == bool(security), path
    anybody = make(**{'mode = "api-key"': 'mode = "none"'})
    for path, _, operation in operations(described(anybody)):
        assert operation["security"] == ([{"webhookSignature": []}] if "webhooks" in path else []), path


# Examples


def test_every_request_example_cancels_as_it_stands(client):
    document = described(client)
    content = document["paths"]["/Appointment/{id}"]["post"]["requestBody"]["content"]
    assert set(content) == {"application/fhir+json", "application/json"}
    for media_type, shown in content.items():
        for example in shown["examples"].values():
            assert problems(document, shown["schema"], example["value"]) == []
            answer = client.cancel("apt_1", example["value"], headers={"Content-Type": media_type})
            assert answer.json["status"] == "cancelled"


def test_every_status_of_every_operation_has_valid_examples(client):
    document = described(client)
    seen = []
    for path, _, operation in operations(document):
        for status, response in operation["responses"].items():
            for shown in followed(document, response).get("content", {}).values():
                assert shown["examples"], (path, status)
                for example in shown["examples"].values():
                    assert path == "/openapi.json" or problems(document, shown["schema"], example["value"]) == []
                    seen.append(example["value"])
    for resource in seen:
        if "resourceType" in resource:
            remember(resource)
        if resource.get("resourceType") == "Appointment":
            assert validation.find_problems(resource) == []
    kinds = {resource.get("resourceType") for resource in seen}
    assert kinds == {"Appointment", "OperationOutcome", "ConceptMap", "CapabilityStatement", None}


# Every status of every operation, provoked


class Late(io.RawIOBase):
    """A body that does not come in time."""

    def readable(self):
        return True

    def readinto(self, _):
        raise TimeoutError


def provoked(client, path, method, status):
    """The answer of this status, from a request that asks for it."""
    appointment = "Appointment" in path
    target = path.replace("{sourceSystem}", "heim").replace("{id}", "apt_1")
    request: dict[str, Any] = {"headers": {}}
    if method == "POST":
        request["data"] = BARE if appointment else about("apt_3" if status == "503" else "apt_1").decode()
    if "webhooks" in path and status != "401":
        body = b"{" if status == "400" else request["data"].encode()
        request |= {"data": body, "headers": signed(body)}
    if status == "400" and appointment:
        request["data"] = "{"
    if status == "401":
        request["key"] = None
    if status == "403":
        request["key"] = "cancel" if method == "GET" else "read"
    if status == "404":
        target = target.replace("apt_1", "apt_no-such") if appointment else target.replace("heim", "nowhere")
    if status == "405":
        return client.request("DELETE", target)
    if status == "406":
        request["headers"] = {"Accept": "text/html"}
    if status == "408":
        request["environ_overrides"] = {"wsgi.input": Late(), "wsgi.input_terminated": True}
    if status == "412":
        target, request["headers"] = target.replace("apt_1", "apt_2"), {"If-Match": 'W/"7"'}
    if status == "413":
        request["data"] = " " * (64 * 1024 + 1)
    if status == "415":
        request["headers"] = {"Content-Type": "text/plain"}
    if status == "422":
        request["data"] = '{"resourceType": "Appointment"}'
    if status == "503" and method == "GET":
        target = target.replace("apt_1", "apt_read-500")
    if status == "500":
        return broken(client, method, target, request)
    if status == "501":
        with mock.patch.object(ConfiguredSource, "readable", False):
            return client.request(method, target.replace("apt_1", "apt_9"), **request)
    with locked(client.facade.ledger) if status == "503" else contextlib.nullcontext():
        return client.request(method, target, **request)


def broken(client, method, target, request):
    """What any view's bug is answered with."""
    app = client.app
    views = dict(app.view_functions)
    app.view_functions.update(dict.fromkeys(views, lambda **_: 1 / 0))
    try:
        return client.request(method, target, **request)
    finally:
        app.view_functions.update(views)


def test_every_described_status_occurs_as_described(client):
    document = described(client)
    client.cancel("apt_3")  # the first hint about it is worth a line in the ledger
    count = 0
    for path, method, operation in operations(document):
        for status, response in operation["responses"].items():
            where = (method, path, status)
            response = followed(document, response)
            answer = provoked(client, path, method, status)
            assert str(answer.status_code) == status, where
            count += 1
            for name, header in response["headers"].items():
                header = followed(document, header)
                assert name in answer.headers or not header["required"], (where, name)
                if name in answer.headers:
                    value = answer.headers[name]
                    value = int(value) if header["schema"]["type"] == "integer" else value
                    assert problems(document, header["schema"], value) == [], (where, name)
            if "content" not in response:
                assert answer.data == b"", where
                continue
            shown = response["content"][answer.mimetype]
            assert problems(document, shown["schema"], answer.json) == [], where
            if int(status) >= 400:
                assert answer.json in [example["value"] for example in shown["examples"].values()], where
    assert count > 60


# What Schemathesis found


def test_another_method_on_an_open_path_is_405_without_a_key(client):
    for path in ("/metadata", "/health/live", "/health/ready", "/openapi.json", "/docs/", "/webhooks/heim"):
        answer = client.request("DELETE", path, key=None)
        assert answer.status_code == 405, path
        assert "DELETE" not in answer.headers["Allow"]
    unknown = client.request("DELETE", "/webhooks/nowhere", key=None)
    assert unknown.data == client.request("DELETE", "/webhooks/heim", key=None).data
    assert client.request("DELETE", "/Appointment/heim/apt_1", key=None).status_code == 401


def test_an_empty_format_asks_for_none(client):
    document = described(client)
    assert "" in document["components"]["parameters"]["format"]["schema"]["enum"]
    assert client.request("GET", "/metadata?_format=").status_code == 200


def test_a_version_in_if_match_is_described_as_it_is_read(client):
    schema = described(client)["components"]["parameters"]["ifMatch"]["schema"]
    for value in ("*", 'W/"0"', '"0"', 'W/"7", W/"0"', client.read("apt_1").headers["ETag"]):
        assert Draft202012Validator(schema).is_valid(value)
        assert client.cancel("apt_1", headers={"If-Match": value}).status_code == 200
    for value in ("0", 'W/"0', ""):
        assert not Draft202012Validator(schema).is_valid(value)
        assert client.cancel("apt_2", headers={"If-Match": value}).status_code == 400


@pytest.fixture(scope="module")
def process(tmp_path_factory):
    """A facade process in front of a Heim that behaves."""
    folder = tmp_path_factory.mktemp("openapi")
    env = {**os.environ, "HEIM_WEBHOOK_SECRET": SECRET, "FACADE_KEY_SCHEDULER": KEY, "HEIM_API_KEY": "test_key"}
    with serve({"heim": HeimSimulator()}, timings=Timings(late_commit=0.1)) as host:
        path = configuration(folder, host.source_url("heim"))
        path.write_text(path.read_text("utf-8").replace("[sources.heim]", f"[sources.heim]\n{WEBHOOK}"), "utf-8")
        with facade(path, env) as found:
            yield found


@pytest.mark.parametrize(("who", "key"), [("the scheduler", KEY), ("no one", "key-that-no one-has")])
def test_schemathesis_finds_nothing_with_all_its_checks(process, tmp_path, who, key):
    config = ROOT / "tests" / "support" / "schemathesis.toml"
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "run"]
    done = subprocess.run(
        [*command, f"{process.url}/openapi.json", "--checks", "all", "--no-color"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "FACADE_CLIENT_KEY": key},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"Selected: 9/9\s+Tested: 9", done.stdout), done.stdout
    assert len(re.findall(r"^  ✅ (?:Examples|Coverage|Fuzzing|Stateful)$", done.stdout, re.MULTILINE)) == 4
    if who == "the scheduler":
        # Nor a warning: a run that never got past a 401 or a 404 has tested nothing.
        assert "No issues found" in done.stdout, done.stdout
    assert int(re.search(r"(\d+) generated, \1 passed", done.stdout)[1]) > 1000


# Swagger UI


def test_swagger_ui_loads_packaged_files_only(make):
    client = make(facade='base_path = "/fhir/r4"')
    with client.request("GET", "/docs/", key=None) as page:
        html, policy = page.text, page.headers["Content-Security-Policy"]
    assert page.mimetype == "text/html"
    assert "default-src 'none'" in policy
    assert "http" not in policy
    names = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert {"swagger-ui.css", "swagger-ui-bundle.js", "start.js"} < set(names)
    for name in names:
        with client.request("GET", f"/docs/{name}", key=None) as asset:
            assert asset.status_code == 200, name
            assert asset.headers["Cache-Control"] == "no-store"
            assert asset.headers["Content-Security-Policy"] == policy
            assert asset.headers["X-Request-Id"]
    with client.request("GET", "/docs/start.js", key=None) as script:
        start = script.text
    assert 'url: "../openapi.json"' in start
    assert "validatorUrl: null" in start
    assert "://" not in start + html


def test_docs_without_its_slash_works_behind_any_proxy(client):
    answer = client.request("GET", "/docs", key=None)
    assert (answer.status_code, answer.headers["Location"]) == (308, "docs/")


@pytest.mark.parametrize("name", ["swagger-ui.js", "nothing", "..", "%2e%2e", "..%5cdocument.py", "__init__.py"])
def test_no_other_file_is_served(client, name):
    answer = client.request("GET", f"/docs/{name}", key=None)
    assert answer.status_code == 404
    assert answer.json["resourceType"] == "OperationOutcome"


def test_a_part_of_a_file_that_does_not_exist_is_no_bug(client):
    with client.request("GET", "/docs/start.js", key=None, headers={"Range": "bytes=999999-"}) as answer:
        assert answer.status_code == 200


def test_without_swagger_ui_docs_names_the_extra_to_install(client, monkeypatch):
    monkeypatch.setattr(api_description, "find_spec", lambda _: None)
    answer = client.request("GET", "/docs/", key=None)
    assert answer.status_code == 404
    assert "fhir-facade[docs]" in answer.json["issue"][0]["details"]["text"]
    assert client.request("GET", "/openapi.json", key=None).status_code == 200
