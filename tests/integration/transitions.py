"""Every transition of the Redis frontier as a small scene: what is there before, and the call that changes it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

import redis.asyncio
from redis.asyncio.retry import Retry as Repeat
from redis.backoff import NoBackoff

from crawler.frontier.redis.backend import open_redis
from crawler.frontier.redis.keys import shard_prefix
from crawler.frontier.redis.records import packed
from crawler.frontier.redis.server import Server
from crawler.interfaces import Backend, Pace
from crawler.model import (
    Claim,
    Dead,
    DeadItem,
    Done,
    Failure,
    Job,
    Lease,
    Limits,
    Outcome,
    Release,
    Request,
    Retry,
    Rule,
    Skip,
    Visit,
)
from crawler.schedules.timetable import Schedule, changed, timetable

MAX_CRASHES = 2
NEWS = Schedule("news", "*/15 * * * *", ("crawl", "http://a.example/"))
PACE = Pace(delay=0.0, concurrency=3)
WHY = Failure("http_503", "the server said no", 503)
LATER = 3600.0  # seconds: not within a test

Call = Callable[[], Awaitable[Any]]
_prefixes = itertools.count(1)


class Scene:
    """One frontier of its own on a server, with a job and a second one that shares its hosts."""

    frontier: Backend

    def __init__(self, url: str, shards: int = 1) -> None:
        self.prefix = f"f{next(_prefixes)}"
        self.server = Server(url)
        self.shards = shards
        self.job = self.other = Job("")

    async def set(self, stack: AsyncExitStack) -> None:
        """Open it and create the jobs."""
        self.raw.connection_pool.connection_kwargs["retry"] = Repeat(NoBackoff(), 1)  # as always, but without a pause
        opening = open_redis(self.server, prefix=self.prefix, shards=self.shards, max_crashes=MAX_CRASHES)
        self.frontier = await stack.enter_async_context(opening)
        self.job = await self.frontier.jobs.create(
            Job("news", epoch="e1")
        )  # so that equal URLs fall into equal buckets
        self.other = await self.frontier.jobs.create(Job("other", epoch="e2"))

    async def add(self, *requests: Request | str, job: Job | None = None) -> None:
        """Seed them."""
        made = [Request(one) if isinstance(one, str) else one for one in requests]
        await self.frontier.adding.add(job or self.job, made, seed=True)

    async def claim(self, limit: int = 50, job: Job | None = None) -> Claim:
        """As worker `w1`."""
        return await self.frontier.queue.claim("w1", limit, [job or self.job], PACE)

    async def held(self, *requests: Request | str) -> list[Lease]:
        """Seed them and claim them all, in the order of their URLs."""
        await self.add(*requests)
        return sorted((await self.claim()).leases, key=lambda lease: lease.request.url)

    async def commit(self, leases: list[Lease], *outcomes: Outcome, **visit: Any) -> list[bool]:
        """One outcome a lease."""
        visits = [(lease, Visit(outcome, **visit)) for lease, outcome in zip(leases, outcomes, strict=True)]
        return await self.frontier.queue.commit("w1", visits, PACE)

    async def expire(self, worker: str = "w1") -> None:
        """Let its lease run out."""
        for shard in range(self.shards):
            await self.raw.zadd(f"{shard_prefix(self.prefix, shard)}workers", {worker: 1}, xx=True)

    async def push(self, message: bytes, host: str = "a.example") -> None:
        """Bytes into the front of a host's line, by hand."""
        await self.raw.rpush(f"{shard_prefix(self.prefix, 0)}job:news:pending:0:{host}", message)

    @property
    def raw(self) -> redis.asyncio.Redis:
        """The connection."""
        client: redis.asyncio.Redis = self.server.at("")
        return client


@asynccontextmanager
async def scene(url: str, shards: int = 1) -> AsyncIterator[Scene]:
    """A new one."""
    made = Scene(url, shards)
    async with AsyncExitStack() as stack:
        await made.set(stack)
        try:
            yield made
        finally:
            keys = [key async for key in made.raw.scan_iter(match=f"{{{made.prefix}:*", count=10_000)]
            await made.raw.unlink(*keys)


