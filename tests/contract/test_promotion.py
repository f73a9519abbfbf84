"""Another server answers than before: a replica was promoted that lacks the last of the data, and has another clock."""

from __future__ import annotations

import copy
import itertools
import secrets
from collections.abc import Sequence
from typing import Any

import pytest

from crawler.frontier.redis.keys import shard_of, shard_prefix
from crawler.interfaces import Pace
from crawler.model import Broadcast, DeadItem, Exported, Lease
from crawler.schedules.timetable import Schedule, changed, timetable
from crawler.testing.contract.world import Crawl, hosts, pages
from tests.contract.world import MemoryWorld
from tests.valkey import Valkey

DELAY = 5.0
SLOW = Pace(delay=DELAY, concurrency=1)
LEASE = 15.0
LONG_RUNNING = 36_000.0  # seconds: longer than any clock here is ahead
EXACT = 0.2  # seconds: the frontier's time is written down every tenth of a second
SHIFTS = (-3600.0, -30.0, -2.0, 0.0, 2.0, 30.0, 3600.0)


class Servers(MemoryWorld):
    """One server after another, each with the data that the test gives it, and a clock that is `shift` ahead."""

    def __init__(self, server: Valkey, shards: int = 1) -> None:
        super().__init__(server, shards)
        self.shift = 0.0
        self.server.store._clock = lambda: 1.8e9 + self.now() + self.shift
        self._id = ""

    def copied(self) -> Any:
        """What a replica has received by now."""
        store = self.server.store
        return copy.deepcopy((store._values, store._deadlines))

    async def answer(
        self, data: Any = None, *, shift: float = 0.0, uptime: float = LONG_RUNNING, heir: bool = True
    ) -> int:
        """Let another server answer: a replica with that data, or one that has started `uptime` seconds ago.

        Return the highest reply of its shards. `heir`: it names the server before it."""
        if data is not None:
            self.server.store._values, self.server.store._deadlines = copy.deepcopy(data)
        self.shift += shift
        before, self._id = self._id if heir else "", secrets.token_hex(20)
        replies = []
        for number in range(self.shards):
            shard = shard_prefix(self.prefix, number)
            calls = "" if number else f"{shard}calls"
            arguments = (self._id, before, int(uptime * 1000), calls)
            replies.append(await self.server.run("generation", f"{shard}clock", *arguments))
        return int(max(replies))


@pytest.fixture(params=[1, 4], ids=["memory", "memory-4-shards"])
def world(request: pytest.FixtureRequest, valkey_server: Valkey) -> Servers:
    """An empty one."""
    return Servers(valkey_server, request.param)


@pytest.fixture
async def crawl(world: Servers) -> Crawl:
    """A job on a server of which a generation has begun."""
    crawl = await Crawl.create(world, lease_seconds=LEASE)
    assert await world.answer() == 1
    return crawl


def at_work(crawl: Crawl) -> None:
    """Send a heartbeat, which writes down what time it is."""
    crawl.frontier.leases.beat("w1", {})


# --- time


@pytest.mark.parametrize("heir", [True, False])
@pytest.mark.parametrize("shift", SHIFTS)
async def test_a_host_is_due_after_its_delay_whatever_the_clock_shows(
    world: Servers, crawl: Crawl, shift: float, heir: bool
) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=SLOW), pace=SLOW)
    await world.pass_time(1.0)
    at_work(crawl)
    assert await world.answer(shift=shift, heir=heir) == 2
    claim = await crawl.claim(pace=SLOW)
    assert not claim.leases
    assert claim.wait == pytest.approx(DELAY - 1.0, abs=EXACT)
    await world.pass_time(DELAY - 1.0 + EXACT)
    assert len((await crawl.claim(pace=SLOW)).leases) == 1


@pytest.mark.parametrize("shift", SHIFTS)
async def test_a_lease_lasts_as_long_as_it_should(world: Servers, crawl: Crawl, shift: float) -> None:
    await crawl.add(*pages(1))
    await crawl.lease()
    at_work(crawl)
    await world.answer(shift=shift)
    await world.pass_time(LEASE - 1)
    assert await crawl.frontier.leases.reap() == []
    await world.pass_time(1 + EXACT)
    assert [found.requeued for found in await crawl.frontier.leases.reap()] == [1]


