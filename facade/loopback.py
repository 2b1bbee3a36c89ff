"""Which requests a server without authentication takes: those of programs on this machine, none of a foreign page.

A page in the user's browser reaches loopback too. Its requests have an ``Origin``, or, after DNS rebinding, a foreign
name in ``Host``; those that came through a proxy have the proxy's headers.
"""

import re
from collections.abc import Collection, Iterable
from ipaddress import AddressValueError, IPv6Address

HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

_AUTHORITY = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::(?P<port>[0-9]{0,5}))?")
_ORIGIN = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<authority>[^/?#\s]+)")
_TARGET = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://(?P<authority>[^/?#]*)")
_PORTS = {"http": "80", "https": "443"}
_FROM_PROXIES = {"forwarded", "via"}


def origin(text: str) -> str | None:
    """The one spelling of an origin, ``scheme://host[:port]``; None where this is none."""
    found = _ORIGIN.fullmatch(text)
    place = _AUTHORITY.fullmatch(found["authority"]) if found else None
    if not found or not place:
        return None
    scheme, port = found["scheme"].lower(), place["port"]
    where = place["host"].lower()
    if not port or port == _PORTS.get(scheme):
        return f"{scheme}://{where}"
    return f"{scheme}://{where}:{port}" if int(port) <= 65535 else None


def reject_reason(
    headers: Iterable[tuple[str, str]],
    *,
    target: str,
    allowed_origins: Collection[str],
    setting: str,
) -> str | None:
    """Why a request is refused, with the header's name and the next step; None where it is not.

    ``target`` is the request's target as it was sent, which may name a host of its own. ``setting`` is where an origin
    is allowed.
    """
    hosts: list[str] = []
    for name, value in headers:
        lower = name.lower()
        if lower in _FROM_PROXIES or lower.startswith("x-forwarded"):
            return f"The header {name[:64]} shows a proxy, and only this machine is served here; ask without a proxy."
        if lower == "origin" and not _is_allowed(value, allowed_origins):
            return f"The header Origin names a page that is not allowed here; list its origin in {setting}."
        if lower == "host":
            hosts.append(value)
    absolute = _TARGET.match(target)
    if absolute:
        hosts.append(absolute["authority"])
    if not hosts:
        return "The header Host is missing; send the name that was asked: 127.0.0.1, [::1] or localhost."
    if not all(map(_is_loopback, hosts)):
        return "The header Host does not name this machine; ask 127.0.0.1, [::1] or localhost."
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
    # A dot at the end of a name says that it is the whole name.
    return host in HOSTS or host == "localhost."


def _is_allowed(text: str, allowed: Collection[str]) -> bool:
    found = origin(text)
    if found is None:
        return False
    scheme, _, authority = found.partition("://")
    return found in allowed or (scheme in _PORTS and _is_loopback(authority))
