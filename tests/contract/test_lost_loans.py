"""A shard borrows from the budget of a limited job, and whoever borrowed for it dies, or does not get the reply."""

from __future__ import annotations

import random
from typing import Any

import pytest

from crawler.errors import FrontierUnavailable
from crawler.model import Job, Limits, Skip, Visit
from crawler.testing.contract.limits import claimed, crawled, state
from crawler.testing.contract.world import AT_ONCE, Crawl, World, hosts


class Cut:
    """Loses the reply of some calls of a script, after it has run."""

    def __init__(self, backend: Any, script: str, seed: int, share: float) -> None:
        self._server = backend.queue._server
        self._run = self._server.run
        self._script, self._chance, self._share = script, random.Random(seed), share
        self._server.run = self
        self.lost = 0

    def end(self) -> None:
        """Lose no more."""
        self._server.run = self._run

    async def __call__(self, script: str, *arguments: Any, **options: Any) -> Any:
        reply = await self._run(script, *arguments, **options)
        if script == self._script and self._chance.random() < self._share:
            self.lost += 1
            raise FrontierUnavailable("lost")
        return reply


@pytest.mark.parametrize("script", ["draw", "claim"])
async def test_what_was_lent_and_not_used_is_lent_again(world: World, crawl: Crawl, script: str) -> None:
    await crawl.frontier.closing.limit(crawl.job, Limits(pages=8))
    await crawl.add(*hosts(60))
    lost = 0
    for seed in range(6):
        client, worker = await world.client(), f"w{seed}"
        cut = Cut(client, script, seed, 0.5)
        for _ in range(4):
            try:
                claim = await client.queue.claim(worker, 3, [crawl.job], AT_ONCE)
            except FrontierUnavailable:
                continue
            for lease in claim.leases:
                await client.queue.commit(worker, [(lease, Visit(Skip("robots")))], AT_ONCE)
        cut.end()
        lost += cut.lost
        await world.expire(worker)
        await crawl.frontier.leases.reap()
    assert lost > 5
    assert await crawled(crawl) == 8
    assert await state(crawl) == ("closespider_pagecount", True)


async def test_a_worker_that_only_borrows_does_not_stop_the_others(world: World, crawl: Crawl) -> None:
    await crawl.frontier.closing.limit(crawl.job, Limits(pages=8))
    await crawl.add(*hosts(60))
    client = await world.client()
    await client.queue.claim("w2", 1, [crawl.job], AT_ONCE)
    closing: Any = client.queue._closing  # type: ignore[attr-defined]
    for shard in range(world.shards):
        await closing.asked([crawl.job], shard, 100)
    assert len(await claimed(crawl)) == 7


async def test_what_another_borrows_meanwhile_is_not_handed_out_twice(world: World, crawl: Crawl) -> None:
    """Between the question to the budget and the claim in its home."""
    await crawl.frontier.closing.limit(crawl.job, Limits(pages=4))
    await crawl.add(*hosts(60))
    other = await world.client()
    await other.queue.claim("w2", 1, [crawl.job], AT_ONCE)
    server: Any = crawl.frontier.queue._server  # type: ignore[attr-defined]
    borrower: Any = other.queue._closing  # type: ignore[attr-defined]
    run, shards = server.run, world.shards

    async def late(script: str, *arguments: Any, **options: Any) -> Any:
        if script == "claim":
            server.run = run
            await borrower.asked([crawl.job], shards - 1, 100)
        return await run(script, *arguments, **options)

    await claimed(crawl, 1)  # learns that the job is limited
    crawl.frontier.queue._first_shard = shards - 1  # type: ignore[attr-defined] # so the next claim begins in the home
    server.run = late
    await crawl.claim(100)
    for _ in range(3):
        await other.queue.claim("w2", 100, [crawl.job], AT_ONCE)
    assert (await crawl.frontier.reading.stats(crawl.job)).processing == 4


async def test_what_shards_took_before_the_limit_counts_though_the_word_of_it_comes_late(
    world: World, crawl: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other shards were asked before the job was limited, the budget after that."""
    await crawl.add(*hosts(60))
    await crawl.claim(6)
    closing: Any = crawl.frontier.queue._closing  # type: ignore[attr-defined]
    late = await closing._others(crawl.job)
    await crawl.frontier.closing.limit(crawl.job, Limits(pages=8))

    async def others(job: Job) -> Any:
        return late

    monkeypatch.setattr(closing, "_others", others)
    for _ in range(2 * world.shards):
        await crawl.claim(100)
    assert (await crawl.frontier.reading.stats(crawl.job)).processing <= 8
