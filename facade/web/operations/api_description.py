"""The OpenAPI description (``/openapi.json``) and Swagger UI on it (``/docs``), from packaged files."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Response, current_app, redirect, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from facade.errors import NotFound
from facade.web.operation import GET, operation

_OWN_FILES = Path(__file__).parents[1] / "openapi" / "swagger_ui"
_FILES_OF_SWAGGER_UI = {"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}
# The page loads nothing from elsewhere. Swagger UI sets styles on elements and has its pictures in its CSS.
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


@operation(GET, "/openapi.json", credentials=None, under_base_path=False, tag="Facade", response="Description")
def description() -> dict[str, Any]:
    """Return this API as an OpenAPI 3.1 document, with examples for every status."""
    document: dict[str, Any] = current_app.extensions["facade_openapi"]
    return document


@operation(GET, "/docs", credentials=None, under_base_path=False, documented=False)
def docs() -> AnyResponse:
    """Redirect to ``/docs/``."""
    # A relative location works behind a proxy that adds a prefix.
    return redirect("docs/", 308)


@operation(GET, "/docs/", credentials=None, under_base_path=False, documented=False)
def docs_page() -> Response:
    """Show the API in Swagger UI."""
    return _file("index.html")


@operation(GET, "/docs/{name}", credentials=None, under_base_path=False, documented=False)
def docs_file(name: str) -> Response:
    """Return a file of the Swagger UI page."""
    return _file(name)


def _file(name: str) -> Response:
    package = find_spec("flask_swagger_ui")
    if package is None or package.origin is None:
        raise NotFound(
            "Swagger UI is not installed here; install fhir-facade[docs]. /openapi.json is served without it."
        )
    folder = Path(package.origin).with_name("dist") if name in _FILES_OF_SWAGGER_UI else _OWN_FILES
    # Whole and unconditional: clients must not store it, and range requests would have errors of their own.
    response = send_from_directory(folder, name, conditional=False, etag=False)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