@pytest.mark.parametrize("shift", SHIFTS)
async def test_readers_tell_the_same_time(world: Servers, crawl: Crawl, shift: float) -> None:
    await crawl.add(*hosts(1))
    lease = await crawl.lease()
    await crawl.end(lease, pause=60.0)
    await crawl.add(lease.request.url + "2")
    at_work(crawl)
    await world.answer(shift=shift)
    (host,) = await crawl.frontier.hosts.hosts(crawl.job)
    stats = await crawl.frontier.reading.stats(crawl.job)
    trace = await crawl.frontier.traces.trace(crawl.job, lease.request.url + "2")
    for seconds in (host.turn.rest, stats.resting[0].turn.rest, trace.turn.rest):
        assert seconds == pytest.approx(60.0, abs=EXACT)
    (worker,) = await crawl.frontier.reading.workers()
    assert worker.lease_left == pytest.approx(LEASE, abs=EXACT)


@pytest.mark.parametrize("shift", [-0.5, -30.0, -3600.0])
async def test_a_clock_that_is_set_back_while_the_server_runs_stops_nothing(
    world: Servers, crawl: Crawl, shift: float
) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(pace=SLOW), pace=SLOW)
    at_work(crawl)
    world.shift = shift
    at_work(crawl)
    await world.pass_time(DELAY + EXACT)
    assert len((await crawl.claim(pace=SLOW)).leases) == 1


async def test_a_clock_that_is_set_back_is_noticed_by_each_script_that_writes(world: Servers, crawl: Crawl) -> None:
    """A claim, a commit and a heartbeat each: time goes on from there."""
    await crawl.add(*hosts(3))
    lease = await crawl.lease()

    async def claimed() -> None:
        await crawl.claim(1, worker="w2")

    async def committed() -> None:
        await crawl.end(lease)

    async def beaten() -> None:
        at_work(crawl)

    for step in (claimed, committed, beaten):
        await world.pass_time(1.0)
        at_work(crawl)
        before = await times(world)
        world.shift -= 100.0
        await step()
        await world.pass_time(1.0)
        shard = max(after - then for then, after in zip(before, await times(world), strict=True))
        assert shard == pytest.approx(1000, abs=1000 * EXACT)


async def test_after_a_restart_the_time_in_between_counts(world: Servers, crawl: Crawl) -> None:
    await crawl.add(*pages(2))
    await crawl.end(await crawl.lease(), pause=600.0)
    at_work(crawl)
    await world.pass_time(3600.0)
    assert await world.answer(uptime=1.0, heir=False) == 1
    assert len((await crawl.claim()).leases) == 1


async def test_time_never_steps_back(world: Servers, crawl: Crawl) -> None:
    for shift, uptime in itertools.product(SHIFTS, (0.0, 1.0, LONG_RUNNING)):
        await world.pass_time(0.3)
        at_work(crawl)
        before = await times(world)
        await world.answer(shift=shift, uptime=uptime)
        after = await times(world)
        assert all(then <= now for then, now in zip(before, after, strict=True))


async def test_a_restart_of_a_promoted_server_keeps_its_time(world: Servers, crawl: Crawl) -> None:
    at_work(crawl)
    await world.answer(shift=-30.0)
    at_work(crawl)
    before = await times(world)
    await world.pass_time(100.0)
    assert await world.answer(uptime=1.0, heir=False) == 1
    passed = [after - then for then, after in zip(before, await times(world), strict=True)]
    assert passed == pytest.approx([100_000] * world.shards, abs=1000 * EXACT)


async def test_the_time_is_written_down_again_after_a_tenth_of_a_second(world: Servers, crawl: Crawl) -> None:
    key, found = f"{shard_prefix(world.prefix, 0)}clock", []
    at_work(crawl)
    for _ in range(4):
        found.append(await world.server.at("").hget(key, "last"))
        await world.pass_time(0.058)
        at_work(crawl)
    assert found == [found[0], found[0], found[2], found[2]]
    assert found[2] > found[0]


