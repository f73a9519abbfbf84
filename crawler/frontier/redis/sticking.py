"""The hosts that this process asked a moment ago: their connections and robots rules are here, and nowhere else."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from itertools import takewhile

from crawler.frontier.rules import STICKS_FOR
from crawler.interfaces import Pace
from crawler.model import Lease, Visit


class AskedHosts:
    """Names the hosts whose turn should have come, so that a claim gives them to this process again. It may be wrong: a
    host too many costs one look, and one that is missing goes to any worker. Hosts without a delay are not remembered,
    because they have no turn to wait for."""

    def __init__(self) -> None:
        self._asked: dict[tuple[str, str], tuple[float, int]] = {}  # (job, host) → when (s), shard; oldest first

    def note(self, shard: int, visits: Iterable[tuple[Lease, Visit]], pace: Pace) -> None:
        """Remember the hosts that these visits asked."""
        for lease, visit in visits if pace.delay else ():
            if visit.asked_at is not None:
                self._asked.pop((lease.job, lease.host), None)
                self._asked[lease.job, lease.host] = visit.asked_at, shard

    def forget(self, leases: Iterable[Lease]) -> None:
        """These were claimed: their hosts have another turn."""
        for lease in leases:
            self._asked.pop((lease.job, lease.host), None)

    def due(self, shard: int, pace: Pace, now: float, most: int) -> Mapping[str, list[str]]:
        """By job, at most so many hosts of a shard whose turn came within the last STICKS_FOR ms, latest first."""
        came = list(takewhile(lambda entry: entry[1][0] <= now - pace.delay, self._asked.items()))
        others_may = now - pace.delay * (1 + pace.jitter) - STICKS_FOR / 1000
        found: dict[str, list[str]] = defaultdict(list)
        for (job, host), (asked, its_shard) in reversed(came):
            if asked < others_may:
                del self._asked[job, host]
            elif its_shard == shard and len(found[job]) < most:
                found[job].append(host)
        return found
