"""HTTP: receives a cancel or a read, authenticates it, hands it down, sends what comes back."""

from datetime import UTC, datetime

from flask import Flask

from facade.app import Facade
from facade.web import errors, health, request_lifecycle, routes, webhooks
from facade.web.openapi import views as openapi


def create_app(facade: Facade) -> Flask:
    """The Flask application that serves this facade."""
    app = Flask("facade", static_folder=None)
    # Two slashes are a path no one has, not a redirect of a POST.
    app.url_map.merge_slashes = False
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False  # 405, as for any other method
    app.json.sort_keys = False  # type: ignore[attr-defined]  # the provider's attribute, not the protocol's
    app.extensions["facade"] = facade
    app.extensions["facade_started"] = datetime.now(UTC).isoformat(timespec="seconds")
    request_lifecycle.install(app)
    errors.install(app)
    app.register_blueprint(health.blueprint)
    app.register_blueprint(webhooks.blueprint)
    app.register_blueprint(routes.blueprint, url_prefix=facade.config.base_path or None)
    openapi.install(app)
    return app