class Transition(NamedTuple):
    """`arrange` prepares a scene and returns the call. `refused`: a server without memory says no to it."""

    script: str
    arrange: Callable[[Scene], Awaitable[Call]]
    refused: bool = False
    is_two_scripts: bool = False  # the first may be done when the second fails
    is_for_one_shard: bool = False  # bytes put into it by hand, or hosts of one group
    is_late: bool = False  # its leases have gone to others


def pages(count: int, host: str = "a.example") -> list[str]:
    """URLs of one host."""
    return [f"http://{host}/{number}" for number in range(count)]


def mixed() -> list[Request]:
    """Requests of several hosts, priorities and times."""
    plain = [Request(url) for host in ("a.example", "b.example", "c.example") for url in pages(2, host)]
    return [
        *plain,
        Request("http://a.example/high", priority=5),
        Request("http://d.example/low", priority=-1),
        Request("http://a.example/late", delay=LATER),
        Request("http://a.example/0", dont_filter=True),
    ]


# --- add


async def add(scene: Scene) -> Call:
    await scene.add(*pages(2))
    return lambda: scene.frontier.adding.add(scene.job, mixed(), seed=True)


async def add_and_split(scene: Scene) -> Call:
    """The seen-set gets a bucket more."""
    await scene.add(*pages(195))
    return lambda: scene.frontier.adding.add(scene.job, [Request(url) for url in pages(10, "b.example")])


async def add_known(scene: Scene) -> Call:
    await scene.add(*pages(3))
    return lambda: scene.frontier.adding.add(scene.job, [Request(url) for url in pages(3)], seed=True)


async def add_for_other_callbacks(scene: Scene) -> Call:
    """Known ones: for the same callback, for another one each way; and a new one that names one."""
    a, b, c, d = pages(4)
    await scene.add(a, Request(b, callback="detail"), Request(c, callback="detail"))
    requests = [Request(a, callback="detail"), Request(b), Request(c, callback="detail"), Request(d, callback="detail")]
    return lambda: scene.frontier.adding.add(scene.job, requests)


async def add_redirected(scene: Scene) -> Call:
    """Targets of redirects: known ones that were redirected, once and again, or not, or for another callback; a new
    one."""
    a, b, c, d = pages(4)
    leases = await scene.held(a, b, Request(c, callback="detail"))
    await scene.commit(leases[:2], Skip("redirect", a), Skip("redirect", b), links=(Request(a, redirects=1),))
    await scene.commit(list((await scene.claim()).leases), Skip("redirect", a))
    requests = [Request(url, redirects=2) for url in (a, b, c, d)]
    return lambda: scene.frontier.adding.add(scene.job, requests)


# --- claim


async def claim(scene: Scene) -> Call:
    """Hosts at their cap, several priorities, a delayed request whose time has come."""
    await scene.add(*pages(6), *mixed(), Request("http://e.example/", delay=0.001))
    await asyncio.sleep(0.003)
    return lambda: scene.claim()


async def claim_junk(scene: Scene) -> Call:
    """The same bytes twice, and bytes of another host."""
    await scene.add(*pages(1))
    for junk in (b"\x80 junk", b"\x80 junk", b'[1,0,0,0,0,"http://elsewhere.example/"]'):
        await scene.push(junk)
    return lambda: scene.claim()


async def claim_nothing(scene: Scene) -> Call:
    return lambda: scene.claim()


# --- groups


def placed(scene: Scene, *hosts: str, group: str = "127.0.0.9") -> Awaitable[Any]:
    """These hosts share an address."""
    return asyncio.gather(*(scene.frontier.ledger.join(host, group) for host in hosts))


async def join(scene: Scene) -> Call:
    """A host with requests in flight."""
    await scene.held(*pages(2))
    return lambda: scene.frontier.ledger.join("a.example", "127.0.0.9")


