"""A seeder that must wait for the queue server counts as at work all the while."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from crawler.errors import FrontierFull, FrontierReplaced
from crawler.fetch.guard import AddressGuard
from crawler.frontier.message import check
from crawler.interfaces import Pace
from crawler.model import Added, Job, Request
from crawler.seeding.admission import Admission
from crawler.seeding.seeder import BATCH, TOGETHER, Seeder
from tests.memory import MemoryFrontier

ADMISSION = Admission(AddressGuard(), check, "site")


class Full(MemoryFrontier):
    """Takes no request while `is_full`."""

    is_full = True

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        if self.is_full:
            raise FrontierFull("out of memory")
        return await super().add(job, requests, seed=seed)


class Deaf(MemoryFrontier):
    """Loses the cancellation of the call that it is told to, as the library of the queue server does now and then."""

    def __init__(self, call: str) -> None:
        super().__init__()
        self.called = asyncio.Event()
        self._call = call

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        await self._lose("add")
        return await super().add(job, requests, seed=seed)

    async def seeding(self, job: Job, seeder: str, seconds: float) -> None:
        await self._lose("seeding")
        await super().seeding(job, seeder, seconds)
        self._call = self._call.removeprefix("second ")

    async def _lose(self, call: str) -> None:
        if call == self._call and not self.called.is_set():
            self.called.set()
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


class Noted(MemoryFrontier):
    """Remembers each call."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[list[str]] = []

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        self.batches.append([request.url for request in requests])
        return await super().add(job, requests, seed=seed)


class Replaced(MemoryFrontier):
    """Has been emptied."""

    async def add(self, job: Job, requests: Sequence[Request], *, seed: bool = False) -> Added:
        raise FrontierReplaced("the queue server was emptied")


def seeder(frontier: MemoryFrontier, job: Job) -> Seeder:
    return Seeder(frontier, job, ADMISSION, name="s1", lease_seconds=0.3, refused=lambda url, why: None)


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


async def test_seeds_are_sent_in_bounded_batches_by_host_and_in_order() -> None:
    """So that the queue server touches each host seldom, and keeps no worker waiting."""
    frontier = Noted()
    job = await frontier.create_job(Job("news"))
    urls = [f"http://host-{number % 10}.example/{number}" for number in range(2 * TOGETHER + 7)]
    seeding = seeder(frontier, job)
    await seeding.run([*urls, "ftp://a.example/", urls[0]])
    sent = [url for batch in frontier.batches for url in batch]
    assert max(map(len, frontier.batches)) == BATCH
    assert max(len({url.split("/")[2] for url in batch}) for batch in frontier.batches) < 10
    for host in {url.split("/")[2] for url in urls}:
        assert [url for url in sent if host in url] == [url for url in [*urls, urls[0]] if host in url]
    assert (seeding.new, seeding.known, dict(seeding.refused)) == (len(urls), 1, {"bad url": 1})


async def test_a_seed_that_cannot_travel_is_refused_in_words() -> None:
    frontier = Noted()
    job = await frontier.create_job(Job("news"))
    told: list[str] = []

    def refuse(url: str, why: str) -> None:
        told.append(why)

    seeding = Seeder(frontier, job, ADMISSION, name="s1", lease_seconds=0.3, refused=refuse)
    form: Any = {"method": "POST", "body": "loginann"}
    bad: Any = {"meta": {"when": object()}}
    await seeding.run([Request("http://a.example/", **form), replace(Request("http://b.example/"), **bad)])
    assert (seeding.new, dict(seeding.refused)) == (1, {"cannot travel": 1})
    assert "meta['when'] is object" in told[0]
    (lease,) = (await frontier.claim("w1", 9, [job], Pace())).leases
    assert lease.request.body == b"loginann"


async def test_a_stream_of_refused_lines_leaves_the_loop_time_for_others() -> None:
    frontier = MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    refused = asyncio.Event()

    def refuse(url: str, why: str) -> None:
        refused.set()

    seeding = Seeder(frontier, job, ADMISSION, name="s1", lease_seconds=0.3, refused=refuse)
    running = asyncio.create_task(seeding.run(itertools.repeat("ftp://a.example/")))
    await refused.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running


async def test_a_seeder_ends_though_the_end_of_its_heartbeat_is_lost() -> None:
    frontier = Deaf("second seeding")
    job = await frontier.create_job(Job("news"))
    loop = asyncio.get_running_loop()

    def lines() -> Iterator[str]:
        yield "http://a.example/"
        asyncio.run_coroutine_threadsafe(frontier.called.wait(), loop).result(10)

    seeding = seeder(frontier, job)
    await asyncio.wait_for(seeding.run(lines()), 10)
    assert ((await frontier.stats(job)).seeding, seeding.new) == (0, 1)


async def test_an_interruption_is_heeded_though_a_batch_loses_it() -> None:
    frontier = Deaf("add")
    job = await frontier.create_job(Job("news"))
    running = asyncio.create_task(seeder(frontier, job).run(f"http://a.example/{n}" for n in itertools.count()))
    await frontier.called.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(running, 10)


async def test_a_slow_stream_is_added_as_it_comes() -> None:
    frontier = Noted()
    job = await frontier.create_job(Job("news"))
    added = asyncio.Event()
    loop = asyncio.get_running_loop()

    def lines() -> Iterator[str]:
        yield "http://a.example/1"
        asyncio.run_coroutine_threadsafe(added.wait(), loop).result(10)
        yield "http://a.example/2"

    await seeder(frontier, job).run(lines(), lambda new, known: added.set())
    assert frontier.batches == [["http://a.example/1"], ["http://a.example/2"]]


async def test_what_came_before_the_streams_error_is_seeded() -> None:
    frontier = MemoryFrontier()
    job = await frontier.create_job(Job("news"))
    seeding = seeder(frontier, job)

    def lines() -> Iterator[str]:
        yield from (f"http://a.example/{n}" for n in range(700))
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await seeding.run(lines())
    assert seeding.new == (await frontier.stats(job)).pending == 700
