"""P37: a replica takes the place of its master, with all that the master wrote last or without it.

The site is a tree: one link that is lost is never found again, and a site with many links would hide that. What a
replica lacked when it was promoted is read from the offsets: a run in which it lacked nothing proves nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager

import pytest

from tests.chaos.fleet import until
from tests.chaos.partition import WEB, CutOff, is_possible, partition
from tests.chaos.stage import IN_FLIGHT, LEASE, Stage, Theatre
from tests.valkey import Valkey
from tests.valkey_fleet import ClusterFleet, SentinelFleet, ask

BEHIND = 1.5  # seconds of which the replica hears nothing
HOSTS = 12
SHARDS = 6

FleetOfServers = SentinelFleet | ClusterFleet
KINDS: Mapping[str, Callable[[], FleetOfServers]] = {
    "sentinel": lambda: SentinelFleet(appendonly=True),
    "cluster": lambda: ClusterFleet(appendonly=True),
}
both = pytest.mark.parametrize("kind", KINDS)


class Play:
    """A stage and its queue servers."""

    def __init__(self, stage: Stage, servers: FleetOfServers) -> None:
        self.stage = stage
        self.servers = servers

    def victim(self) -> Valkey:
        """A master that has shards, by chance."""
        if isinstance(self.servers, SentinelFleet):
            return self.servers.master()
        return self.stage.chance.choice(sorted(self.servers.masters(), key=lambda node: node.port))

    async def kill(self, master: Valkey) -> None:
        """SIGKILL; a replica is promoted, and the old master comes back as one."""
        self.stage.fault(f"kill -9 of the master {master.port}")
        await asyncio.to_thread(master.kill)
        await self.replaced(master)

    async def kill_with_a_stale_replica(self, master: Valkey) -> int:
        """The same, with a replica that has heard nothing for a while. Returns how many bytes it lacks."""
        began = await asyncio.to_thread(self.servers.offset, master)
        with self.servers.lagging(master):
            self.stage.fault(f"the replicas of {master.port} hear nothing")
            await asyncio.sleep(BEHIND)  # the lag itself
            written = await asyncio.to_thread(self.servers.offset, master)
            self.stage.fault(f"kill -9 of the master {master.port}, {written - began:,} bytes later")
            await asyncio.to_thread(master.kill)
        promoted = await asyncio.to_thread(self.servers.wait_for_promotion, master)
        had = int(ask(promoted, "INFO", "replication")["second_repl_offset"]) - 1
        await self.come_back(master)
        return written - had

    async def replaced(self, master: Valkey) -> None:
        """Wait for the promotion of a replica, and start the old master again."""
        await asyncio.to_thread(self.servers.wait_for_promotion, master)
        await self.come_back(master)

    async def come_back(self, *servers: Valkey) -> None:
        """Start these again, and wait until they have what their master has."""
        for server in servers:
            await asyncio.to_thread(server.start)
        await asyncio.to_thread(self.servers.wait_until_healthy)


@asynccontextmanager
async def playing(
    theatre: Theatre, title: str, kind: str, *, replicas: int = 1, seconds: float = 0.0
) -> AsyncIterator[Play]:
    """Set the stage, with a crawl that takes about so many seconds without faults; 0: as few as one fault needs."""
    scale = theatre.scale
    pages = scale.pages if scale.is_long else scale.pages // 2
    servers = KINDS[kind]()
    settings = {"REDIS_REPLICAS": replicas, "ACCEPT_LOSS": not replicas, "SHARDS": 1 if kind == "sentinel" else SHARDS}
    at_once = IN_FLIGHT * scale.workers
    async with theatre(
        "P37",
        f"{title}, {kind}" + ("" if replicas else ", without the barrier"),
        settings=settings,
        pages=pages,
        hosts=HOSTS,
        page_seconds=(seconds or (8.0 if scale.is_long else 4.0)) * at_once / pages,
        tree=True,
        servers=servers,
    ) as stage:
        await stage.start()
        yield Play(stage, servers)


@pytest.mark.parametrize("kind", [pytest.param("sentinel", marks=pytest.mark.long), "cluster"])
async def test_p37_stale_replica(theatre: Theatre, kind: str) -> None:
    """A replica is promoted that has heard nothing for 1.5 s: nothing lost, nothing twice."""
    async with playing(theatre, "a stale replica is promoted", kind) as play:
        stage = play.stage
        await stage.reached(0.15)
        before = len(stage.web.log)
        lacked = await play.kill_with_a_stale_replica(play.victim())
        crawl = await stage.finish()
        stage.row.at_least("bytes that it lacked", lacked, 1_000)
        stage.expect(crawl, refetched=len(stage.web.log) - before)


@both
@pytest.mark.long
async def test_p37_stale_replica_without_the_barrier(theatre: Theatre, kind: str) -> None:
    """The judge finds what the barrier prevents: a cluster loses pages, and a single master's items come twice."""
    async with playing(theatre, "a stale replica is promoted", kind, replicas=0) as play:
        stage = play.stage
        await stage.reached(0.15)
        lacked = await play.kill_with_a_stale_replica(play.victim())
        crawl = await stage.finish()
        stage.row.at_least("bytes that it lacked", lacked, 1_000)
        stage.row.told("lost", crawl.lost)
        stage.row.told("duplicates", crawl.duplicates)
        stage.row.at_least("found by the judge", crawl.lost + crawl.duplicates, 1)


