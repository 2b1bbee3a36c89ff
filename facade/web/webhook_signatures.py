"""Verifies the signature of a webhook: an HMAC of its body with the secret of its source.

The default scheme is Standard Webhooks (https://www.standardwebhooks.com). It has the headers ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature``. The last one holds ``v1,<base64>`` for each key, computed over
``<id>.<timestamp>.<body>``. The published library depends on an HTTP client; this module makes the same checks.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence

from werkzeug.datastructures import Headers

from facade.errors import Unauthenticated
from facade.plugin.settings import secret_key
from facade.setting_fields import Secret

TOLERANCE = 300  # seconds between the timestamp and now, as in Standard Webhooks
_MAX_SIGNATURES = 20  # of one webhook; a sender has one for each key in use and for each scheme


def may_be_signed(headers: Headers, *, scheme: str, prefix: str, signature_header: str) -> bool:
    """Return whether the headers hold a signature that could belong to a message sent now. Needs no body."""
    if scheme == "hmac-sha256":
        return bool(headers.get(signature_header))
    message_id, timestamp = headers.get(f"{prefix}-id", ""), headers.get(f"{prefix}-timestamp", "")
    if not message_id or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    return any(signature.startswith("v1,") for signature in headers.get(f"{prefix}-signature", "").split(" "))


def is_signed(
    headers: Headers, body: bytes, secrets: Sequence[Secret], *, scheme: str, prefix: str, signature_header: str
) -> bool:
    """Return whether one of the signatures in the headers is the body's, by one of the secrets.

    ``scheme`` is ``standard`` (the names of the three headers begin with ``prefix``) or ``hmac-sha256`` (an HMAC of
    the body alone, hexadecimal or base64, after an optional ``sha256=``, in the header ``signature_header``).
    """
    if not may_be_signed(headers, scheme=scheme, prefix=prefix, signature_header=signature_header):
        return False
    if scheme == "hmac-sha256":
        sent = headers.get(signature_header, "").removeprefix("sha256=")
        digests = [hmac.new(secret.reveal().encode(), body, hashlib.sha256).digest() for secret in secrets]
        expected = [text for digest in digests for text in (digest.hex().encode(), base64.b64encode(digest))]
        return _any_matches([sent.encode("utf-8", "surrogateescape")], expected)
    signed = f"{headers[f'{prefix}-id']}.{headers[f'{prefix}-timestamp']}.".encode("utf-8", "surrogateescape") + body
    macs = [hmac.new(secret_key(secret), signed, hashlib.sha256).digest() for secret in secrets]
    signatures = headers.get(f"{prefix}-signature", "").split(" ")[:_MAX_SIGNATURES]
    sent_bytes = [signature.encode("utf-8", "surrogateescape") for signature in signatures]
    return _any_matches(sent_bytes, [b"v1," + base64.b64encode(mac) for mac in macs])


def not_signed() -> Unauthenticated:
    """Return the 401 of a webhook whose sender is not proven."""
    text = "This webhook is not signed with the secret of its source system."
    return Unauthenticated(text, headers={"WWW-Authenticate": "Signature"})


def _any_matches(sent: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    # Compare every pair, so that the time taken does not show which one matched.
    matches = [hmac.compare_digest(one, other) for one in sent for other in expected]
    return any(matches)
