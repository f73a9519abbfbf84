"""What the frontier alone comes to with the names of one address that all have pages all the time: the gaps, and the
calls for a turn. The clock moves by itself only between the calls, so the figures do not depend on the machine."""

from __future__ import annotations

import asyncio
import random
from contextlib import AbstractAsyncContextManager
from itertools import pairwise
from statistics import mean
from typing import Any, NamedTuple

from crawler.frontier.memory.backend import open_memory
from crawler.frontier.memory.server import MemoryServer
from crawler.frontier.redis.keys import shard_of
from crawler.interfaces import Backend, Pace
from crawler.testing.contract.groups import ADDRESS, place
from crawler.testing.contract.turns import Visits
from crawler.testing.contract.world import Crawl, World, hosts

NAMES = 20
PAGES = 25  # of each name
PACE = Pace(delay=1.0)
ANSWER = 0.05  # seconds
SHARDS = (1, 4, 6)


class _World(World):
    """A frontier in this process."""

    def __init__(self, shards: int) -> None:
        super().__init__()
        self.shards = shards
        self._now = 1_000.0
        self._server = MemoryServer(clock=self.now)

    def opening(self, **options: Any) -> AbstractAsyncContextManager[Backend]:
        return open_memory(self._server, prefix="bench", shards=self.shards, **options)

    def now(self) -> float:
        return self._now

    async def pass_time(self, seconds: float) -> None:
        self._now += seconds + 0.001  # the server counts milliseconds


class Found(NamedTuple):
    """What came of one number of shards. Gaps in delays; calls for each page that was asked."""

    smallest: float
    mean: float
    calls: float
    refused: float


def main() -> int:
    """Measure and print a table. Returns 0."""
    found = {shards: asyncio.run(_measured(shards)) for shards in SHARDS}
    print(f"{NAMES} names of one address, {PAGES} pages each, delay {PACE.delay} s, answers after {ANSWER} s")
    print("| | " + " | ".join(f"{shards} shard{'s' * (shards > 1)}" for shards in SHARDS) + " |")
    for row in Found._fields:
        print(f"| {row} | " + " | ".join(f"{getattr(one, row):.2f}" for one in found.values()) + " |")
    return 0


async def _measured(shards: int) -> Found:
    random.seed(1)
    world = _World(shards)
    crawl = await Crawl.create(world)
    try:
        urls = hosts(NAMES)
        await crawl.add(*(f"{url}{number}" for url in urls for number in range(PAGES)))
        await place(crawl, urls)
        return await _asked(world, crawl)
    finally:
        await world.close()


async def _asked(world: World, crawl: Crawl) -> Found:
    visits, away = Visits(crawl, PACE), 0
    while not await crawl.finished():
        wait = await visits.begin()
        away += sum(_is_away(lease.host, world.shards) for _, lease in visits.under_way)
        await world.pass_time(ANSWER if visits.under_way else wait)
        await visits.end()
    times = [when for when, _ in visits.asked]
    gaps = [(later - earlier) / PACE.delay for earlier, later in pairwise(times)]
    refused = len(visits.refusals)
    return Found(min(gaps), mean(gaps), (away + refused) / len(times), refused / len(times))


def _is_away(host: str, shards: int) -> bool:
    """Whether a claim cannot book the turn, because the host lies in another shard than the address."""
    return shard_of(host, shards) != shard_of(ADDRESS, shards)
