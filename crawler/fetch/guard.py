"""Decides which addresses the crawler may connect to: public ones, and those in ALLOWED_NETWORKS.

Without this guard a page could make the crawler read what only its own machine or network can reach (server-side
request forgery). The check runs where a socket is made, so no spelling of a host, no redirect and no DNS answer can
bypass it. The tables follow IANA's special-purpose address registries (RFC 6890).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

from crawler.errors import Refused
from crawler.parsing.url import address_in

_Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address


def _table(text: str) -> tuple[tuple[_Network, str], ...]:
    lines = (line.split(None, 1) for line in text.strip().splitlines())
    return tuple((ip_network(network), kind) for network, kind in lines)


# The first line that matches gives the kind of an address.
_SPECIAL_V4 = _table("""
    0.0.0.0/8           "this network"
    10.0.0.0/8          private
    100.64.0.0/10       carrier-grade NAT
    127.0.0.0/8         loopback
    168.63.129.16/32    cloud metadata
    169.254.0.0/16      link-local
    172.16.0.0/12       private
    192.0.0.0/24        reserved
    192.0.2.0/24        documentation
    192.88.99.0/24      6to4 relay
    192.168.0.0/16      private
    198.18.0.0/15       benchmark
    198.51.100.0/24     documentation
    203.0.113.0/24      documentation
    224.0.0.0/4         multicast
    255.255.255.255/32  broadcast
    240.0.0.0/4         reserved
""")
_SPECIAL_V6 = _table("""
    ::/128              unspecified
    ::1/128             loopback
    ::ffff:0:0/96       IPv4-mapped
    ::/96               IPv4-compatible
    64:ff9b:1::/48      local NAT64
    100::/64            discard
    2001::/32           Teredo
    2001:2::/48         benchmark
    2001:db8::/32       documentation
    2001::/23           reserved
    2002::/16           6to4
    3fff::/20           documentation
    2000::/3            public
    fc00::/7            private
    fe80::/10           link-local
    fec0::/10           site-local
    ff00::/8            multicast
    ::/0                reserved
""")
_NAT64 = IPv6Network("64:ff9b::/96")
_REMEMBERED = 50_000  # addresses, some 110 bytes each


class AddressGuard:
    """Permits public addresses and those in `allowed_networks`; refuses all others."""

    def __init__(self, allowed_networks: Iterable[str] = ()) -> None:
        self._allowed = tuple(ip_network(network, strict=False) for network in allowed_networks)
        self._good: set[str] = set()  # permitted before: a crawl connects to the same few addresses repeatedly

    def check(self, address: str, host: str = "") -> None:
        """Raise `Refused` unless the crawler may connect to `address`, to which `host` resolves."""
        if self._is_good(address):
            return
        raise Refused(self._explain([address], host or address))

    def permitted(self, addresses: Sequence[str], host: str) -> list[str]:
        """Return those of a name's addresses that the crawler may connect to. Raise `Refused` if there are none.

        Also raise it for public addresses beside a forbidden one, because such an answer is an attack (DNS rebinding),
        unless one of the addresses is in the allowed networks: `localhost` leads to 127.0.0.1 and ::1.
        """
        good = [address for address in addresses if self._is_good(address)]
        if len(good) < len(addresses) and not any(map(self._permits, good)):
            raise Refused(self._explain([address for address in addresses if address not in good], host))
        return good

    def check_host(self, host: str) -> None:
        """Raise `Refused` if a URL's host is itself a forbidden address, or `localhost` (RFC 6761). Other names pass
        without being resolved."""
        if host == "localhost" or host.endswith(".localhost"):
            self.permitted(("127.0.0.1", "::1"), host)
        if (address := address_in(host)) is not None:
            self.check(str(address))

    def _is_good(self, address: str) -> bool:
        if address in self._good:
            return True
        if _special(ip_address(address)) and not self._permits(address):
            return False
        if len(self._good) >= _REMEMBERED:
            self._good.clear()
        self._good.add(address)
        return True

    def _permits(self, address: str) -> bool:
        parsed = ip_address(address)
        return any(parsed in network for network in self._allowed)

    def _explain(self, addresses: Sequence[str], host: str) -> str:
        """Say why none of these forbidden addresses of a host may be asked, and which setting permits all of them."""
        found = dict.fromkeys(filter(None, (_special(ip_address(address)) for address in addresses)))
        setting = ",".join(map(str, (*self._allowed, *(network for network, _ in found))))
        kinds = ", ".join(dict.fromkeys(kind for _, kind in found))
        what = f"{host} is" if [host] == list(addresses) else f"{host} leads to {' and '.join(addresses)},"
        some = "a forbidden address" if len(addresses) == 1 else "forbidden addresses"
        to_permit = "it" if len(addresses) == 1 else "them"
        return f"{what} {some} ({kinds}); to permit {to_permit}: -s ALLOWED_NETWORKS={setting}"


def _special(address: _Address) -> tuple[_Network, str] | None:
    """The network that makes an address special, and its kind; None for a public address."""
    if isinstance(address, IPv4Address):
        return next((entry for entry in _SPECIAL_V4 if address in entry[0]), None)
    if address in _NAT64:
        return _behind_nat64(address)
    network, kind = next(entry for entry in _SPECIAL_V6 if address in entry[0])
    return None if kind == "public" else (network, kind)


def _behind_nat64(address: IPv6Address) -> tuple[_Network, str] | None:
    """Judge a NAT64 address by the IPv4 address inside it, to which a translator (RFC 6052) passes the request.

    IPv6-only networks reach every host that has no IPv6 address of its own this way.
    """
    inner = _special(IPv4Address(int(address) & 0xFFFF_FFFF))
    return (_NAT64, f"NAT64 of {inner[1]}") if inner else None
