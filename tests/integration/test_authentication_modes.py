"""One class per authentication mode: everything about a mode follows from its Authenticator."""

import re
from typing import ClassVar

import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from facade.errors import ConfigurationError, Unauthenticated
from facade.web import auth
from facade.web.auth.authenticator import Authenticator
from tests.support.paths import ROOT


class ByName(Authenticator):
    """Takes the name of a client for its credentials."""

    mode = "by-name"
    capability_text = "A name."
    security_schemes: ClassVar = {"name": {"type": "apiKey", "in": "header", "name": "X-Name"}}

    def __init__(self, config):
        self._clients = {client.name: client for client in config.clients}

    @classmethod
    def config_problems(cls, document):
        if "scheduler" not in document["clients"]:
            yield "clients: by-name needs a scheduler"

    def authenticate(self, request):
        try:
            return self._clients[request.headers["X-Name"]]
        except KeyError:
            raise Unauthenticated("Send a name.", headers={"WWW-Authenticate": "Name"}) from None


def test_an_authentication_mode_is_one_class_and_one_line(make, monkeypatch):
    edits = {'mode = "api-key"': 'mode = "by-name"'}
    with pytest.raises(ConfigurationError, match=r'^auth\.mode: must be "api-key" or "none"$'):
        make(**edits)
    monkeypatch.setitem(auth.AUTHENTICATORS, ByName.mode, ByName)
    with pytest.raises(ConfigurationError, match="by-name needs a scheduler"):
        make(**edits, **{"clients.scheduler": "clients.other"})
    client = make(**edits)
    assert client.read("apt_1", key=None, headers={"X-Name": "scheduler"}).status_code == 200
    rejected = client.read("apt_1", headers={"X-Name": "unknown"})
    assert (rejected.status_code, rejected.headers["WWW-Authenticate"]) == (401, "Name")
    document = client.request("GET", "/openapi.json").json
    OpenAPIV31SpecValidator(document).validate()
    assert document["paths"]["/Appointment/{id}"]["get"]["security"] == [{"name": []}]
    assert set(document["components"]["securitySchemes"]) == {"name", "webhookSignature"}
    assert client.request("GET", "/metadata").json["rest"][0]["security"] == {"description": "A name."}


def test_only_the_modes_themselves_compare_their_words():
    for path in (ROOT / "facade").rglob("*.py"):
        if path.parent.name != "auth":
            assert not re.search(r'auth_mode\s*(==|!=|in\b)|mode\W+(==|!=) "(none|api-key)"', path.read_text()), path
