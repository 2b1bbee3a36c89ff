"""Write the HTTP API, from the OpenAPI document that the facade serves."""

import contextlib
import io
import json
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from facade import app
from facade.web import create_app
from generated.markdown import table


def http_api() -> Iterator[str]:
    """The operations of the OpenAPI document that the facade serves."""
    document = _openapi()
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            yield f"## {method.upper()} {path}"
            yield ""
            yield f"{operation['summary']}."
            yield ""
            needs = [name for scheme in operation["security"] for name in scheme]
            yield f"Credentials: {_credentials(document, needs)}"
            yield ""
            yield from table(
                ("Parameter", "In", "Meaning"),
                (
                    (f"`{parameter['name']}`", parameter["in"], parameter.get("description", ""))
                    for parameter in (_resolve(document, one) for one in operation["parameters"])
                ),
            )
            if "requestBody" in operation:
                body = _resolve(document, operation["requestBody"])
                yield f"Request body: {', '.join(f'`{kind}`' for kind in body['content'])}"
                yield ""
                yield from _example(document, body)
            yield from table(
                ("Status", "Response"),
                (
                    (f"`{status}`", _resolve(document, response)["description"])
                    for status, response in sorted(operation["responses"].items())
                ),
            )


_CONFIGURATION = """
facade = {default_source = "heim"}
clients.docs = {key_sha256 = "1111111111111111111111111111111111111111111111111111111111111111", sources = ["*"]}
sources.heim = {plugin = "heim", environment = "test", api_key_file = "key.txt"}
"""


def _openapi() -> dict[str, Any]:
    # With clients' keys and a default source, so that credentials and the single-source routes are described.
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "key.txt").write_text("test_key")
        (folder / "facade.toml").write_text(_CONFIGURATION)
        built = app.assemble(folder / "facade.toml")
        with contextlib.redirect_stdout(io.StringIO()):  # the request's log line
            text = create_app(built).test_client().get("/openapi.json").text
        built.ledger.engine.dispose()
    document: dict[str, Any] = json.loads(text)
    return document


def _resolve(document: Mapping[str, Any], described: Mapping[str, Any]) -> Mapping[str, Any]:
    while "$ref" in described:
        part: Any = document
        for name in described["$ref"].removeprefix("#/").split("/"):
            part = part[name]
        described = part
    return described


def _credentials(document: Mapping[str, Any], names: list[str]) -> str:
    if not names:
        return "none."
    schemes = document["components"]["securitySchemes"]
    return " ".join(f"`{name}`: {schemes[name].get('description', 'HTTP bearer')}" for name in names)


def _example(document: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[str]:
    for content in body["content"].values():
        for example in content.get("examples", {}).values():
            value = _resolve(document, example)["value"]
            yield "```json"
            yield json.dumps(value, indent=2, ensure_ascii=False)
            yield "```"
            yield ""
            return
