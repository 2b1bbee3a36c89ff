"""Whether a webhook comes from who it says: an HMAC over its body with the secret of its source.

The default scheme is Standard Webhooks (https://www.standardwebhooks.com): ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature`` headers, the last holding ``v1,<base64>`` for each key, over
``<id>.<timestamp>.<body>``. The published library needs an HTTP client of its own; this is what it checks.
"""

import base64
import hashlib
import hmac
import time
from collections.abc import Sequence

from werkzeug.datastructures import Headers

from facade.setting_fields import Secret, secret_key

TOLERANCE = 300  # seconds between the timestamp and now, as Standard Webhooks has it
_MOST_SIGNATURES = 20  # of one webhook; a sender has one for each key that it uses, and for each scheme


def may_be_signed(headers: Headers, *, scheme: str, prefix: str, signature_header: str) -> bool:
    """Whether the headers hold a signature that could be of a message sent now; asked before the body is read."""
    if scheme == "hmac-sha256":
        return bool(headers.get(signature_header))
    message_id, timestamp = headers.get(f"{prefix}-id", ""), headers.get(f"{prefix}-timestamp", "")
    if not message_id or not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 12:
        return False
    if abs(time.time() - int(timestamp)) > TOLERANCE:
        return False
    return any(given.startswith("v1,") for given in headers.get(f"{prefix}-signature", "").split(" "))


def is_signed(
    headers: Headers, body: bytes, secrets: Sequence[Secret], *, scheme: str, prefix: str, signature_header: str
) -> bool:
    """Whether one of the signatures is this body's, by one of the secrets.

    Every pair is compared, so that the time taken does not tell which one matched.

    ``scheme`` is ``standard`` (``prefix`` begins the three headers' names) or ``hmac-sha256`` (the body alone,
    hexadecimal or base64, after an optional ``sha256=``, in ``signature_header``).
    """
    if not may_be_signed(headers, scheme=scheme, prefix=prefix, signature_header=signature_header):
        return False
    if scheme == "hmac-sha256":
        given = headers.get(signature_header, "").removeprefix("sha256=")
        digests = [hmac.new(secret.reveal().encode(), body, hashlib.sha256).digest() for secret in secrets]
        words = [word for digest in digests for word in (digest.hex().encode(), base64.b64encode(digest))]
        return _one_is_among([given.encode("utf-8", "surrogateescape")], words)
    signed = f"{headers[f'{prefix}-id']}.{headers[f'{prefix}-timestamp']}.".encode("utf-8", "surrogateescape") + body
    macs = [hmac.new(secret_key(secret), signed, hashlib.sha256).digest() for secret in secrets]
    given_ones = headers.get(f"{prefix}-signature", "").split(" ")[:_MOST_SIGNATURES]
    given_bytes = [given.encode("utf-8", "surrogateescape") for given in given_ones]
    return _one_is_among(given_bytes, [b"v1," + base64.b64encode(mac) for mac in macs])


def _one_is_among(given: Sequence[bytes], expected: Sequence[bytes]) -> bool:
    found = [hmac.compare_digest(one, other) for one in given for other in expected]
    return any(found)