async def join_elsewhere(scene: Scene) -> Call:
    """From a group that is at its cap, and that another host waits for."""
    await placed(scene, "a.example", "b.example")
    await scene.held(*pages(3), *pages(3, "b.example"))
    return lambda: scene.frontier.ledger.join("a.example", "127.0.0.8")


async def claim_in_a_group(scene: Scene) -> Call:
    """One host has all of its slots; the others come to stand in line."""
    await placed(scene, "a.example", "b.example", "c.example")
    await scene.held(*pages(2))
    await scene.add(*pages(3, "b.example"), *pages(3, "c.example"))
    return lambda: scene.claim()


async def commit_wakes_a_line(scene: Scene) -> Call:
    """Of its own job, and of another."""
    await placed(scene, "a.example", "b.example", "c.example")
    leases = await scene.held(*pages(3))
    await scene.add(*pages(2, "b.example"))
    await scene.add(*pages(2, "c.example"), job=scene.other)
    assert not (await scene.claim()).leases
    assert not (await scene.claim(job=scene.other)).leases
    return lambda: scene.commit(leases[:1], Done())


async def reap_in_a_group(scene: Scene) -> Call:
    await placed(scene, "a.example", "b.example")
    await scene.held(*pages(3), *pages(3, "b.example"))
    return lambda: scene.frontier.leases.reap("w1")


# --- turns of groups at home in another shard than the lease


def turn(scene: Scene, id: str) -> Call:
    """Taken in the first shard, whatever shards there are; `PACE` lets three be under way."""
    prefix = shard_prefix(scene.prefix, 0)
    named = {"P": prefix, "worker": "w1", "host": "a.example", "group": "127.0.0.9", "id": id, "shard": "9"}
    times = {"lease": 60_000, "delay": 0, "jitter": 0.0, "cap": PACE.concurrency, "random": 1}
    return lambda: scene.server.run("turn", f"{prefix}workers", packed({**named, **times}))


def end_turns(scene: Scene, *ids: str) -> Call:
    """In the first shard."""
    prefix = shard_prefix(scene.prefix, 0)
    ended = [{"id": id, "job": "news", "age": 0, "is_unused": False} for id in ids]
    return lambda: scene.server.run("end_turns", f"{prefix}worker:w1:turns", packed({"P": prefix, "turns": ended}))


async def take_turn(scene: Scene) -> Call:
    await turn(scene, "first")()
    return turn(scene, "second")


async def take_turn_without_room(scene: Scene) -> Call:
    for number in range(PACE.concurrency):
        assert await turn(scene, f"{number}")() == 0
    return turn(scene, "one more")


async def end_a_turn(scene: Scene) -> Call:
    """Two of three, and one that the worker never had."""
    await take_turn_without_room(scene)
    return end_turns(scene, "0", "2", "other")


async def reap_turns(scene: Scene) -> Call:
    await take_turn_without_room(scene)
    return lambda: scene.frontier.leases.reap("w1")


async def commit_early(scene: Scene) -> Call:
    """The page goes back to the front of its group's line."""
    await placed(scene, "a.example", "b.example")
    leases = await scene.held(*pages(2), *pages(2, "b.example"))
    return lambda: scene.commit(leases[:1], Release("turn", turn=LATER), unasked=True)


# --- commit


def commit_of(*outcomes: Outcome, **visit: Any) -> Callable[[Scene], Awaitable[Call]]:
    """One call that commits as many requests."""

    async def arrange(scene: Scene) -> Call:
        leases = await scene.held(*pages(3), *pages(3, "b.example"))
        return lambda: scene.commit(leases[: len(outcomes)], *outcomes, **visit)

    return arrange


async def commit_late(scene: Scene) -> Call:
    """Its leases have gone to others."""
    leases = await scene.held(*pages(2))
    await scene.frontier.leases.reap("w1")
    return lambda: scene.commit(leases, Done(), Dead(WHY), items=(b"{}",))


