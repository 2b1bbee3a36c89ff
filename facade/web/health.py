"""Liveness and readiness; neither looks at a source system."""

from flask import Blueprint

blueprint = Blueprint("health", __name__, url_prefix="/health")


@blueprint.get("/live")
def live() -> dict[str, str]:
    """The process answers."""
    return {"status": "live"}


@blueprint.get("/ready")
def ready() -> dict[str, str]:
    """The configuration is loaded: without it there is no application to answer."""
    return {"status": "ready"}
