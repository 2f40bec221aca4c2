"""Where webhooks may go: to public addresses, and to those networks that an operator has named.

The addresses of a name are looked up once and checked, and the connection goes to one of them: a name that
is another address a moment later leads nowhere else.
"""

import asyncio
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

from reference_server.alerting.settings import Network

_TRANSLATED = ip_network("64:ff9b::/96")
_PORTS = {"https": 443, "http": 80}


class ForbiddenAddressError(Exception):
    """The URL of an endpoint leads where no webhook goes."""


@dataclass(frozen=True, slots=True)
class Target:
    """An endpoint's URL with the checked address that its name stands for."""

    url: str
    """The URL with the address in place of the name."""
    host: str
    """The name, for the Host header and the certificate."""
    authority: str
    """The name and the port, as they stand in the URL."""


async def resolve(url: str, networks: Sequence[Network]) -> Target:
    """Return where a webhook is sent; raise `ForbiddenAddressError`, or `OSError` for an unknown name."""
    parts = urlsplit(url)
    try:
        port = parts.port or _PORTS[parts.scheme]
    except (KeyError, ValueError):
        raise ForbiddenAddressError("The URL is not an https address.") from None
    if not parts.hostname or parts.username is not None:
        raise ForbiddenAddressError("The URL must name a host, and no user.")
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(parts.hostname, port, type=socket.SOCK_STREAM)
    addresses = [_plain(ip_address(entry[4][0])) for entry in found]
    for address in addresses:
        _require_allowed(parts.scheme, address, networks)
    chosen = addresses[0]
    literal = f"[{chosen}]" if isinstance(chosen, IPv6Address) else str(chosen)
    path = parts._replace(netloc=f"{literal}:{port}", fragment="").geturl()
    return Target(path, parts.hostname, parts.netloc)


def _require_allowed(scheme: str, address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> None:
    named = any(address in network for network in networks)
    if scheme != "https" and not (named and address.is_loopback):
        raise ForbiddenAddressError("Webhooks are sent over https only.")
    if not named and (not address.is_global or address.is_multicast):
        raise ForbiddenAddressError("The host has an address that is not public.")


def _plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """Return the IPv4 address that an IPv6 address wraps, which is where the connection would go."""
    if not isinstance(address, IPv6Address):
        return address
    if address in _TRANSLATED:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address.ipv4_mapped or address.sixtofour or address