async def commit_links(scene: Scene) -> Call:
    """Two scripts: the links, then the page."""
    leases = await scene.held(*pages(2))
    links = (*mixed(), Request("http://n.example/", depth=1), Request("http://n.example/x", depth=1, dont_filter=True))
    return lambda: scene.commit(leases, Done(), Done(), links=links, items=(b'{"a":1}', b'{"b":2}'))


async def commit_wakes_another_job(scene: Scene) -> Call:
    """Which waits for a slot of the same host."""
    leases = await scene.held(*pages(3))
    await scene.add(*pages(2), job=scene.other)
    assert not (await scene.claim(job=scene.other)).leases
    return lambda: scene.commit(leases[:1], Done())


async def bury(scene: Scene) -> Call:
    await scene.add(*pages(1))
    await scene.push(b'[1,0,0,0,0,"http://a.example/","wrong"]')
    (junk,) = (await scene.claim()).junk
    return lambda: scene.frontier.queue.bury("w1", scene.job, junk.message, Failure("junk", "x"))


async def set_aside(scene: Scene) -> Call:
    await scene.add(*pages(1))
    line = f"{shard_prefix(scene.prefix, 0)}job:news:pending:0:a.example"
    await scene.raw.lset(line, 0, b'[7,0,0,0,0,"http://a.example/0",0,"",{"new":1}]')  # type: ignore[arg-type]
    (junk,) = (await scene.claim()).junk
    return lambda: scene.frontier.queue.set_aside("w1", scene.job, junk.message, LATER)


# --- reap


async def reap(scene: Scene) -> Call:
    """Whoever has expired; two jobs, one request for the second time and so dead."""
    await scene.held(*pages(2))
    await scene.expire()
    await scene.frontier.leases.reap()
    await scene.add(*pages(2, "b.example"), job=scene.other)
    await scene.frontier.queue.claim("w1", 50, [scene.job, scene.other], PACE)
    await scene.expire()
    return lambda: scene.frontier.leases.reap()


async def reap_seen_dying(scene: Scene) -> Call:
    await scene.held(*pages(3))
    return lambda: scene.frontier.leases.reap("w1")


async def reap_and_blame(scene: Scene) -> Call:
    leases = await scene.held(*pages(3))
    return lambda: scene.frontier.leases.reap("w1", blame=(leases[1], Retry(WHY, 1.0)))


async def reap_and_bury(scene: Scene) -> Call:
    """The blamed one has no attempt left."""
    leases = await scene.held(*pages(3))
    return lambda: scene.frontier.leases.reap("w1", blame=(leases[1], Dead(WHY, spent=True)))


async def reap_the_idle(scene: Scene) -> Call:
    await scene.claim()
    await scene.expire()
    return lambda: scene.frontier.leases.reap()


# --- a page that has its host to itself


async def asking(scene: Scene) -> Lease:
    """The first of three pages of a host has it, and both jobs have more of it pending."""
    await scene.add(*pages(3))
    await scene.add(*pages(2), job=scene.other)
    (lease,) = (await scene.claim(1)).leases
    await scene.frontier.asking.take_host("w1", lease)
    return lease


async def take(scene: Scene) -> Call:
    first, _ = await scene.held(*pages(2))
    return lambda: scene.frontier.asking.take_host("w1", first)


async def claim_of_an_asked_host(scene: Scene) -> Call:
    await asking(scene)
    await scene.add(*pages(2, "b.example"))
    return scene.claim


async def commit_of_the_asker(scene: Scene) -> Call:
    """Both jobs wait for its end."""
    lease = await asking(scene)
    await scene.claim()
    await scene.claim(job=scene.other)
    return lambda: scene.commit([lease], Release("robots"))


async def reap_the_asker(scene: Scene) -> Call:
    """As above, and its worker has expired."""
    await commit_of_the_asker(scene)
    await scene.expire()
    return lambda: scene.frontier.leases.reap()


# --- the others


async def redrive(scene: Scene) -> Call:
    leases = await scene.held(*pages(3), Request("http://b.example/", priority=4))
    await scene.commit(leases, *[Dead(WHY)] * len(leases))
    return lambda: scene.frontier.letters.redrive(scene.job)