@both
@pytest.mark.long
async def test_p37_kill_the_master(theatre: Theatre, kind: str) -> None:
    """`kill -9` of a master again and again; its replica, which is up to date, takes its place."""
    async with playing(theatre, "kill -9 of a master", kind, seconds=6.0 * theatre.scale.faults) as play:
        stage = play.stage
        for share in stage.moments():
            await stage.reached(share)
            await play.kill(play.victim())
            await stage.recovery()
        crawl = await stage.finish()
        stage.expect(crawl, refetched=stage.scale.faults * 2 * IN_FLIGHT * stage.scale.workers)


@both
@pytest.mark.long
async def test_p37_planned_failover(theatre: Theatre, kind: str) -> None:
    """CLUSTER FAILOVER, SENTINEL FAILOVER: a replica takes over in order, and the master becomes its replica."""
    async with playing(theatre, "planned fail-over", kind, seconds=3.0 * theatre.scale.faults) as play:
        stage, servers = play.stage, play.servers
        for share in stage.moments():
            await stage.reached(share)
            stage.fault("fail-over in order")
            if isinstance(servers, SentinelFleet):
                await asyncio.to_thread(servers.failover)
            else:
                await asyncio.to_thread(servers.failover, play.victim())
            await asyncio.to_thread(servers.wait_until_healthy)
            await stage.recovery()
        crawl = await stage.finish()
        stage.expect(crawl, refetched=stage.scale.faults * 2 * IN_FLIGHT * stage.scale.workers)


@both
@pytest.mark.long
async def test_p37_no_replica_for_a_while(theatre: Theatre, kind: str) -> None:
    """All replicas are killed: links wait, and `status` and the workers say so, until they are back."""
    async with playing(theatre, "all replicas gone, then back", kind) as play:
        stage = play.stage
        await stage.reached(0.1)
        masters = play.servers.masters()
        replicas = [node for master in masters for node in play.servers.replicas(master)]
        stage.fault("kill -9 of all replicas")
        for replica in replicas:
            await asyncio.to_thread(replica.kill)
        says = "has 0 of the 1 replicas"
        await until(lambda: any(worker.says(says) for worker in stage.fleet.running), "word of it")
        await asyncio.sleep(LEASE)  # the shortage outlives a lease
        stage.row.exactly("status says it", says in (await stage.status())["waits_for"], True)
        stage.row.exactly("finished meanwhile", (await stage.job())["finished"], False)
        await play.come_back(*replicas)
        crawl = await stage.finish()
        stage.row.exactly("lines of a worker", max(worker.says(says) for worker in stage.fleet.running), 1)
        stage.row.exactly("status says it still", says in (await stage.status())["waits_for"], False)
        stage.expect(crawl, refetched=0)


