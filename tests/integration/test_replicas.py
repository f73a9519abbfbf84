"""The barrier, REDIS_REPLICAS: what waits until a replica has it, and what need not, on a real server and its replica.

A frozen replica has nothing new, and its server goes on answering: that is what the barrier is for.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from msgspec.structs import replace
from structlog.testing import capture_logs

from crawler.app.config import Config
from crawler.app.connect import check_server, connect
from crawler.errors import ConfigError, FrontierUnavailable, ReplicasMissing
from crawler.frontier.redis import barrier as module
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Added, Done, Job, Request, Rule, Ticket, Visit
from crawler.schedules.timetable import Schedule, Timetable
from crawler.settings import Settings
from tests.valkey import Valkey
from tests.valkey_fleet import wait_for

PACE = Pace(delay=0)
JOB = Job("job")
TABLE = Timetable(Schedule("s", "* * * * *", ("status",)), 0, revision="1")
URL, LINK = "http://a.example/1", "http://b.example/2"


@pytest.fixture(scope="module")
def pair() -> Iterator[tuple[Valkey, Valkey]]:
    """A server and its only replica."""
    with Valkey(tcp=True, appendonly=True) as server, replica_of(server) as replica:
        yield server, replica


@contextmanager
def replica_of(server: Valkey, *, appendonly: bool = True) -> Iterator[Valkey]:
    """A replica that has all of it by now."""
    with redis.Redis.from_url(server.url) as client:
        client.config_set("repl-diskless-sync-delay", 0)
        with Valkey(options={"replicaof": f"127.0.0.1 {server.port}"}, appendonly=appendonly) as replica:
            while not (client.set("synced", 1) and client.wait(1, 1000)):
                pass
            yield replica


@contextmanager
def away(replica: Valkey) -> Iterator[None]:
    """Freeze the replica. Nobody need wait for it for long then."""
    with replica.frozen(), pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "REPLICA_MS", 100)
        yield


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replicas that are there answer sooner or later."""
    monkeypatch.setattr(module, "REPLICA_MS", 5000)


@asynccontextmanager
async def opened(server: Valkey, request: pytest.FixtureRequest, replicas: int = 1) -> AsyncIterator[Backend]:
    """A frontier of the test's own."""
    async with open_redis(Server(server.url, replicas=replicas), prefix=request.node.name, shards=2) as frontier:
        yield frontier


async def seeded(frontier: Backend) -> Job:
    """A job with one page pending."""
    job = await frontier.jobs.create(JOB)
    await frontier.adding.add(job, [Request(URL)], seed=True)
    return job


CALLS: dict[str, Callable[[Backend, Job], Awaitable[object]]] = {
    "links": lambda frontier, job: frontier.adding.add(job, [Request(LINK)]),
    "seeds": lambda frontier, job: frontier.adding.add(job, [Request(LINK)], seed=True),
    "known seeds": lambda frontier, job: frontier.adding.add(job, [Request(URL)], seed=True),
    "presence": lambda frontier, job: frontier.adding.seeding(job, "me", 1),
    "durable": lambda frontier, job: frontier.adding.durable(),
    "job": lambda frontier, job: frontier.jobs.create(Job("other")),
    "deletion": lambda frontier, job: frontier.jobs.delete(job.name),
    "rule": lambda frontier, job: frontier.control.set_rule(Rule("block", "host", "a.example", "on")),
    "pause": lambda frontier, job: frontier.pauses.pause(job, "host", "a.example", "why"),
    "ticket": lambda frontier, job: frontier.tickets.issue(Ticket("id", job.name, job.epoch)),
    "tick": lambda frontier, job: frontier.schedules.replace(None, TABLE),
}


@pytest.mark.parametrize("what", CALLS)
async def test_what_others_are_told_of_waits_for_a_replica(
    pair: tuple[Valkey, Valkey], request: pytest.FixtureRequest, what: str
) -> None:
    server, replica = pair
    async with opened(server, request) as frontier:
        job = await seeded(frontier)
        with away(replica), pytest.raises(ReplicasMissing, match=r"has 0 of the 1 replicas .* \(REDIS_REPLICAS=1\)"):
            await CALLS[what](frontier, job)
        await CALLS[what](frontier, job)


async def test_pages_wait_with_their_links_and_are_not_done_before(
    pair: tuple[Valkey, Valkey], request: pytest.FixtureRequest
) -> None:
    """A page that is done although a fail-over may undo its links would lose them. Claims and heartbeats go on."""
    server, replica = pair
    async with opened(server, request) as frontier:
        job = await seeded(frontier)
        with away(replica):
            frontier.leases.beat("me", {})
            (lease,) = (await frontier.queue.claim("me", 9, [job], PACE)).leases
            visits = [(lease, Visit(Done(), links=(Request(LINK, depth=1),)))]
            with pytest.raises(ReplicasMissing):
                await frontier.queue.commit("me", visits, PACE)
            stats = await frontier.reading.stats(job)
            assert (stats.processing, stats.done) == (1, 0)
            assert frontier.links.maybe_new_urls(job, [LINK]) == [LINK], "known only behind the barrier"
        assert await frontier.queue.commit("me", visits, PACE) == [True]
        assert frontier.links.maybe_new_urls(job, [LINK]) == []


