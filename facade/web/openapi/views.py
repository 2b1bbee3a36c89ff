"""Serves the description: ``/openapi.json``, and ``/docs``, Swagger UI on it from packaged files."""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

from flask import Blueprint, Flask, Response, current_app, redirect, send_from_directory
from werkzeug.wrappers import Response as AnyResponse

from facade.errors import NotFound
from facade.web.openapi.document import describe

blueprint = Blueprint("openapi", __name__)

_OURS = Path(__file__).with_name("swagger_ui")
_OF_SWAGGER_UI = {"swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png"}
# The page loads nothing from elsewhere. Swagger UI sets styles on elements and has its pictures in its CSS.
_POLICY = (
    "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


def install(app: Flask) -> None:
    """Register the routes and describe the application; every other route is registered before."""
    app.register_blueprint(blueprint)
    app.extensions["facade_openapi"] = describe(app)


@blueprint.get("/openapi.json")
def description() -> dict[str, Any]:
    """This document."""
    document: dict[str, Any] = current_app.extensions["facade_openapi"]
    return document


@blueprint.get("/docs")
def docs() -> AnyResponse:
    """To the page's folder, which its files are named from on."""
    return redirect("docs/", 308)


@blueprint.get("/docs/")
def docs_page() -> Response:
    """Swagger UI."""
    return docs_file("index.html")


@blueprint.get("/docs/<name>")
def docs_file(name: str) -> Response:
    """A file of the page."""
    package = find_spec("flask_swagger_ui")
    if package is None or package.origin is None:
        raise NotFound(
            "Swagger UI is not installed here; install fhir-facade[docs]. /openapi.json is served without it."
        )
    folder = Path(package.origin).with_name("dist") if name in _OF_SWAGGER_UI else _OURS
    # Whole and unconditional: nothing of it is to be stored, and ranges would have errors of their own.
    response = send_from_directory(folder, name, conditional=False, etag=False)
    response.headers["Content-Security-Policy"] = _POLICY
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
