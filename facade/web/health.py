"""Liveness and readiness; neither looks at a source system."""

from flask import Blueprint

from facade.web.request_lifecycle import this_facade

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@blueprint.get("/ready")
def ready() -> dict[str, str]:
    """The configuration is loaded, and the ledger can be written: 503 where it cannot."""
    this_facade().ledger.check()
    return {"status": "ready"}