async def test_the_new_ones_are_told_once_they_are_kept(
    pair: tuple[Valkey, Valkey], request: pytest.FixtureRequest
) -> None:
    """The first call, which waited in vain, found them new; the repeated one finds them known."""
    server, replica = pair
    seeds = [Request(f"http://{name}.example/") for name in "abc"]
    async with opened(server, request) as frontier:
        job = await seeded(frontier)
        with away(replica), pytest.raises(ReplicasMissing):
            await frontier.adding.add(job, seeds[:1], seed=True)
        added = await frontier.adding.add(job, seeds[:1], seed=True)
        assert (added.new, added.known) == (1, 0)
        added = await frontier.adding.add(job, seeds, seed=True)
        assert (added.new, added.known) == (2, 1)


async def test_what_one_shard_has_added_is_told_though_the_next_was_away(
    pair: tuple[Valkey, Valkey], request: pytest.FixtureRequest
) -> None:
    seeds = [Request(f"http://{name}.example/") for name in "abcdefghijkl"]
    called: list[str] = []

    class SecondIsAway(Server):
        async def run(self, script: str, key: str, *arguments: Any, barrier: bool = False) -> Any:
            if script == "add":
                called.append(key)
                if len(called) == 2:
                    raise FrontierUnavailable("away")
            return await super().run(script, key, *arguments, barrier=barrier)

    async with open_redis(SecondIsAway(pair[0].url), prefix=request.node.name, shards=2) as frontier:
        job = await frontier.jobs.create(JOB)
        with pytest.raises(FrontierUnavailable):
            await frontier.adding.add(job, seeds, seed=True)
        added = await frontier.adding.add(job, seeds, seed=True)
        assert len(set(called)) == 2, "one call for each shard"
        assert (added.new, added.known) == (12, 0)


async def test_items_are_read_and_a_job_is_finished_only_behind_the_barrier(
    pair: tuple[Valkey, Valkey], request: pytest.FixtureRequest
) -> None:
    """A fail-over that undoes the last page undoes the end, too; so nobody may have concluded anything from it."""
    server, replica = pair
    async with opened(server, request) as frontier, opened(server, request, replicas=0) as careless:
        job = await seeded(frontier)
        with away(replica):
            (lease,) = (await frontier.queue.claim("me", 9, [job], PACE)).leases
            assert await frontier.queue.commit("me", [(lease, Visit(Done(), (b'{"a":1}',)))], PACE) == [True]
            assert (await careless.reading.stats(job)).finished
            assert not (await frontier.reading.stats(job)).finished
            assert "has 0 of the 1 replicas" in await frontier.reading.waits_for()
            assert len(await careless.outbox.read(job, {}, 9)) == 1
            with pytest.raises(ReplicasMissing):
                await frontier.outbox.read(job, {}, 9)
        assert (await frontier.reading.stats(job)).finished
        assert await frontier.reading.waits_for() == ""
        assert len(await frontier.outbox.read(job, {}, 9)) == 1


async def test_an_end_that_a_fail_over_undoes_before_the_barrier_is_none(
    pair: tuple[Valkey, Valkey], request: pytest.FixtureRequest
) -> None:
    """What was read before the barrier may be of a server that another one has replaced by then."""
    undone: list[Added] = []

    class Undone(Server):
        async def write(self, key: str, *commands: tuple[Any, ...]) -> list[Any]:
            if not commands and not undone:
                undone.append(await careless.adding.add(job, [Request(LINK)]))
            return await super().write(key, *commands)

    async with (
        opened(pair[0], request, replicas=0) as careless,
        open_redis(Undone(pair[0].url, replicas=1), prefix=request.node.name) as frontier,
    ):
        job = await seeded(careless)
        (lease,) = (await careless.queue.claim("me", 9, [job], PACE)).leases
        await careless.queue.commit("me", [(lease, Visit(Done()))], PACE)
        assert (await careless.reading.stats(job)).finished
        assert not (await frontier.reading.stats(job)).finished
        assert undone


