"""Whether a webhook comes from who it says: an HMAC over its body with the secret of its source.

The default scheme is Standard Webhooks (https://www.standardwebhooks.com): ``webhook-id``,
``webhook-timestamp`` and ``webhook-signature`` headers, the last holding ``v1,<base64>`` for each key, over
``<id>.<timestamp>.<body>``. The published library needs an HTTP client of its own; this is what it checks.
"""

import base64
import binascii
import hashlib
import hmac
import time

from werkzeug.datastructures import Headers

from facade.settings import Secret

TOLERANCE = 300  # seconds between the timestamp and now, as Standard Webhooks has it
_PREFIX = "whsec_"


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
    headers: Headers, body: bytes, secret: Secret, *, scheme: str, prefix: str, signature_header: str
) -> bool:
    """Whether one of the signatures is this body's.

    ``scheme`` is ``standard`` (``prefix`` begins the three headers' names) or ``hmac-sha256`` (the body alone,
    hexadecimal or base64, after an optional ``sha256=``, in ``signature_header``).
    """
    if not may_be_signed(headers, scheme=scheme, prefix=prefix, signature_header=signature_header):
        return False
    if scheme == "hmac-sha256":
        given = headers.get(signature_header, "").removeprefix("sha256=")
        digest = hmac.new(secret.reveal().encode(), body, hashlib.sha256).digest()
        return any(
            hmac.compare_digest(given.encode(), word) for word in (digest.hex().encode(), base64.b64encode(digest))
        )
    signed = f"{headers[f'{prefix}-id']}.{headers[f'{prefix}-timestamp']}.".encode("utf-8", "surrogateescape") + body
    expected = b"v1," + base64.b64encode(hmac.new(_key(secret), signed, hashlib.sha256).digest())
    given_ones = headers.get(f"{prefix}-signature", "").split(" ")
    return any(hmac.compare_digest(given.encode("utf-8", "surrogateescape"), expected) for given in given_ones)


def _key(secret: Secret) -> bytes:
    """The key: base64 after ``whsec_``, else the text itself."""
    text = secret.reveal()
    if text.startswith(_PREFIX):
        try:
            return base64.b64decode(text.removeprefix(_PREFIX), validate=True)
        except binascii.Error:
            pass
    return text.encode()
