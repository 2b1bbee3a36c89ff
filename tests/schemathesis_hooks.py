"""What Schemathesis cannot read off the document: an id in a body is the path's, and how a webhook is signed."""

import hashlib
import hmac
import os

import schemathesis


@schemathesis.hook
def before_call(context, case, kwargs):
    """Before every request."""
    if isinstance(case.body, dict) and isinstance(case.body.get("id"), str) and "id" in case.path_parameters:
        case.body["id"] = case.path_parameters["id"]
    if case.headers.get("webhook-signature") == "to be signed":
        kwargs["auth"] = sign


def sign(request):
    """Of a prepared request: the body's own signature, with the secret that the test configured."""
    body = request.body.encode() if isinstance(request.body, str) else request.body or b""
    request.headers["webhook-signature"] = hmac.new(os.environ["HEIM_WEBHOOK_SECRET"].encode(), body, hashlib.sha256).hexdigest()
    return request
