"""Authentication modes: one module each, one line each in ``AUTHENTICATORS``.

To add a mode, write a subclass of ``Authenticator`` in a new module of this package and list it here. The
configuration accepts the word, and the OpenAPI description, the CapabilityStatement and the commands follow.
"""

from facade.config import Config
from facade.web.auth.api_key import ApiKeyAuthenticator
from facade.web.auth.authenticator import Authenticator
from facade.web.auth.no_authentication import NoAuthentication

AUTHENTICATORS: dict[str, type[Authenticator]] = {
    authenticator.mode: authenticator
    for authenticator in (
        ApiKeyAuthenticator,
        NoAuthentication,
    )
}
"""Every authentication mode, by the value of ``auth.mode``."""


def build(config: Config) -> Authenticator:
    """Return the authenticator that the configuration names."""
    return AUTHENTICATORS[config.auth_mode](config)