async def drop(scene: Scene) -> Call:
    leases = await scene.held(*pages(3))
    await scene.commit(leases, *[Dead(WHY)] * 3)
    letters = await scene.frontier.letters.newest(scene.job)
    return lambda: scene.frontier.letters.drop(scene.job, [letter.id for letter in letters[:2]])


async def pause(scene: Scene) -> Call:
    await scene.add(*pages(3))
    return lambda: scene.frontier.pauses.pause(scene.job, "host", "a.example", "x")


async def resume(scene: Scene) -> Call:
    """One host whose requests are held, in a job that counts failures."""
    leases = await scene.held(*pages(3))
    await scene.commit(leases, Retry(WHY, 0.0), Retry(WHY, 0.0), Done())
    await scene.frontier.pauses.pause(scene.job, "host", "a.example", "x")
    await scene.claim()
    return lambda: scene.frontier.pauses.resume(scene.job, "host", "a.example")


async def claim_of_a_paused_host(scene: Scene) -> Call:
    await scene.add(*pages(3), *pages(2, "b.example"))
    await scene.frontier.pauses.pause(scene.job, "host", "a.example", "x")
    return scene.claim


async def claim_after_a_pause(scene: Scene) -> Call:
    """The line of a spider that is not paused any more, and of one that is."""
    await scene.add(Request("http://a.example/", spider="s"), Request("http://b.example/", spider="t"))
    await scene.frontier.pauses.pause(scene.job, "spider", "s", "x")
    await scene.frontier.pauses.pause(scene.job, "spider", "t", "x")
    await scene.claim()
    await scene.frontier.pauses.resume(scene.job, "spider", "t")
    return scene.claim


async def order(scene: Scene, *rules: Rule) -> None:
    """As a person does it."""
    for rule in rules:
        await scene.frontier.control.set_rule(rule)


async def set_rate(scene: Scene) -> Call:
    """Of a host that waits by the old pace in one job, and is held in the other."""
    await scene.add(*pages(3))
    await scene.add(*pages(3), job=scene.other)
    await order(scene, Rule("rate", "host", "a.example", "1/h"))
    await scene.claim(1)
    await scene.frontier.pauses.pause(scene.other, "host", "a.example", "x")
    await scene.claim(1, job=scene.other)
    return lambda: scene.frontier.control.set_rule(Rule("rate", "host", "a.example", "10/s"))


async def lift_rule(scene: Scene) -> Call:
    """Of a spider that had a rate: its hosts are looked at again."""
    await scene.add(*[Request(url, spider="s") for url in (*pages(2), *pages(2, "b.example"))])
    await order(scene, Rule("rate", "spider", "s", "1/h"), Rule("block", "host", "b.example", "on"))
    await scene.claim()
    return lambda: scene.frontier.control.set_rule(Rule("rate", "spider", "s", ""))


async def set_priority(scene: Scene) -> Call:
    await scene.add(*pages(3))
    return lambda: scene.frontier.control.set_rule(Rule("priority", "host", "a.example", "5"))


async def claim_by_rules(scene: Scene) -> Call:
    """One of each: a host first, one with a pace of its own, one paused, one blocked, and a blocked spider's pages."""
    hosts = [f"{letter}.example" for letter in "abcd"]
    await scene.add(*[Request(url, spider="st"[n % 2]) for host in hosts for n, url in enumerate(pages(4, host))])
    await scene.add(Request("http://d.example/high", priority=3), Request("http://d.example/late", delay=0.001))
    await order(
        scene,
        Rule("rate", "host", "a.example", "1/h"),
        Rule("priority", "host", "b.example", "5"),
        Rule("pause", "host", "c.example", "on"),
        Rule("block", "host", "d.example", "on"),
        Rule("block", "spider", "t", "on"),
        Rule("rate", "job", "news", "0.1/h"),
    )
    await asyncio.sleep(0.003)
    return scene.claim


