"""A server that loses its last second, as after a power failure: what was lost is found again."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import cast

import pytest

from crawler.errors import FrontierUnavailable
from crawler.frontier.redis import adding as module
from crawler.frontier.redis import barrier
from crawler.frontier.redis.adding import RedisAdding
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.seen_cache import FIRST_ENTRIES
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Claim, Done, Job, Lease, Request, Visit
from tests.valkey import Valkey

PACE = Pace(delay=0.0, concurrency=10)


@asynccontextmanager
async def claimed() -> AsyncIterator[tuple[Valkey, Backend, Job, Lease]]:
    """A server whose state is noted when a worker has claimed a page; `roll_back` returns to it."""
    with Valkey(appendonly=True) as server:
        async with open_redis(Server(server.url)) as frontier:
            job = await frontier.jobs.create(Job("news"))
            await frontier.adding.add(job, [Request("http://a.example/")], seed=True)
            (lease,) = (await frontier.queue.claim("w1", 10, [job], PACE)).leases
            shutil.copytree(server.folder / "appendonlydir", server.folder / "before")
            yield server, frontier, job, lease


def roll_back(server: Valkey) -> None:
    """What came after the note is lost, as what had not reached the disk is in a power failure."""
    server.kill()
    shutil.rmtree(server.folder / "appendonlydir")
    (server.folder / "before").rename(server.folder / "appendonlydir")
    server.start()


async def test_a_worker_that_lives_on_visits_again_what_it_had_committed() -> None:
    """The server counts the page as in flight, and as long as its worker lives nobody else may take it."""
    async with claimed() as (server, frontier, job, lease):
        assert await frontier.queue.commit("w1", [(lease, Visit(Done(), items=(b"{}",)))], PACE) == [True]
        roll_back(server)
        await patiently(lambda: frontier.reading.stats(job))
        (again,) = (await frontier.queue.claim("w1", 10, [job], PACE)).leases
        assert again.message == lease.message
        assert (await frontier.queue.claim("w1", 10, [job], PACE)).leases == ()
        assert await frontier.queue.commit("w1", [(again, Visit(Done(), items=(b"{}",)))], PACE) == [True]
        assert (await frontier.reading.stats(job)).done == 1


async def test_a_commit_that_is_half_done_when_its_half_is_lost_is_found_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pages count as handed out until all of it is done: a look in between finds nothing and proves nothing."""
    with Valkey(appendonly=True) as server:
        link = Server(server.url)
        async with open_redis(link, shards=2) as frontier:
            job = await frontier.jobs.create(Job("news"))
            await frontier.adding.add(job, [Request(f"http://{name}.example/") for name in "abcd"], seed=True)
            leases = (await frontier.queue.claim("w1", 10, [job], PACE)).leases
            shutil.copytree(server.folder / "appendonlydir", server.folder / "before")
            visits = [(lease, Visit(Done())) for lease in leases]
            with monkeypatch.context() as patch:
                done: list[str] = []

                async def run_once(script: str, key: str, *arguments: object, barrier: bool = False) -> object:
                    if script == "commit" and done:
                        raise FrontierUnavailable("the other shard is away")
                    done.append(key)
                    return await Server.run(link, script, key, *arguments, barrier=barrier)

                patch.setattr(link, "run", run_once)
                with pytest.raises(FrontierUnavailable):
                    await frontier.queue.commit("w1", visits, PACE)
            roll_back(server)
            await patiently(lambda: frontier.reading.stats(job))
            assert (await frontier.queue.claim("w1", 10, [job], PACE)).leases == ()
            assert await frontier.queue.commit("w1", visits, PACE) == [True] * 4
            again = (await frontier.queue.claim("w1", 10, [job], PACE)).leases
            assert 0 < len(again) < 4
            assert {lease.message for lease in again} < {lease.message for lease in leases}


async def test_a_worker_is_not_given_again_what_it_is_at_work_on() -> None:
    async with claimed() as (server, frontier, job, lease):
        roll_back(server)
        await patiently(lambda: frontier.reading.stats(job))
        assert (await frontier.queue.claim("w1", 10, [job], PACE)).leases == ()
        assert await frontier.queue.commit("w1", [(lease, Visit(Done()))], PACE) == [True]


