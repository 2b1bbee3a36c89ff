"""Webhooks of source systems: hints that an appointment may have changed.

A signed hint makes the facade read the appointment earlier than planned. The facade believes nothing that the hint
says, so a forged, replayed or reordered hint does no harm.
"""

from collections.abc import Sequence

from flask import Response, request

from facade.errors import NotFound
from facade.fhir import ids
from facade.plugin.configured_source import ConfiguredSource
from facade.setting_fields import Secret
from facade.web.operation import POST, operation
from facade.web.request_body import parse_json, read_body
from facade.web.request_lifecycle import note, this_facade
from facade.web.webhook_signatures import is_signed, may_be_signed, not_signed


@operation(
    POST,
    "/webhooks/{sourceSystem}",
    credentials="signature",
    under_base_path=False,
    tag="Webhook",
    response="Accepted",
    status=202,
    errors="UnreadableWebhook UnsignedWebhook RequestTimeout ContentTooLarge Unavailable",
    body="Webhook",
)
def receive(source_system: str) -> Response:
    """Accept a signed hint of a source system: the facade reads the appointment soon, and does nothing else.

    Returns 202 whether or not the appointment was ever cancelled through this facade.
    """
    facade = this_facade()
    source = facade.sources.get(source_system)
    # The responses to an unknown source, to a source without a secret and to a wrong signature are the same bytes.
    # All but the last are known before the body is read.
    if source is None or source.plugin.webhook is None or not _may_be_signed(source):
        raise not_signed()
    body = read_body()
    if not _is_signed(source, body):
        raise not_signed()
    note(source=source.name)
    appointment_id = source.plugin.webhook(parse_json(body, "webhook"), source.settings)
    if appointment_id is not None:
        try:
            facade.cancellations.hint(source, ids.parse(appointment_id, source.plugin.id_pattern))
        except NotFound:
            appointment_id = None
    note(outcome="hint" if appointment_id is not None else "ignored")
    return Response(status=202)


def _may_be_signed(source: ConfiguredSource) -> bool:
    """Return whether the source has a secret and the headers hold a signature that it could have made now."""
    return bool(_secrets(source)) and may_be_signed(request.headers, **_scheme(source))


def _is_signed(source: ConfiguredSource, body: bytes) -> bool:
    secrets = _secrets(source)
    return bool(secrets) and is_signed(request.headers, body, secrets, **_scheme(source))


def _secrets(source: ConfiguredSource) -> Sequence[Secret]:
    secrets: Sequence[Secret] = source.settings.get("webhook_secret", ())
    return secrets


def _scheme(source: ConfiguredSource) -> dict[str, str]:
    settings = source.settings
    return {
        "scheme": settings["webhook_scheme"],
        "prefix": settings["webhook_header_prefix"],
        "signature_header": settings["webhook_signature_header"],
    }