async def claim_of_a_blocked_job(scene: Scene) -> Call:
    await scene.add(*mixed())
    await order(scene, Rule("block", "job", "news", "on"))
    return scene.claim


async def commit_explodes(scene: Scene) -> Call:
    """The last one of enough failures: host and spider are judged, the host is paused."""
    await scene.add(*pages(21))
    for _ in range(6):
        leases = await scene.held()
        await scene.commit(leases, *[Dead(WHY)] * len(leases))
    leases = await scene.held()
    return lambda: scene.commit(leases, *[Dead(WHY)] * len(leases))


async def forget(scene: Scene) -> Call:
    leases = await scene.held(*pages(5), *pages(1, "b.example"))
    await scene.commit(leases[:2], Done(), Dead(WHY), items=(b"{}",))
    await scene.add(*pages(1), job=scene.other)
    return lambda: scene.frontier.jobs.delete("news")


async def hold_first(scene: Scene) -> Call:
    return lambda: scene.frontier.outbox.hold(scene.job, "e1", LATER)


async def hold_again(scene: Scene) -> Call:
    await scene.frontier.outbox.hold(scene.job, "e1", LATER)
    return lambda: scene.frontier.outbox.hold(scene.job, "e1", LATER)


async def hold_no_more(scene: Scene) -> Call:
    await scene.frontier.outbox.hold(scene.job, "e1", LATER)
    return lambda: scene.frontier.outbox.hold(scene.job, "e1", 0.0)


async def seeding_first(scene: Scene) -> Call:
    return lambda: scene.frontier.adding.seeding(scene.job, "s1", LATER)


async def seeding_again(scene: Scene) -> Call:
    await scene.frontier.adding.seeding(scene.job, "s1", LATER)
    return lambda: scene.frontier.adding.seeding(scene.job, "s1", LATER)


async def seeding_ends(scene: Scene) -> Call:
    await scene.frontier.adding.seeding(scene.job, "s1", LATER)
    return lambda: scene.frontier.adding.seeding(scene.job, "s1", 0.0)


async def beat_first(scene: Scene) -> Call:
    return lambda: asyncio.to_thread(scene.frontier.leases.beat, "w9", {"pid": 9})


async def beat_again(scene: Scene) -> Call:
    await scene.held(*pages(1))
    return lambda: asyncio.to_thread(scene.frontier.leases.beat, "w1", {"pid": 1})


async def add_schedule(scene: Scene) -> Call:
    table = timetable(NEWS, 0)
    return lambda: scene.frontier.schedules.replace(None, table)


async def change_schedule(scene: Scene) -> Call:
    before = timetable(NEWS, 0)
    await scene.frontier.schedules.replace(None, before)
    after = changed(before, last=before.next, paused="longer than before")
    return lambda: scene.frontier.schedules.replace(before, after)


_ONE_OF_EACH = (Done(), Skip("robots"), Retry(WHY, 0.0), Retry(WHY, LATER), Release("drain"), Dead(WHY))

# --- another server answers


async def begin_generation(scene: Scene) -> Call:
    """With listeners to be told."""
    prefix = shard_prefix(scene.prefix, 0)
    return lambda: scene.server.run("generation", f"{prefix}clock", "a1b2" * 10, "", 0, f"{prefix}calls")


def reconciled(further: int) -> Callable[[Scene], Awaitable[Call]]:
    """An exporter has three pages that the server does not know; in a generation so much later than the server's."""

    async def arrange(scene: Scene) -> Call:
        prefix = f"{shard_prefix(scene.prefix, 0)}job:news:"
        await scene.commit(await scene.held(*pages(1)), Done(), items=(b"{}",))
        (entry,) = await scene.frontier.outbox.read(scene.job, {}, 1)
        generation, number = map(int, entry.position.split("-"))
        await (await begin_generation(scene))()
        position = f"{generation + further}-{number + 3}"
        return lambda: scene.server.run("reconcile", f"{prefix}outbox", prefix, scene.job.epoch, position, position)

    return arrange