async def test_milliseconds_are_exact(world: Servers, crawl: Crawl) -> None:
    await world.pass_time(0.9)
    now, wall, _ = await world.server.run("now", f"{shard_prefix(world.prefix, 0)}clock")
    assert abs(wall - world.server.store._clock() * 1000) <= 1
    assert now == wall


async def times(world: Servers) -> list[int]:
    """The time of each shard, in ms."""
    return [
        (await world.server.run("now", f"{shard_prefix(world.prefix, number)}clock"))[0]
        for number in range(world.shards)
    ]


async def test_ticks_are_due_by_the_servers_own_clock(world: Servers, crawl: Crawl) -> None:
    """Cron lines mean the time of people, however far the frontier's own is ahead."""
    at_work(crawl)
    await world.answer(shift=-3600.0)
    schedules = crawl.frontier.schedules
    now = await schedules.now()
    assert now == pytest.approx(world.server.store._clock(), abs=EXACT)
    table = timetable(Schedule("news", "* * * * *", ("crawl", "http://a.example/")), now)
    assert await schedules.replace(None, table)
    assert not await schedules.replace(table, changed(table, last=int(now) + 60))
    assert await schedules.replace(table, changed(table, last=int(now)))


# --- generations


async def test_a_generation_begins_once_for_each_server(world: Servers, crawl: Crawl) -> None:
    shard = f"{shard_prefix(world.prefix, 0)}clock"

    async def told(id: str, before: str = "", uptime: int = 0) -> tuple[int, bytes]:
        reply = await world.server.run("generation", shard, id, before, uptime, "")
        return reply, await world.server.at("").hget(shard, "generation")

    one = await told("a")
    assert one[0] == 1
    assert await told("a") == (0, one[1])
    two = await told("b", "a")
    assert two[0] == 2
    assert two[1] > one[1]


async def test_generations_grow_beyond_any_clock_and_are_remembered(world: Servers, crawl: Crawl) -> None:
    key, found = f"{shard_prefix(world.prefix, 0)}clock", []
    for _ in range(120):
        found.append(int(await world.server.at("").hget(key, "generation")))
        await world.answer(shift=-3600.0)
    assert found == sorted(set(found))
    assert found[0] > 10**14
    before = [int(word) for word in (await world.server.at("").hget(key, "before")).split()]
    assert before == found[-100:]


async def test_a_generation_is_greater_whatever_the_name_of_its_server(world: Servers, crawl: Crawl) -> None:
    """Also in one millisecond, and for the name that adds nothing."""
    key, found = f"{shard_prefix(world.prefix, 0)}clock", []
    for name in ("0" * 40, "0" * 39 + "1", "ffffffff" * 5, "0" * 40):
        await world.server.run("generation", key, name, "", 0, "")
        found.append(int(await world.server.at("").hget(key, "generation")))
    assert found == sorted(set(found))


async def test_the_first_generation_is_told_to_nobody(world: Servers) -> None:
    crawl = await Crawl.create(world)
    await world.answer()
    assert await crawl.frontier.broadcasts.last_broadcast() == "0-0"
    await world.answer()
    assert await crawl.frontier.broadcasts.last_broadcast() > "1"
    assert not await world.server.at("").exists(""), "only one shard has broadcasts"


# --- positions


async def exported(crawl: Crawl, positions: dict[int, str]) -> list[str]:
    """Read what is behind the positions and acknowledge it, as the exporter does; return the URLs."""
    crawl.outbox.doubt()  # type: ignore[attr-defined]
    urls = []
    while entries := await crawl.outbox.read(crawl.job, positions, 3):
        urls += [entry.url for entry in entries]
        positions |= {entry.shard: entry.position for entry in entries}
        await crawl.outbox.acknowledge(crawl.job, Exported(dict(positions)))
    return sorted(urls)


async def read_pages(crawl: Crawl, leases: Sequence[Lease]) -> list[str]:
    """Commit them with an item each; return the URLs."""
    for lease in leases:
        assert await crawl.end(lease, items=(b"{}",))
    return sorted(lease.request.url for lease in leases)


