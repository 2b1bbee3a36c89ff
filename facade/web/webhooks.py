"""``POST /webhooks/{sourceSystem}``: a hint that a source's appointment may have changed, and nothing more.

A signed hint brings a read forward. What the hint claims is not believed, so a forged, replayed or
reordered one does no harm.
"""

from flask import Blueprint, Response, request

from facade.errors import NotFound, Unauthenticated
from facade.fhir import ids
from facade.source import Source
from facade.web.exchange import note, this_facade
from facade.web.routes import limited_body, parse
from facade.web.signatures import is_signed

blueprint = Blueprint("webhooks", __name__)


@blueprint.post("/webhooks/<source_system>")
def receive(source_system: str) -> Response:
    """202 for a signed hint, whether or not its appointment was ever cancelled through this facade."""
    facade = this_facade()
    body = limited_body()
    source = facade.sources.get(source_system)
    # An unknown source, one without a secret and a wrong signature are told the same.
    if source is None or source.system.webhook is None or not _is_signed(source, body):
        raise not_signed()
    note(source=source.name)
    appointment_id = source.system.webhook(parse(body, "webhook"), source.settings)
    if appointment_id is not None:
        try:
            facade.cancellations.hint(source, ids.resolve(appointment_id, source.system.id_pattern))
        except NotFound:
            appointment_id = None
    note(outcome="hint" if appointment_id is not None else "ignored")
    return Response(status=202)


def not_signed() -> Unauthenticated:
    """The 401 of a webhook whose sender is not proven."""
    text = "This webhook is not signed with the secret of its source system."
    return Unauthenticated(text, headers={"WWW-Authenticate": "Signature"})


def _is_signed(source: Source, body: bytes) -> bool:
    settings = source.settings
    secret = settings.get("webhook_secret_env") or settings.get("webhook_secret_file")
    return secret is not None and is_signed(
        request.headers,
        body,
        secret,
        scheme=settings["webhook_scheme"],
        prefix=settings["webhook_header_prefix"],
        signature_header=settings["webhook_signature_header"],
    )
