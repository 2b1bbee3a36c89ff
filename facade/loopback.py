"""Decides which requests a server without authentication accepts: only those of programs on its own machine.

A page in the user's browser can reach loopback too. Its requests have an ``Origin``, or, after DNS rebinding, another
name in ``Host``. Requests through a proxy have the proxy's headers.
"""

import re
from collections.abc import Collection, Iterable
from ipaddress import AddressValueError, IPv6Address

HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
"""The names and addresses of this machine."""

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#\s]+)")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/?#]*)")
_PORTS = {"http": "80", "https": "443"}
_FROM_PROXIES = {"forwarded", "via"}


def origin(text: str) -> str | None:
    """Return the canonical form of an origin, ``scheme://host[:port]``, or None if the text is not an origin."""
    found = _ORIGIN.fullmatch(text)
    authority = _AUTHORITY.fullmatch(found["authority"]) if found else None
    if not found or not authority:
        return None
    scheme, port = found["scheme"].lower(), authority["port"]
    host = authority["host"].lower()
    if not port or port == _PORTS.get(scheme):
        return f"{scheme}://{host}"
    return f"{scheme}://{host}:{port}" if int(port) <= 65535 else None


def reject_reason(
    headers: Iterable[tuple[str, str]],
    *,
    target: str,
    allowed_origins: Collection[str],
    setting: str,
) -> str | None:
    """Return why the request is rejected, with the header's name and the next step, or None if it is accepted.

    ``target`` is the request target as sent, which may name a host itself. ``setting`` names the setting or option that
    lists the allowed origins.
    """
    hosts: list[str] = []
    for name, value in headers:
        lower = name.lower()
        if lower in _FROM_PROXIES or lower.startswith("x-forwarded"):
            return f"The header {name[:64]} shows a proxy, and only this machine is served; send it without a proxy."
        if lower == "origin" and not _is_allowed(value, allowed_origins):
            return f"The header Origin names an origin that is not allowed; add it to {setting}."
        if lower == "host":
            hosts.append(value)
    absolute = _TARGET.match(target)
    if absolute:
        hosts.append(absolute["authority"])
    if not hosts:
        return "The header Host is missing; send the name of the server: 127.0.0.1, [::1] or localhost."
    if not all(map(_is_loopback, hosts)):
        return "The header Host does not name this machine; use 127.0.0.1, [::1] or localhost."
    return None


def _is_loopback(authority: str) -> bool:
    found = _AUTHORITY.fullmatch(authority)
    if not found:
        return False
    host = found["host"].lower()
    if host.startswith("["):
        try:
            return str(IPv6Address(host[1:-1])) in HOSTS
        except AddressValueError:
            return False
    # A trailing dot marks a fully qualified name.
    return host in HOSTS or host == "localhost."


def _is_allowed(text: str, allowed: Collection[str]) -> bool:
    found = origin(text)
    if found is None:
        return False
    scheme, _, authority = found.partition("://")
    return found in allowed or (scheme in _PORTS and _is_loopback(authority))