async def test_items_wait_for_the_disk_of_a_replica(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a replica that keeps nothing on its disk they wait for ever, and the error says why."""
    monkeypatch.setattr(module, "SYNC_MS", 100)
    with Valkey(tcp=True, appendonly=True) as server, replica_of(server, appendonly=False):
        async with opened(server, request) as frontier:
            job = await seeded(frontier)
            (lease,) = (await frontier.queue.claim("me", 9, [job], PACE)).leases
            assert await frontier.queue.commit("me", [(lease, Visit(Done(), (b'{"a":1}',)))], PACE) == [True]
            with pytest.raises(FrontierUnavailable, match=r"replicas .* have not written .* `appendonly yes`"):
                await frontier.outbox.read(job, {}, 9)


async def test_a_disk_that_does_not_confirm_is_told_where_nobody_knows_whether_it_will(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without CONFIG, `appendfsync` may be `no`."""
    monkeypatch.setattr(module, "SYNC_MS", 100)
    with Valkey(tcp=True, appendonly=True) as server, replica_of(server, appendonly=False):
        with redis.Redis.from_url(server.url) as client:
            client.execute_command("ACL", "SETUSER", "default", "-config")
        async with opened(server, request) as frontier:
            with capture_logs() as logs:
                await frontier.adding.durable()
    assert [(line["event"], line["why"].partition(";")[0]) for line in logs] == [
        ("disk_not_awaited", "appendfsync is unknown, and a disk has not confirmed in time")
    ]


async def test_a_server_without_an_append_only_file_has_its_replicas(request: pytest.FixtureRequest) -> None:
    """Nobody can wait for its disk, so what a replica has in memory counts."""
    with Valkey(tcp=True) as server, replica_of(server, appendonly=False) as replica:
        async with opened(server, request) as frontier:
            await seeded(frontier)
            await frontier.adding.durable()
            with away(replica), pytest.raises(ReplicasMissing):
                await frontier.adding.durable()


async def test_a_command_warns_at_its_start(pair: tuple[Valkey, Valkey]) -> None:
    """Of too few replicas, and of a server that writes without them; nobody warns without REDIS_REPLICAS."""
    server, _ = pair
    with redis.Redis.from_url(server.url) as client:
        few, alone = await warnings(server.url, replicas=1)
        assert few == "replicas: 1, REDIS_REPLICAS=1, so the crawl waits while one of them is away; run 2"
        assert alone.startswith("min-replicas-to-write is 0")
        client.config_set("min-replicas-to-write", 1)
        assert await warnings(server.url, replicas=1) == [few]
        client.config_set("min-replicas-to-write", 0)
    assert await warnings(server.url, replicas=0) == []


async def warnings(url: str, replicas: int) -> list[str]:
    """What a command logs when it connects."""
    with capture_logs() as logs:
        async with connect(config(url, replicas)):
            return [str(line["why"]) for line in logs]


def config(url: str, replicas: int) -> Config:
    """The settings of a command."""
    return Config(Settings(REDIS_URL=url, REDIS_REPLICAS=replicas), {}, Path())


async def test_a_cluster_without_a_barrier_is_refused_unless_loss_is_accepted() -> None:
    settings = Settings(REDIS_URL="redis+cluster://:geheim@127.0.0.1:1")
    with pytest.raises(ConfigError, match=r":\*\*\*@127.0.0.1:1: set REDIS_REPLICAS=1 .*; ACCEPT_LOSS=true crawls"):
        async with connect(Config(settings, {}, Path())):
            pass
    check_server(replace(settings, ACCEPT_LOSS=True))
    check_server(replace(settings, REDIS_REPLICAS=1))


@pytest.mark.parametrize(("url", "whose"), [("", "the embedded server"), ("memory://", "memory://")])
async def test_a_server_that_can_have_no_replicas_is_refused(url: str, whose: str) -> None:
    with pytest.raises(ConfigError, match=f"REDIS_REPLICAS=1: {whose} has no replicas"):
        async with connect(config(url, 1), alone=True):
            pass


async def test_a_server_that_becomes_a_replica_while_it_waits_is_an_outage(request: pytest.FixtureRequest) -> None:
    """Sentinels and clusters do that to a master that they replace. What it wrote last may be lost."""
    with Valkey(tcp=True, appendonly=True) as server, redis.Redis.from_url(server.url) as client:
        async with opened(server, request, replicas=0) as frontier:
            await seeded(frontier)
        async with opened(server, request) as frontier:
            waiting = asyncio.create_task(frontier.adding.durable())
            await asyncio.to_thread(wait_for, lambda: client.info("clients")["blocked_clients"] > 0, "the wait")
            client.replicaof("127.0.0.1", "1")
            with pytest.raises(FrontierUnavailable, match="is a replica, which takes no writes"):
                await waiting


async def test_a_promoted_replica_is_young_however_long_it_has_run(request: pytest.FixtureRequest) -> None:
    """It lacks the last heartbeats, so reapers must wait for new ones."""
    with Valkey(tcp=True) as server, replica_of(server, appendonly=False) as replica:
        async with opened(server, request) as before:
            while await before.store.uptime() < 0.5:
                await before.adding.durable()  # takes the replica some time to confirm
            with redis.Redis.from_url(replica.url) as client:
                client.replicaof("NO", "ONE")
            async with opened(replica, request, replicas=0) as after:
                young = await after.store.uptime()
                assert young + 0.4 < await before.store.uptime()
