"""One declaration per HTTP operation: everything about a route follows from the decorator on its view."""

import hashlib

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from facade.web import create_app
from facade.web.operation import GET, operation
from facade.web.operations import OPERATIONS
from tests.conftest import FacadeClient
from tests.support.paths import ROOT

ONLY_CANCELS = f'''
[clients.cancels]
key_sha256 = "{hashlib.sha256(b"cancel").hexdigest()}"
sources = ["heim"]
operations = ["cancel"]
'''
NEEDS = {("client", None): "a client", ("signature", None): "a signature", (None, None): "nothing"}


def readme_row(operation):
    needs = NEEDS.get((operation.credentials, operation.requires), f"a client that may `{operation.requires}`")
    return f"| `{operation.method} {operation.path}` | {operation.summary} | {needs} |"


def test_the_readme_has_the_declared_routes():
    readme = (ROOT / "README.md").read_text("utf-8")
    table = readme.partition("## Routes\n")[2].partition("\n\n")[0].splitlines()[2:]
    declared = [operation for operation in OPERATIONS if operation.documented]
    order = "/Appointment /ConceptMap /webhooks /metadata /openapi.json /health".split()
    declared.sort(key=lambda operation: [operation.path.startswith(path) for path in order], reverse=True)
    assert table == [readme_row(operation) for operation in declared]


@operation(GET, "/Slot/{sourceSystem}/{id}", requires="read", response="Ready", errors="UnknownSource")
def free_slot(source, appointment_id):
    """Free one slot of a named source. For a test."""
    return {"status": f"{source.name} {appointment_id}"}


def test_a_new_route_is_one_decorated_view(make):
    client = make(clients=ONLY_CANCELS)
    app = create_app(client.facade, (*OPERATIONS, free_slot))
    client = FacadeClient(app, client.facade)
    path = "/Slot/heim/s-1"
    assert client.request("GET", path).json == {"status": "heim s-1"}
    assert client.request("GET", path, key=None).status_code == 401
    assert client.request("GET", path, key="cancel").status_code == 403
    assert client.request("GET", "/Slot/nowhere/s-1").status_code == 404
    wrong_method = client.request("POST", path)
    assert (wrong_method.status_code, wrong_method.headers["Allow"]) == (405, "GET, HEAD")
    assert client.request("POST", path, key=None).status_code == 401
    assert client.request("POST", "/Slot/nowhere/s-1").status_code == 404
    document = client.request("GET", "/openapi.json").json
    OpenAPIV31SpecValidator(document).validate()
    found = document["paths"]["/Slot/{sourceSystem}/{id}"]["get"]
    assert (found["operationId"], found["summary"]) == ("free_slot", "Free one slot of a named source. For a test")
    assert found["security"] == [{"bearer": []}]
    assert set(found["responses"]) == {"200", "401", "403", "404", "405", "500"}
    assert "/Slot/{sourceSystem}/{id}" not in make().request("GET", "/openapi.json").json["paths"]


def test_two_operations_cannot_have_one_name(client):
    with pytest.raises(ValueError, match="two operations have the name free_slot"):
        create_app(client.facade, (*OPERATIONS, free_slot, free_slot))


@pytest.mark.parametrize("declaration", [{"requires": "move"}, {"requires": "read", "credentials": None}])
def test_a_client_operation_that_does_not_exist_is_rejected(declaration):
    with pytest.raises(ValueError, match="/x requires"):
        operation(GET, "/x", **declaration)
