"""A seeder that must wait for the queue server counts as at work all the while."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from crawler.errors import FrontierFull, FrontierReplaced
from crawler.fetch.guard import AddressGuard
from crawler.frontier.memory import MemoryFrontier
from crawler.model import Added, Job, Request
from crawler.seeder import Seeder


class Full(MemoryFrontier):
    """Takes no request while `is_full`."""

    is_full = True

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        if self.is_full:
            raise FrontierFull("out of memory")
        return await super().add(job, requests, seed=seed)


class Replaced(MemoryFrontier):
    """Has been emptied."""

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        raise FrontierReplaced("the queue server was emptied")


def seeder(frontier: MemoryFrontier, job: Job) -> Seeder:
    return Seeder(frontier, job, AddressGuard(), name="s1", lease_seconds=0.3, refused=lambda url, why: None)


async def test_a_job_is_not_finished_while_its_seeder_waits_for_room() -> None:
    frontier = Full()
    job = await frontier.create_job(Job("news"))
    await frontier.seeding(job, "before", 0)
    seeding = seeder(frontier, job)
    running = asyncio.create_task(seeding.run(["http://a.example/"]))
    await asyncio.sleep(0.05)
    for _ in range(20):
        assert not (await frontier.stats(job)).finished
        await asyncio.sleep(0.05)
    frontier.is_full = False
    await running
    stats = await frontier.stats(job)
    assert (seeding.new, stats.pending, stats.seeding) == (1, 1, 0)


async def test_a_seeder_that_fails_leaves_nothing_behind() -> None:
    frontier = Replaced()
    job = await frontier.create_job(Job("news"))
    with pytest.raises(FrontierReplaced):
        await seeder(frontier, job).run(["http://a.example/"])
    assert (await frontier.stats(job)).seeding == 0
