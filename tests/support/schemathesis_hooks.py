"""What Schemathesis cannot read off the document: a source's name, that a body's id is the path's, and signatures."""

from urllib.parse import unquote

import schemathesis
from schemathesis.core.parameters import ParameterLocation

from tests.integration.test_webhooks import signed


@schemathesis.hook
def before_call(context, case, kwargs):
    """Before every request."""
    path = case.path_parameters
    if "sourceSystem" in path and not (case.meta and case.meta.is_negative_at(ParameterLocation.PATH)):
        path["sourceSystem"] = "heim"
    if isinstance(case.body, dict) and isinstance(case.body.get("id"), str) and "id" in path:
        case.body["id"] = unquote(path["id"])
    if case.headers.get("webhook-signature") == "to be signed":
        kwargs["auth"] = sign


def sign(request):
    """Of a request as it is sent: the headers that its body needs."""
    body = request.body or b""
    request.headers.update(signed(body.encode() if isinstance(body, str) else body))
    return request