@pytest.mark.long
async def test_p37_slots_move(theatre: Theatre) -> None:
    """Each shard moves to another master while the crawl goes on, key by key."""
    async with playing(theatre, "slots move to other masters", "cluster", seconds=12.0) as play:
        stage, servers = play.stage, play.servers
        assert isinstance(servers, ClusterFleet)
        shards = {key.partition(b"}")[0].decode() + "}" for node in servers.masters() for key in ask(node, "KEYS", "*")}
        seconds = list[float]()
        for share, shard in zip(stage.moments(len(shards)), sorted(shards), strict=True):
            await stage.reached(share)
            source = servers.master(shard)
            target = stage.chance.choice([node for node in servers.masters() if node is not source])
            stage.fault(f"{shard} moves from {source.port} to {target.port}")
            began = time.monotonic()
            await asyncio.to_thread(servers.move_slot, shard, target, pause=0.01)
            seconds.append(time.monotonic() - began)
        stage.row.told("slots moved", len(shards))
        stage.row.told("longest move s", max(seconds))
        crawl = await stage.finish()
        # Leases may end during a move that lasts as long as one: an outage, after which all in flight is asked again.
        slow = sum(each > LEASE / 2 for each in seconds)
        stage.expect(crawl, refetched=(1 + slow) * IN_FLIGHT * stage.scale.workers)


@pytest.mark.long
@pytest.mark.skipif(not is_possible, reason="needs root and network namespaces (ip netns)")
@pytest.mark.parametrize("replicas", [1, 0])
async def test_p37_minority(theatre: Theatre, replicas: int) -> None:
    """The master, a worker and the exporter are cut off from all others. It goes on, and so does the promoted replica:
    for a while there are two masters. What the one that was cut off did meanwhile is undone."""
    scale = theatre.scale
    title = "a master is cut off with a worker" + ("" if replicas else ", without the barrier")
    with partition(HOSTS) as there:
        servers = CutOff(there)
        async with theatre(
            "P37",
            title,
            settings={"REDIS_REPLICAS": replicas, "ACCEPT_LOSS": not replicas, "ALLOWED_NETWORKS": "10.214.1.0/24"},
            hosts=HOSTS,
            page_seconds=10.0 * IN_FLIGHT * scale.workers / scale.pages,
            tree=True,
            addresses=WEB,
            servers=servers,
        ) as stage:
            await stage.fleet.worker(wrapper=there.wrapper)
            for _ in range(scale.workers - 1):
                await stage.fleet.worker()
            await stage.export(wrapper=there.wrapper)
            await stage.fleet.finished("seed", *stage.web.seeds)
            await stage.reached(0.15)
            before = len(stage.web.log)
            stage.fault("the master is cut off")
            there.cut()
            await asyncio.to_thread(servers.wait_for_promotion)
            written = int(ask(servers.master, "INFO", "replication")["master_repl_offset"])
            await stage.asked(len(stage.web.log) + scale.pages // 10)
            stage.row.exactly("masters", sum(ask(node, "ROLE")[0] == b"master" for node in servers.nodes), 2)
            written = int(ask(servers.master, "INFO", "replication")["master_repl_offset"]) - written
            stage.row.at_least("bytes undone", written, 1_000)
            there.heal()
            await asyncio.to_thread(servers.wait_for_demotion)
            crawl = await stage.finish()
            if replicas:
                stage.expect(crawl, refetched=len(stage.web.log) - before)
            else:
                stage.row.at_least("found by the judge", crawl.lost + crawl.duplicates, 1)
