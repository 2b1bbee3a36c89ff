"""``POST /webhooks/{sourceSystem}``: a hint that a source's appointment may have changed, and nothing more.

A signed hint brings a read forward. What the hint claims is not believed, so a forged, replayed or
reordered one does no harm.
"""

from collections.abc import Sequence

from flask import Blueprint, Response, request

from facade.errors import NotFound, Unauthenticated
from facade.fhir import ids
from facade.plugin.configured_source import ConfiguredSource
from facade.setting_fields import Secret
from facade.web.request_lifecycle import note, this_facade
from facade.web.routes import limited_body, parse
from facade.web.webhook_signatures import is_signed, may_be_signed

blueprint = Blueprint("webhooks", __name__)


@blueprint.post("/webhooks/<source_system>")
def receive(source_system: str) -> Response:
    """202 for a signed hint, whether or not its appointment was ever cancelled through this facade."""
    facade = this_facade()
    source = facade.sources.get(source_system)
    # An unknown source, one without a secret and a wrong signature are told the same. All but the last is known
    # before the body is read.
    if source is None or source.plugin.webhook is None or not _may_be_signed(source):
        raise not_signed()
    body = limited_body()
    if not _is_signed(source, body):
        raise not_signed()
    note(source=source.name)
    appointment_id = source.plugin.webhook(parse(body, "webhook"), source.settings)
    if appointment_id is not None:
        try:
            facade.cancellations.hint(source, ids.resolve(appointment_id, source.plugin.id_pattern))
        except NotFound:
            appointment_id = None
    note(outcome="hint" if appointment_id is not None else "ignored")
    return Response(status=202)


def not_signed() -> Unauthenticated:
    """The 401 of a webhook whose sender is not proven."""
    text = "This webhook is not signed with the secret of its source system."
    return Unauthenticated(text, headers={"WWW-Authenticate": "Signature"})


def _may_be_signed(source: ConfiguredSource) -> bool:
    """Whether the source has a secret, and the head a signature that could be made with it now."""
    return bool(_secrets(source)) and may_be_signed(request.headers, **_scheme(source))


def _is_signed(source: ConfiguredSource, body: bytes) -> bool:
    secrets = _secrets(source)
    return bool(secrets) and is_signed(request.headers, body, secrets, **_scheme(source))


def _secrets(source: ConfiguredSource) -> Sequence[Secret]:
    return source.settings.get("webhook_secret_env") or source.settings.get("webhook_secret_file") or ()


def _scheme(source: ConfiguredSource) -> dict[str, str]:
    settings = source.settings
    return {
        "scheme": settings["webhook_scheme"],
        "prefix": settings["webhook_header_prefix"],
        "signature_header": settings["webhook_signature_header"],
    }
