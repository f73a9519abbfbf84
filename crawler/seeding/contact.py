"""Warns once when the crawler asks a public host under a User-Agent without a contact for its owner."""

from __future__ import annotations

import re
from typing import Protocol

import structlog

from crawler.parsing.url import address_in

log = structlog.get_logger()

_CONTACT = re.compile(r"https?://[\w\[]|[^\s@]@[^\s@]+\.[^\s@]")
# Names never used on the public internet: RFC 6761, RFC 6762, RFC 8375, and "internal", which ICANN reserves.
_SPECIAL_NAMES = frozenset({"localhost", "local", "internal", "test", "example", "invalid", "home.arpa"})


def has_contact(user_agent: str) -> bool:
    """Return whether the User-Agent contains a URL or a mail address."""
    return _CONTACT.search(user_agent) is not None


def is_public(host: str) -> bool:
    """Return whether the host of a canonical URL is on the public internet, judged by its spelling."""
    if (address := address_in(host)) is not None:
        return address.is_global
    labels = host.rstrip(".").split(".")
    return len(labels) > 1 and _SPECIAL_NAMES.isdisjoint((labels[-1], ".".join(labels[-2:])))


class ContactCheck:
    """Warns at the first public host. `settled`: it has warned, or the User-Agent has a contact."""

    def __init__(self, user_agent: str) -> None:
        self._user_agent = user_agent
        self.settled = has_contact(user_agent)

    def met(self, host: str) -> None:
        """Check a host that was seeded or asked."""
        if not self.settled and is_public(host):
            self.settled = True
            log.warning(
                "no_contact",
                host=host,
                user_agent=self._user_agent,
                why="its owner can neither tell who asks nor reach you if something breaks; many block such crawlers",
                help='say who you are: -s USER_AGENT="name/1.0 (+https://you.example/bot)", or in settings.py',
            )


class HostCheck(Protocol):
    """Raises `Refused` for an address literal that may not be asked."""

    def check_host(self, host: str) -> None: ...


class Watched:
    """A host check that passes each permitted host on to a `ContactCheck`."""

    def __init__(self, inner: HostCheck, contact: ContactCheck) -> None:
        self._inner = inner
        self._contact = contact

    def check_host(self, host: str) -> None:
        """Raise `Refused` if the inner check does."""
        self._inner.check_host(host)
        self._contact.met(host)
