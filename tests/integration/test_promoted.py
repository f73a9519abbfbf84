"""A real replica behind the address of its primary: clients notice its promotion before their first command."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator

import pytest
from structlog.testing import capture_logs

from crawler.errors import FrontierUnavailable
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend
from crawler.model import Exported, Job
from crawler.testing.contract.world import Crawl, pages
from tests.chaos.proxy import Proxy, proxy_to
from tests.contract.world import RedisWorld
from tests.valkey import Valkey
from tests.valkey_fleet import ask, wait_for

SHARDS = 2


class Pair:
    """A primary and its replica; `network` is the address of both."""

    def __init__(self, primary: Valkey, replica: Valkey, network: Proxy) -> None:
        self.primary = primary
        self.replica = replica
        self.network = network

    def up_to_date(self) -> None:
        """Wait until the replica has all that the primary has."""
        ask(self.primary, "SET", "last", "1", replicas=1)

    def part(self) -> None:
        """From now on the replica receives nothing."""
        ask(self.replica, "REPLICAOF", "127.0.0.1", "1")

    def swap(self) -> None:
        """Kill the primary; the replica answers at the address, and is not promoted yet."""
        self.primary.kill()
        self.network.target = self.replica.socket
        self.network.reset()

    def promote(self) -> None:
        """By hand."""
        ask(self.replica, "REPLICAOF", "NO", "ONE")


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    """A replica that is up to date."""
    quick = {"repl-diskless-sync-delay": "0", "repl-ping-replica-period": "1"}
    with Valkey(tcp=True, options=quick) as primary, Valkey(options=quick) as replica:
        ask(replica, "REPLICAOF", "127.0.0.1", primary.port)
        wait_for(lambda: ask(replica, "INFO", "replication")["master_link_status"] == "up", "a replica")
        async with proxy_to(primary.socket) as network:
            yield Pair(primary, replica, network)


@pytest.fixture
async def crawl(pair: Pair) -> AsyncIterator[Crawl]:
    """A job there."""
    async with open_redis(Server(pair.network.url), shards=SHARDS) as frontier:
        yield Crawl(RedisWorld(pair.primary, SHARDS), frontier, await frontier.jobs.create(Job("news")))


async def again(frontier: Backend) -> None:
    """Call until the server answers."""
    async with asyncio.timeout(20):
        while True:
            try:
                await frontier.jobs.all()
                return
            except FrontierUnavailable:
                await asyncio.sleep(0.02)


async def beat(frontier: Backend) -> None:
    """As the worker's thread does."""
    await asyncio.to_thread(frontier.leases.beat, "w1", {})


async def test_a_replica_is_refused_until_it_is_promoted_and_then_noticed(pair: Pair, crawl: Crawl) -> None:
    await crawl.add(*pages(4))
    for lease in (await crawl.claim(2)).leases:
        await crawl.end(lease, items=(b"{}",))
    await beat(crawl.frontier)
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    pair.up_to_date()
    pair.swap()
    with pytest.raises(FrontierUnavailable, match="replica"):
        await crawl.frontier.jobs.all()
    with pytest.raises(FrontierUnavailable, match="replica"):
        await beat(crawl.frontier)
    pair.promote()
    with capture_logs() as logs:
        await again(crawl.frontier)
        assert await crawl.outbox.read(crawl.job, {}, 10) == entries
    assert [line["event"] for line in logs] == ["queue_server_promoted"]
    with capture_logs() as logs:
        await beat(crawl.frontier)
        async with open_redis(Server(pair.network.url)) as other:
            assert [job.name for job in await other.jobs.all()] == ["news"]
    assert logs == []


async def test_a_heartbeat_may_be_the_first_to_notice(pair: Pair, crawl: Crawl) -> None:
    await beat(crawl.frontier)
    pair.up_to_date()
    pair.swap()
    pair.promote()
    with capture_logs() as logs:
        await beat(crawl.frontier)
    assert [line["event"] for line in logs] == ["queue_server_promoted"]


async def test_a_server_that_was_a_replica_for_a_while_is_noticed(pair: Pair, crawl: Crawl) -> None:
    """Its connections stay open all the time."""
    pair.up_to_date()
    before = await crawl.frontier.broadcasts.last_broadcast()
    ask(pair.primary, "REPLICAOF", "127.0.0.1", "1")
    with pytest.raises(FrontierUnavailable):
        await crawl.add("http://a.example/")
    ask(pair.primary, "REPLICAOF", "NO", "ONE")
    with capture_logs() as logs:
        await again(crawl.frontier)
    assert [line["event"] for line in logs] == ["queue_server_promoted"]
    assert [one.word for one in await crawl.frontier.broadcasts.hear(before)] == ["rule"]


async def test_items_of_lost_commits_come_twice_and_all_others_once(pair: Pair, crawl: Crawl) -> None:
    await crawl.add(*pages(9))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    written: list[str] = []

    async def export() -> None:
        """Write what is new."""
        while entries := await crawl.outbox.read(crawl.job, positions, 3):
            written.extend(entry.url for entry in entries)
            positions.update((entry.shard, entry.position) for entry in entries)
            await crawl.outbox.acknowledge(crawl.job, Exported(dict(positions)))

    for lease in leases[:4]:
        await crawl.end(lease, items=(b"{}",))
    pair.up_to_date()
    pair.part()
    for lease in leases[4:6]:
        await crawl.end(lease, items=(b"{}",))
    await export()
    pair.swap()
    pair.promote()
    await again(crawl.frontier)
    with capture_logs() as logs:
        await export()
    assert [(line["event"], line["pages"], line["perhaps"]) for line in logs] == [("items_come_twice", 2, 0)]
    for lease in leases[4:]:
        assert await crawl.end(lease, items=(b"{}",))
    await export()
    assert sorted(written) == sorted([*pages(9), *(lease.request.url for lease in leases[4:6])])
    assert await crawl.counter("twice/pages") == 2


@pytest.fixture
def durable() -> Iterator[Valkey]:
    """A server that keeps its data."""
    with Valkey(appendonly=True) as server:
        yield server


async def test_a_restart_is_no_promotion(durable: Valkey) -> None:
    async with open_redis(Server(durable.url)) as frontier:
        await frontier.jobs.create(Job("news"))
        await beat(frontier)
        before = await frontier.broadcasts.last_broadcast()
        durable.restart()
        with capture_logs() as logs:
            await again(frontier)
        assert logs == []
        assert [one.word for one in await frontier.broadcasts.hear(before)] == ["rule"], "it is another generation"
