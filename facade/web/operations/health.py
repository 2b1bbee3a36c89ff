"""Liveness and readiness probes. Neither sends anything to a source system."""

from facade.web.operation import GET, operation
from facade.web.request_lifecycle import this_facade


@operation(GET, "/health/live", credentials=None, under_base_path=False, tag="Facade", response="Live")
def live() -> dict[str, str]:
    """Report that the process answers."""
    return {"status": "live"}


@operation(
    GET,
    "/health/ready",
    credentials=None,
    under_base_path=False,
    tag="Facade",
    response="Ready",
    errors="Unavailable",
)
def ready() -> dict[str, str]:
    """Report that the configuration is loaded and the ledger can be written; 503 if it cannot."""
    this_facade().ledger.check_writable()
    return {"status": "ready"}
