"""HTTP: receives requests, authenticates and validates them, calls the use case and sends the responses."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from flask import Flask

from facade.web import errors, request_lifecycle
from facade.web.openapi.document import describe
from facade.web.operation import Operation
from facade.web.operations import OPERATIONS

if TYPE_CHECKING:
    from facade.app import Facade


def create_app(facade: "Facade", operations: Iterable[Operation] = OPERATIONS) -> Flask:
    """Return the Flask application that serves these operations of the facade."""
    app = Flask("facade", static_folder=None)
    # A path with two slashes is 404; a redirect would lose the body of a POST.
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # OPTIONS is 405, as any other method
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the provider's attribute, not the protocol's
    app.extensions["facade"] = facade
    app.extensions["facade_started"] = datetime.now(UTC).isoformat(timespec="seconds")
    request_lifecycle.install(app, operations)
    errors.install(app)
    app.extensions["facade_openapi"] = describe(app)
    return app
