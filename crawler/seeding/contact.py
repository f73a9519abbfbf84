"""Warns, once, when a public host is asked under a User-Agent by which its owner could not reach anybody."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import Protocol

import structlog

log = structlog.get_logger()

_CONTACT = re.compile(r"https?://[\w\[]|[^\s@]@[^\s@]+\.[^\s@]")
# Never on the public internet: RFC 6761, RFC 6762, RFC 8375, and "internal", which ICANN reserves.
_SPECIAL_NAMES = frozenset({"localhost", "local", "internal", "test", "example", "invalid", "home.arpa"})


def has_contact(user_agent: str) -> bool:
    """Whether it holds a URL or a mail address."""
    return _CONTACT.search(user_agent) is not None


def is_public(host: str) -> bool:
    """Whether the host of a canonical URL is on the public internet, as far as its spelling tells."""
    try:
        return ip_address(host.strip("[]")).is_global
    except ValueError:
        labels = host.rstrip(".").split(".")
        return len(labels) > 1 and _SPECIAL_NAMES.isdisjoint((labels[-1], ".".join(labels[-2:])))


class ContactCheck:
    """Is told each host that is met. `settled`: has warned, or there is no cause to."""

    def __init__(self, user_agent: str) -> None:
        self._user_agent = user_agent
        self.settled = has_contact(user_agent)

    def met(self, host: str) -> None:
        """A host that is seeded, or was asked."""
        if not self.settled and is_public(host):
            self.settled = True
            log.warning(
                "no_contact",
                host=host,
                user_agent=self._user_agent,
                why="its owner cannot tell who asks, nor reach you when something goes wrong; many block such crawlers",
                help='say who you are: -s USER_AGENT="name/1.0 (+https://you.example/bot)", or in settings.py',
            )


class HostCheck(Protocol):
    """Raises `Refused` for an address literal that may not be asked."""

    def check_host(self, host: str) -> None: ...


class Watched:
    """A host check that passes on to a `ContactCheck` what it lets pass."""

    def __init__(self, inner: HostCheck, contact: ContactCheck) -> None:
        self._inner = inner
        self._contact = contact

    def check_host(self, host: str) -> None:
        """Raises `Refused` as the inner one does."""
        self._inner.check_host(host)
        self._contact.met(host)
