"""The URL of a broker: `amqps://user:password@host1,host2:5671/vhost?queue=urls`, and how to reach it.

As in RabbitMQ's URI specification, with several hosts, which are tried in turn. The query holds what one door needs.
"""

from __future__ import annotations

import re
import ssl
from typing import TypeVar
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Struct

from crawler.errors import ConfigError
from crawler.runtime import url_words
from crawler.runtime.safe_text import shown

PORTS = {"amqp": 5672, "amqps": 5671}
"""The default port of each scheme."""

Options = TypeVar("Options", bound=Struct)

_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[^:\[\]\s]+)(?::([0-9]{1,5}))?").fullmatch


class Address(Struct, frozen=True):
    """Where a broker is, and who asks."""

    scheme: str
    hosts: tuple[tuple[str, int], ...]  # tried in this order
    user: str = "guest"
    password: str = "guest"  # noqa: S105 - RabbitMQ's own default, valid on loopback alone
    vhost: str = "/"

    @property
    def url(self) -> str:
        """The URL for people: without the password."""
        hosts = ",".join(f"{host}:{port}" for host, port in self.hosts)
        login = "" if self.user == "guest" else f"{shown(self.user)}@"
        return f"{self.scheme}://{login}{shown(hosts)}/{'' if self.vhost == '/' else shown(self.vhost)}"


class Broker(Struct, frozen=True):
    """How to reach a broker."""

    address: Address
    name: str  # of the connection, in the broker's own list
    seconds: float  # within which it must answer
    tls: ssl.SSLContext | None = None  # None for `amqp`

    @property
    def url(self) -> str:
        """The URL for people: without the password."""
        return self.address.url


def is_amqp(url: str) -> bool:
    """Whether this is the URL of a broker."""
    return url.partition("://")[0].lower() in PORTS


def read(url: str, options: type[Options], password: str = "") -> tuple[Address, Options]:
    """Read the URL and its query. `options` lists the words that the query may have; fields without a default are
    required. `password` is that of a user for whom the URL has none. Raises `ConfigError`, which shows no password."""
    parts = urlsplit(url)
    if parts.scheme not in PORTS:
        raise ConfigError(f"{shown(url)}: write amqp://… or amqps://…")
    login, at, names = parts.netloc.rpartition("@")
    user, colon, given = login.partition(":")
    hosts = tuple(_host(name, url, PORTS[parts.scheme]) for name in names.split(","))
    if parts.fragment or "/" in parts.path[1:].strip("/"):
        raise ConfigError(f"{shown(url)}: what follows the host is one vhost; write / in its name or login as %2F")
    address = Address(parts.scheme, hosts, vhost=unquote(parts.path[1:]) or "/")
    if at:
        address = msgspec.structs.replace(address, user=unquote(user), password=unquote(given) if colon else password)
    return address, url_words.read(parts.query, address.url, options)


def _host(name: str, url: str, port: int) -> tuple[str, int]:
    found = _HOST(name)
    if not found or not 0 < int(found[2] or port) < 65_536:
        raise ConfigError(f"{shown(url)}: {shown(name)!r} is not a host; write host or host:port, several with commas")
    return found[1].strip("[]"), int(found[2] or port)
