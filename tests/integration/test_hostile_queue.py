"""A real worker on a real server whose queue is full of bytes that nobody should have put there.

It lives, each bad message is accounted for by its kind, and the innocent pages among them are all done.
`FUZZ_MESSAGES=1000000` makes it long, `FUZZ_SEED` another one.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest
import redis.asyncio

from crawler.frontier.message import JunkMessage, check, decode, ledger_host
from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.keys import job_prefix, shard_of, shard_prefix
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import Job, Request
from crawler.parsing.scope import Scope
from crawler.policy import RetryPolicy
from crawler.response import Response
from crawler.spiders.base import Spider
from crawler.visit.admission import Admission
from crawler.visit.ready_spiders import ReadySpider
from crawler.visit.visit import Visitor
from crawler.worker.blame_slot import Slot
from crawler.worker.lease import LeaseClock
from crawler.worker.listener import Listener
from crawler.worker.process_stats import Tally
from crawler.worker.reaper import Reaper
from crawler.worker.worker import Worker, WorkerOptions
from tests import invariants
from tests.junk import JUNK, LATER, REQUEST, mutants
from tests.valkey import Valkey

MESSAGES = int(os.environ.get("FUZZ_MESSAGES", "20000"))
SEED = int(os.environ.get("FUZZ_SEED", "1"))
BATCH = 2_000  # bad messages in the queue at once
INNOCENT = 100  # pages among them
PATIENCE = 60.0  # seconds for one batch
SHARDS = 2
PREFIX = "fuzz"
HOSTS = [f"h{number}.example" for number in range(5)]
ODD = (b"", b"x", b"nan", b"1e999", b"9" * 400, b"\xff", b"{}", b"null")


class Reads(Spider):
    """Finds one item on each page, with whatever arguments: a page whose callback lacks one waits for newer code."""

    name = "site"

    def parse(self, response: Response, **arguments: Any) -> Any:
        yield {"url": response.url}


@dataclass
class Web:
    """A fetcher at the seam: each page exists. Counts what was asked for."""

    asked: Counter[str] = field(default_factory=Counter)

    async def fetch(self, request: Request) -> Response:
        self.asked[request.url] += 1
        return Response(request.url, body=b"<p>", headers={"content-type": "text/html"}, request=request)

    async def close(self) -> None:
        """Nothing is open."""


class Nobody:
    """No host was seeded; the spider does not stay on them."""

    async def among(self, job: str, hosts: object) -> set[str]:
        return set()


class Queue:
    """A frontier with a worker at work on one job after the other, and somebody who writes into the server by hand."""

    pipeline: Any

    def __init__(self, server: Server, frontier: Backend, client: redis.asyncio.Redis, url: str) -> None:
        self.server = server
        self.frontier = frontier
        self.client = client
        self.url = url
        self.web = Web()
        self.jobs: list[Job] = []
        self.seen: set[bytes] = set()  # bad messages so far: the same bytes twice are one dead letter
        self.expected: Counter[str] = Counter()  # by verdict, of the batch
        ready = ReadySpider(spider=Reads(), scope=Scope(), retry=RetryPolicy(retry_times=0), gate=None)
        visitor = Visitor(self.web, lambda job, spider: ready, Admission(Nobody(), check), Slot())

        async def jobs() -> list[Job]:
            return self.jobs

        options = WorkerOptions("w1", Pace(delay=0.0, concurrency=1000))
        self.worker = Worker(frontier.queue, visitor.visit, jobs, options, Tally("1"), LeaseClock(3600))
        self.reaper = Reaper(frontier.leases.reap, 0.4, server.uptime)
        answers: dict[str, Any] = {"active": self.worker.active}
        self.listener = Listener(frontier.broadcasts, "w1", answers, lambda level: None)

    def job(self, shard: int) -> str:
        """J of the batch's job in a shard."""
        return job_prefix(shard_prefix(PREFIX, shard), self.jobs[0].name)

    def judge(self, message: bytes, shard: int, line: str = "") -> str:
        """What that is, in that shard and maybe in the line of a host."""
        host = ledger_host(message)
        if not host or (line and line != host):
            return JUNK
        try:
            read = decode(message)
        except JunkMessage as junk:
            return JUNK if junk.version is None else LATER
        if shard_of(host, SHARDS) != shard:
            return JUNK
        # this worker keeps no files, so it leaves items that wait for theirs to others
        return LATER if read.request.media else REQUEST

    def count(self, verdict: str, shard: int, state: str = "pending") -> None:
        """As whoever puts it there would: junk is known to nobody, but what was claimed has left `pending`."""
        by = {"known": 1, "admitted": 1, state: 1} if verdict != JUNK else {}
        if verdict == JUNK and state == "processing":
            by = {"pending": -1, "processing": 1}
        for counter, number in by.items():
            self.pipeline.hincrby(f"{self.job(shard)}stats", counter, number)
        self.expected[verdict] += 1

    async def fill(self, chance: random.Random, count: int) -> None:
        """Put so many bad messages into lines, the delayed set, and the hands of a dead and of the living worker."""
        self.pipeline = self.client.pipeline(transaction=False)
        for host in HOSTS:
            for message in mutants(chance, count // len(HOSTS), host):
                forms = {message, _reaped(message)}
                if not forms & self.seen:
                    self.seen |= forms
                    self.put(chance, message, host)
        await self.pipeline.execute()

    def put(self, chance: random.Random, message: bytes, host: str) -> None:
        """Somewhere, counted by what it is there."""
        shard = shard_of(host, SHARDS)
        job, prefix = self.job(shard), shard_prefix(PREFIX, shard)
        place = chance.random()
        if place < 0.6:
            self.pipeline.rpush(f"{job}pending:0:{host}", message)
            self.pipeline.zadd(f"{job}hosts", {host: 0})
            self.count(self.judge(message, shard, host), shard)
        elif place < 0.9:
            self.pipeline.zadd(f"{job}delayed", {message: 0})
            self.count(self.judge(message, shard), shard)
        else:
            name = "ghost" if place < 0.98 and not _has_crashed(message) else "w1"
            self.pipeline.lpush(f"{job}processing:{name}", message)
            self.pipeline.sadd(f"{prefix}worker:{name}:jobs", self.jobs[0].name)
            self.pipeline.zadd(f"{prefix}workers", {"ghost": 1})
            # what the reaper cannot read it buries without a look at the counters: nobody can have claimed it
            is_bare = name == "ghost" and not ledger_host(message)
            self.count(self.judge(message, shard), shard, "pending" if is_bare else "processing")

    async def spoil(self, chance: random.Random) -> None:
        """Write nonsense where numbers, rules, jobs, calls and workers are noted down."""
        for shard in range(SHARDS):
            prefix, job = shard_prefix(PREFIX, shard), self.job(shard)
            for host in HOSTS:
                fields = ("next", "delay", "busy", "failures", "rest", "latency", "pace", "before", "waiting", "cap")
                odd: dict[Any, Any] = {name: chance.choice(ODD) for name in fields}
                await self.client.hset(f"{prefix}host:{host}", mapping=odd)
                await self.client.hset(f"{job}recent", f"host {host}", chance.choice(ODD))
            await self.client.hset(f"{prefix}rules", "log-level fleet", chance.choice(ODD))
            await self.client.hset(f"{prefix}rules", "pause host h1.example", chance.choice(ODD))
            await self.client.hset(f"{prefix}jobs", "broken", chance.choice(ODD))
            await self.client.hset(f"{prefix}worker:w1", "info", chance.choice(ODD))
            await self.client.xadd(f"{prefix}calls", {chance.choice((b"w", b"x")): chance.choice(ODD)}, maxlen=100)

    async def settled(self) -> None:
        """Wait until nothing is left but the messages of later versions. Else a time-out, that says how it stands."""
        stats = await self.frontier.reading.stats(self.jobs[0])
        try:
            async with asyncio.timeout(PATIENCE):
                while stats.processing or stats.done + stats.dead + self.expected[LATER] != self.expected.total():
                    await asyncio.sleep(0.02)
                    stats = await self.frontier.reading.stats(self.jobs[0])
        except TimeoutError:
            raise AssertionError(f"{stats} instead of {self.expected}") from None


def _has_crashed(message: bytes) -> bool:
    """Whether the reaper would rather give it up: then it does not matter what it is."""
    return bool(ledger_host(message)) and int(message[1:].split(b",")[3]) > 0


def _reaped(message: bytes) -> bytes:
    """As it comes back from a worker that is gone: one delivery and one crash more."""
    if not ledger_host(message):
        return message
    version, delivery, attempt, crashes, rest = message[1:].split(b",", 4)
    return b"[%b,%d,%b,%d,%b" % (version, int(delivery) + 1, attempt, int(crashes) + 1, rest)


@pytest.fixture
async def queue() -> AsyncIterator[Queue]:
    """On a server of its own: what is written there by hand is no other test's business."""
    with Valkey() as server:
        connection = Server(server.url)
        async with open_redis(
            connection, prefix=PREFIX, shards=SHARDS, lease_seconds=60.0, exploding_share=1.0
        ) as frontier:
            client = redis.asyncio.Redis.from_url(server.url)
            yield Queue(connection, frontier, client, server.url)
            await client.aclose()


@pytest.mark.timeout(7200)
async def test_a_worker_among_bad_messages(queue: Queue) -> None:
    chance = random.Random(SEED)
    errors: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: errors.append(context))
    sides = [asyncio.create_task(side.run()) for side in (queue.worker, queue.reaper, queue.listener)]
    total: Counter[str] = Counter()
    try:
        for number in range(max(1, MESSAGES // BATCH)):
            await _one_batch(queue, chance, number)
            assert not [side for side in sides if side.done()]
            assert not errors
            total += queue.expected
        queue.worker.stop()
        await sides[0]
    finally:
        for side in sides:
            side.cancel()
    print({**total, "worker deaths": 0, "innocent dead": 0})
    assert min(total[kind] for kind in (JUNK, LATER, REQUEST)) > 0


async def _one_batch(queue: Queue, chance: random.Random, number: int) -> None:
    job = await queue.frontier.jobs.create(Job(f"job{number}"))
    queue.jobs = [job]
    queue.expected.clear()
    innocent = [f"http://{host}/{number}/{page}" for page in range(INNOCENT // len(HOSTS)) for host in HOSTS]
    await queue.frontier.adding.add(job, [Request(url, spider="site") for url in innocent[::2]])
    await queue.fill(chance, BATCH)
    await queue.spoil(chance)
    queue.server.connected()
    await queue.frontier.adding.add(job, [Request(url, spider="site") for url in innocent[1::2]])
    queue.expected[REQUEST] += len(innocent)
    await queue.settled()

    assert not [url for url in innocent if queue.web.asked[url] != 1]
    queue.web.asked.clear()
    letters = [letter async for letter in queue.frontier.letters.each(job)]
    assert not {letter.url for letter in letters} & set(innocent)
    kinds = Counter(letter.failure.kind for letter in letters)
    stats = await queue.frontier.reading.stats(job)
    assert kinds.pop("junk", 0) == queue.expected[JUNK]
    assert set(kinds) <= {"callback"}  # a request that names a method which the spider does not have
    assert stats.counters["pages"] + kinds["callback"] >= queue.expected[REQUEST]
    assert stats.pending == queue.expected[LATER]
    # what is put there by hand has no fingerprint, and may be but for its counts what lies elsewhere
    others = ("fingerprints", "places:")
    broken = invariants.read(queue.url, prefix=PREFIX).violations()
    assert not [text for text in broken if not any(word in text for word in others)]
    queue.jobs = []
    assert await queue.frontier.jobs.delete(job.name)