reconcile = reconciled(0)
reconcile_another = reconciled(10**12)


async def redrive_items(scene: Scene) -> Call:
    items = [DeadItem(f"id{number}", "/data/b.db", "why", "{}") for number in range(2)]
    await scene.commit(await scene.held(*pages(1)), Done(), items=(b"{}",))
    await scene.frontier.outbox.keep_dead(scene.job, items)
    return lambda: scene.frontier.dead_items.redrive(scene.job)


# --- the early end of a job


async def close(scene: Scene) -> Call:
    """With requests pending and in flight."""
    await scene.held(*pages(2))
    await scene.add(*mixed())
    return lambda: scene.frontier.closing.close(scene.job, "enough")


async def reopen(scene: Scene) -> Call:
    await (await close(scene))()
    return lambda: scene.frontier.closing.reopen(scene.job)


async def limit(scene: Scene) -> Call:
    """Of a job that has other limits."""
    await scene.held(*pages(2))
    await scene.frontier.closing.limit(scene.job, Limits(items=5, seconds_without_item=LATER))
    return lambda: scene.frontier.closing.limit(scene.job, Limits(pages=5, pages_without_item=4))


async def lift_limits(scene: Scene) -> Call:
    await scene.frontier.closing.limit(scene.job, Limits(pages=5, items=7))
    await scene.held(*pages(2))
    return lambda: scene.frontier.closing.limit(scene.job, Limits())


async def claim_of_a_limited_job(scene: Scene) -> Call:
    """More is pending than it may hand out."""
    await scene.frontier.closing.limit(scene.job, Limits(pages=5))
    await scene.add(*mixed())
    await scene.claim(1)
    return scene.claim


async def draw(scene: Scene) -> Call:
    """As before a claim in the first shard."""
    await claim_of_a_limited_job(scene)
    closing: Any = scene.frontier.closing
    return lambda: closing.asked([scene.job], 0, 50)


async def draw_that_closes(scene: Scene) -> Call:
    """The limit is reached."""
    await scene.frontier.closing.limit(scene.job, Limits(pages=2))
    await scene.commit(await scene.held(*pages(4)), Done(), Done())
    closing: Any = scene.frontier.closing
    return lambda: closing.asked([scene.job], 0, 50)