@pytest.mark.parametrize("shift", [-30.0, 0.0, 30.0])
async def test_what_a_promoted_server_lacks_comes_again_and_nothing_is_skipped(
    world: Servers, crawl: Crawl, shift: float
) -> None:
    """All pages have been exported; the replica knows of three of them that they were read, and of one export."""
    await crawl.add(*pages(7))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    first = await read_pages(crawl, leases[:1])
    assert await exported(crawl, positions) == first
    await read_pages(crawl, leases[1:3])
    replica = world.copied()
    await read_pages(crawl, leases[3:5])
    assert len(await exported(crawl, positions)) == 4
    await world.pass_time(1.0)

    await world.answer(replica, shift=shift)
    assert await exported(crawl, positions) == []
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.outbox, stats.counters["twice/pages"]) == (0, 2), "what the file has is acknowledged again"
    again = await read_pages(crawl, leases[3:])
    assert await exported(crawl, positions) == again
    assert (await crawl.frontier.reading.stats(crawl.job)).outbox == 0
    assert await crawl.counter("twice/pages") == 2, "once, however often an exporter asks"


async def test_what_comes_again_is_counted_also_if_new_pages_were_faster(world: Servers, crawl: Crawl) -> None:
    await crawl.add(*pages(5))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    await read_pages(crawl, leases[:1])
    replica = world.copied()
    await read_pages(crawl, leases[1:4])
    assert len(await exported(crawl, positions)) == 4
    await world.answer(replica)
    news = await read_pages(crawl, leases[1:])
    assert await exported(crawl, positions) == news
    assert await crawl.counter("twice/pages") == 3


async def test_a_dead_item_that_is_the_first_in_a_promoted_servers_outbox_is_not_skipped(
    world: Servers, crawl: Crawl
) -> None:
    await crawl.add(*pages(4))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    item = DeadItem("0:1-1:0:x", "/data/b.db", "price is a list", "{}", leases[0].request.url, "shop")
    await crawl.outbox.keep_dead(crawl.job, [item])
    await read_pages(crawl, leases[:1])
    replica = world.copied()
    await read_pages(crawl, leases[1:])
    assert len(await exported(crawl, positions)) == 4
    await world.answer(replica)
    assert await crawl.frontier.dead_items.redrive(crawl.job) == 1
    assert await exported(crawl, positions) == [item.url]