async def test_junk_that_was_buried_in_the_lost_second_is_junk_again() -> None:
    with Valkey(appendonly=True) as server:
        async with open_redis(Server(server.url)) as frontier:
            job = await frontier.jobs.create(Job("news"))
            await frontier.adding.add(job, [Request("http://a.example/")], seed=True)
            line = "{crawler:0}:job:news:pending:0:a.example"
            (message,) = await cast(Server, frontier.store).at(line).lrange(line, 0, -1)
            await cast(Server, frontier.store).at(line).lset(line, 0, message.replace(b"[1,", b"[9,", 1))
            (junk,) = (await frontier.queue.claim("w1", 10, [job], PACE)).junk
            shutil.copytree(server.folder / "appendonlydir", server.folder / "before")
            assert await frontier.queue.set_aside("w1", job, junk.message, 60.0)
            roll_back(server)
            await patiently(lambda: frontier.reading.stats(job))
            assert (await frontier.queue.claim("w1", 10, [job], PACE)).junk == (junk,)


@pytest.mark.parametrize("fsync", ["always", "everysec", "no"])
async def test_items_are_exported_when_the_servers_disk_has_them(fsync: str) -> None:
    """Where the server does not know when that is, at once."""
    with Valkey(appendonly=True, fsync=fsync) as server:
        async with open_redis(Server(server.url)) as frontier:
            job = await frontier.jobs.create(Job("news"))
            await frontier.adding.add(job, [Request(f"http://{host}.example/") for host in "abc"], seed=True)
            leases = (await frontier.queue.claim("w1", 10, [job], PACE)).leases
            await frontier.queue.commit("w1", [(lease, Visit(Done(), items=(b"{}",))) for lease in leases], PACE)
            entries = await frontier.outbox.read(job, {}, 10)
            assert len(entries) == 3
            await frontier.adding.durable()


async def test_items_that_the_servers_disk_does_not_have_yet_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(barrier, "SYNC_MS", 50)
    async with claimed() as (_, frontier, job, lease):
        await frontier.queue.commit("w1", [(lease, Visit(Done(), items=(b"{}",)))], PACE)
        client = cast(Server, frontier.store).at("")
        await client.config_set("appendfsync", "no")  # behind our back: a disk that takes for ever
        await frontier.adding.seeding(job, "s1", 0)
        with pytest.raises(FrontierUnavailable, match="disk of the queue server"):
            await frontier.outbox.read(job, {}, 10)
        with pytest.raises(FrontierUnavailable, match="disk of the queue server"):
            await frontier.adding.durable()
        await client.config_set("appendfsync", "always")
        assert len(await frontier.outbox.read(job, {}, 10)) == 1


async def test_links_of_a_page_whose_commit_was_lost_are_added_when_it_is_visited_again() -> None:
    async with claimed() as (server, frontier, job, lease):
        found = Visit(Done(), links=(Request("http://a.example/next", depth=1),))
        assert await frontier.queue.commit("w1", [(lease, found)], PACE) == [True]
        roll_back(server)
        await patiently(lambda: frontier.leases.reap("w1"))
        (lease,) = (await frontier.queue.claim("w2", 10, [job], PACE)).leases
        assert await frontier.queue.commit("w2", [(lease, found)], PACE) == [True]
        claim: Claim = await frontier.queue.claim("w2", 10, [job], PACE)
        assert [one.request.url for one in claim.leases] == ["http://a.example/next"]


async def patiently(call: object) -> None:
    """The first call after a restart may meet a connection of before."""
    for _ in range(3):
        try:
            await call()  # type: ignore[operator]
            return
        except FrontierUnavailable:
            continue


async def test_what_is_known_of_many_jobs_is_bounded(valkey_server: Valkey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ALL_CACHE_ENTRIES", 5 * FIRST_ENTRIES)
    async with open_redis(Server(valkey_server.url), prefix="known") as frontier:
        for number in range(30):
            job = await frontier.jobs.create(Job(f"job{number}"))
            added = await frontier.adding.add(job, [Request(f"http://a.example/{page}") for page in range(20)])
            assert added.new == 20
        assert len(cast(RedisAdding, frontier.adding)._known) == 5