TRANSITIONS = {
    "add": Transition("add", add, refused=True),
    "add-and-split": Transition("add", add_and_split, refused=True),
    "add-known": Transition("add", add_known, refused=True),
    "add-for-other-callbacks": Transition("add", add_for_other_callbacks, refused=True),
    "add-redirected": Transition("add", add_redirected, refused=True),
    "claim": Transition("claim", claim, refused=True),
    "claim-junk": Transition("claim", claim_junk, refused=True, is_for_one_shard=True),
    "claim-nothing": Transition("claim", claim_nothing, refused=True),
    "claim-in-a-group": Transition("claim", claim_in_a_group, refused=True),
    "join": Transition("join", join, refused=True),
    "join-elsewhere": Transition("join", join_elsewhere, refused=True),
    "take-turn": Transition("turn", take_turn, refused=True),
    "take-turn-without-room": Transition("turn", take_turn_without_room, refused=True),
    "end-turns": Transition("end_turns", end_a_turn),
    "reap-turns": Transition("reap", reap_turns),
    "commit-early": Transition("commit", commit_early),
    "commit-wakes-a-line": Transition("commit", commit_wakes_a_line, is_for_one_shard=True),
    "reap-in-a-group": Transition("reap", reap_in_a_group),
    "commit-done": Transition("commit", commit_of(Done(), items=(b'{"a":1}', b'{"b":2}'), status=200, size=9)),
    "commit-skip": Transition("commit", commit_of(Skip("robots"))),
    "commit-retry": Transition("commit", commit_of(Retry(WHY, 0.0), status=503, pause=1.0)),
    "commit-retry-later": Transition("commit", commit_of(Retry(WHY, LATER), host_delay=2.0)),
    "commit-release": Transition("commit", commit_of(Release("drain"))),
    "commit-release-later": Transition("commit", commit_of(Release("drain", LATER))),
    "commit-dead": Transition("commit", commit_of(Dead(WHY))),
    "commit-one-of-each": Transition("commit", commit_of(*_ONE_OF_EACH, items=(b"{}",), dropped={"empty": 1})),
    "commit-busy": Transition("commit", commit_of(Retry(WHY, 0.0), Retry(WHY, 0.0), health="busy")),
    "commit-down": Transition("commit", commit_of(*[Retry(WHY, 0.0)] * 3, *[Dead(WHY, spent=True)] * 3, health="down")),
    "commit-well-again": Transition("commit", commit_of(Retry(WHY, 0.0), Done(), health="ok")),
    "commit-late": Transition("commit", commit_late, is_late=True),
    "commit-links": Transition("commit", commit_links, refused=True, is_two_scripts=True),
    "commit-wakes-another-job": Transition("commit", commit_wakes_another_job),
    "bury": Transition("commit", bury, is_for_one_shard=True),
    "set-aside": Transition("commit", set_aside, is_for_one_shard=True),
    "reap": Transition("reap", reap),
    "reap-seen-dying": Transition("reap", reap_seen_dying),
    "reap-and-blame": Transition("reap", reap_and_blame),
    "reap-and-bury": Transition("reap", reap_and_bury),
    "reap-the-idle": Transition("reap", reap_the_idle),
    "take": Transition("take", take, refused=True),
    "claim-of-an-asked-host": Transition("claim", claim_of_an_asked_host, refused=True),
    "commit-of-the-asker": Transition("commit", commit_of_the_asker),
    "reap-the-asker": Transition("reap", reap_the_asker),
    "redrive": Transition("redrive", redrive),
    "drop": Transition("drop", drop),
    "redrive-items": Transition("redrive_items", redrive_items),
    "pause": Transition("pause", pause, refused=True),
    "resume": Transition("pause", resume),
    "claim-paused": Transition("claim", claim_of_a_paused_host, refused=True),
    "claim-after-a-pause": Transition("claim", claim_after_a_pause, refused=True),
    "control-rate": Transition("control", set_rate, refused=True),
    "control-lift": Transition("control", lift_rule, refused=True),
    "control-priority": Transition("control", set_priority, refused=True),
    "claim-by-rules": Transition("claim", claim_by_rules, refused=True),
    "claim-of-a-blocked-job": Transition("claim", claim_of_a_blocked_job, refused=True),
    "commit-explodes": Transition("commit", commit_explodes),
    "forget": Transition("forget", forget),
    "beat-first": Transition("beat", beat_first),
    "beat-again": Transition("beat", beat_again),
    "schedule-first": Transition("schedule", add_schedule),
    "schedule-again": Transition("schedule", change_schedule),
    "exporter": Transition("exporter", hold_first),
    "exporter-again": Transition("exporter", hold_again),
    "exporter-no-more": Transition("exporter", hold_no_more),
    "seeding": Transition("seeding", seeding_first),
    "seeding-again": Transition("seeding", seeding_again),
    "seeding-ends": Transition("seeding", seeding_ends),
    "generation": Transition("generation", begin_generation),
    "close": Transition("close", close, refused=True),
    "reopen": Transition("close", reopen, refused=True),
    "commit-closes": Transition("commit", commit_of(Done(), close="enough")),
    "limit": Transition("limit", limit, refused=True),
    "limit-no-more": Transition("limit", lift_limits),
    "claim-limited": Transition("claim", claim_of_a_limited_job, refused=True, is_for_one_shard=True),
    "draw": Transition("draw", draw, refused=True, is_for_one_shard=True),
    "draw-closes": Transition("draw", draw_that_closes, refused=True, is_for_one_shard=True),
    "reconcile": Transition("reconcile", reconcile, is_for_one_shard=True),
    "reconcile-another": Transition("reconcile", reconcile_another, is_for_one_shard=True),
}