async def test_a_server_that_answers_in_the_middle_of_a_read_is_told_first(
    world: Servers, crawl: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection is made for the read itself, and pages of the new generation wait already."""
    await crawl.add(*pages(5))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    replica = world.copied()
    await read_pages(crawl, leases[:3])
    assert len(await exported(crawl, positions)) == 3
    outbox: Any = crawl.outbox
    read, news = outbox._read, list[str]()

    async def another_answers(*arguments: Any) -> Any:
        if not news:
            await world.answer(replica)
            news.extend(await read_pages(crawl, leases))
            outbox.doubt()
        return await read(*arguments)

    monkeypatch.setattr(outbox, "_read", another_answers)
    assert await exported(crawl, positions) == news == sorted(pages(5))
    assert await crawl.counter("twice/pages") == 3


async def test_a_restart_without_loss_repeats_nothing(world: Servers, crawl: Crawl) -> None:
    await crawl.add(*hosts(8))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    assert len(await read_pages(crawl, leases[:4])) == len(await exported(crawl, positions))
    await world.answer(uptime=0.0, heir=False)
    rest = await read_pages(crawl, leases[4:])
    assert await exported(crawl, positions) == rest
    assert await crawl.counter("twice/pages") == 0


@pytest.mark.parametrize("shift", [-7200.0, 0.0, 7200.0])
async def test_two_promotions_of_which_the_second_replica_has_not_heard_lose_nothing(
    world: Servers, crawl: Crawl, shift: float
) -> None:
    """What the second one has in its outbox may be in the file already: it is written again rather than lost."""
    await crawl.add(*pages(6))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    old, first = world.copied(), await read_pages(crawl, leases[:2])
    fresher = world.copied()
    await world.answer(old)
    await read_pages(crawl, leases[3:6])
    assert len(await exported(crawl, positions)) == 3

    await world.answer(fresher, shift=shift)
    new = await read_pages(crawl, leases[2:3])
    assert await exported(crawl, positions) == sorted(first + new)
    assert await crawl.counter("twice/pages") == 3
    later = await read_pages(crawl, leases[3:6])
    assert await exported(crawl, positions) == later


async def test_what_a_server_says_to_positions_of_a_sink(world: Servers) -> None:
    """(pages in the sink that come again, pages that may be in it) for each; the second time nothing is new."""
    crawl = await Crawl.create(world)
    await crawl.add("http://a.example/")
    shard = shard_prefix(world.prefix, shard_of("a.example", world.shards))
    outbox, clock = f"{shard}job:news:outbox", f"{shard}clock"

    async def said(position: str) -> tuple[list[int], list[int]]:
        call = ("reconcile", outbox, f"{shard}job:news:", crawl.job.epoch, position, position)
        return await world.server.run(*call), await world.server.run(*call)

    async def generation() -> int:
        return int(await world.server.at("").hget(clock, "generation"))

    nothing = [0, 0], [0, 0]
    assert await said("1795900000000-3") == nothing, "no generation has begun"
    await world.answer()
    assert await said("1795900000000-3") == nothing, "of an older version: nobody can count"
    first = await generation()
    await crawl.add(*pages(3))
    await read_pages(crawl, (await crawl.claim(4)).leases)
    await world.answer()
    second = await generation()
    assert await said(f"{first}-1") == await said(f"{first}-2") == nothing
    assert await said(f"{first}-7") == ([3, 0], [0, 0])
    assert await said(f"{first}-7") == await said(f"{first}-6") == nothing
    assert await said(f"{second}-0") == nothing
    waiting = await world.server.at("").xrange(outbox)

    between = (first + second) // 2
    assert (await said(f"{between}-4"))[0] == [4, 2]
    moved = await world.server.at("").xrange(outbox)
    assert [fields for _, fields in moved] == [fields for _, fields in waiting]
    assert all(position.startswith(b"%d-" % second) for position, _ in moved)
    assert await generation() == second

    beyond = second + 10**10
    assert (await said(f"{beyond}-7"))[0] == [7, 2]
    assert await generation() == beyond + 1
    assert (await world.server.at("").hget(clock, "before")).split()[-2:] == [b"%d" % first, b"%d" % second]
    assert len(await world.server.at("").xrange(outbox)) == 2
    assert await crawl.counter("twice/pages") == 3 + 4 + 7


async def test_an_outbox_with_ids_of_the_clock_goes_on(world: Servers) -> None:
    """Of an older version: its positions lie before those of any generation, and its workers count on in them."""
    crawl = await Crawl.create(world)
    await crawl.add(*pages(6))
    leases = (await crawl.claim()).leases
    positions: dict[int, str] = {}
    old = await read_pages(crawl, leases[:2])
    assert await exported(crawl, positions) == old
    waiting = await read_pages(crawl, leases[2:3])
    await world.answer()
    new = await read_pages(crawl, leases[3:5])
    entries = [f"{shard_prefix(world.prefix, number)}job:news:outbox" for number in range(world.shards)]
    (outbox,) = [key for key in entries if await world.server.at("").exists(key)]
    await world.server.at("").xadd(outbox, {"i": b"{}", "u": "old-worker"})
    new += await read_pages(crawl, leases[5:])
    assert await exported(crawl, positions) == sorted([*waiting, *new, "old-worker"])
    assert await crawl.counter("twice/pages") == 0


async def test_listeners_hear_what_a_promoted_server_is_told(world: Servers, crawl: Crawl) -> None:
    """Also that they must read the rules again, because it may lack some."""
    replica = world.copied()
    heard = await crawl.frontier.control.ask("stack")
    await world.answer(replica, shift=-3600.0)
    asked = await crawl.frontier.control.ask("jobs")
    rules, jobs = await crawl.frontier.broadcasts.hear(heard)
    assert (rules.word, jobs) == ("rule", Broadcast(asked, "jobs"))
