"""Finds the group of hosts that a host shares its turns with, before its first request, and registers it.

Many names may lead to one address, and the server there receives the requests to all of them. The first claim of a host
cannot know its address, so that visit resolves it, registers it, and takes a turn of the group in the same step. If the
group has none, the visit releases its request; the next claim books the group's turn. If the group's turns are in the
care of another shard than the host, the visit takes one there.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from msgspec import Struct

from crawler.interfaces import Ledger, Pace
from crawler.model import Lease, Release
from crawler.parsing.url import address_in, host_of
from crawler.runtime.oldest import oldest

FRESH_SECONDS = 600.0  # until the group is looked up again, because names move
UNKNOWN_SECONDS = 30.0  # until a name that did not resolve is looked up again
MAX_HOSTS = 150_000  # hosts that this process remembers, some 290 bytes each

GroupOf = Callable[[str], Awaitable[str | None]]
"""Returns the group of a URL's host (empty: no group), or None if it cannot be found, and the host keeps its group."""


class Membership(Struct, frozen=True, gc=False):
    """What this process knows of a host: its group, since when the ledger has it, and until when that is valid."""

    group: str
    since: float  # monotonic seconds
    until: float


class HostGroups:
    """Remembers the groups of the hosts visited lately."""

    def __init__(self, ledger: Ledger, group_of: GroupOf, worker: str, pace: Pace) -> None:
        self._ledger = ledger
        self._group_of = group_of
        self._worker = worker
        self._pace = pace
        self._members: dict[str, Membership] = {}  # by host, those looked up longest ago first

    async def too_early(self, lease: Lease) -> Release | None:
        """How to release a lease that has no turn of its host and its host's group; None if it has them."""
        known, has_turn = self._members.get(lease.host), False
        if known is None or known.until < time.monotonic():
            known, has_turn = await self._find_out(lease, known)
            self._remember(lease.host, known)
        if lease.claimed_at < known.since and not has_turn:
            return Release("address")  # the claim did not know the group, so it booked no turn of it
        wait = await self._ledger.take_turn(self._worker, lease, known.group, self._pace)
        return Release("turn", turn=wait) if wait else None

    def _remember(self, host: str, known: Membership) -> None:
        self._members.pop(host, None)
        self._members[host] = known
        if len(self._members) > MAX_HOSTS:
            for oldest_host in oldest(self._members):
                del self._members[oldest_host]

    async def _find_out(self, lease: Lease, before: Membership | None) -> tuple[Membership, bool]:
        """The host's group, and whether this lease got a turn of it when the host joined."""
        if address_in(lease.host) is not None:  # its ledger is also that of its group
            return Membership("", -math.inf, math.inf), False
        group = await self._group_of(lease.request.url)
        if group is None:
            group, since = (before.group, before.since) if before else ("", -math.inf)
            return Membership(group, since, time.monotonic() + UNKNOWN_SECONDS), False
        joined = await self._ledger.join(lease.host, group, lease.job, self._pace)
        now = time.monotonic()
        return Membership(group, now - joined.seconds, now + FRESH_SECONDS), joined.has_turn


# ---------------------------------------------------------------------------------------------------------
# What makes a group


def by_address(addresses_of: Callable[[str], Awaitable[Sequence[str]]]) -> GroupOf:
    """Group hosts whose names lead to one address. Of several addresses the lowest counts, because DNS rotates them."""

    async def group_of(url: str) -> str | None:
        addresses = [ip_address(address) for address in await addresses_of(url)]
        if not addresses:
            return None
        lowest = min(addresses, key=lambda address: (address.version, int(address)))
        return str(lowest) if lowest.version == 4 else f"[{lowest}]"

    return group_of


def by_domain(domain_of: Callable[[str], str | None]) -> GroupOf:
    """Group hosts of one registrable domain, which `domain_of` returns; None if the host is a public suffix itself."""

    async def group_of(url: str) -> str:
        domain = domain_of(host_of(url))
        return f"*.{domain}" if domain else ""

    return group_of


async def alone(url: str) -> str:
    """Group no hosts, and dissolve groups that another setting made before."""
    return ""
