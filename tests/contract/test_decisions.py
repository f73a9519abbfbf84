"""The decisions of the frontier, row by row: see `decisions.toml`."""

from __future__ import annotations

import itertools
import time
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from structlog.testing import capture_logs

from crawler.frontier.message import decode
from crawler.frontier.redis.keys import job_prefix, shard_of, shard_prefix
from crawler.interfaces import Pace
from crawler.model import Dead, Done, Failure, Filled, Lease, Outcome, Release, Request, Retry, Skip, Step
from crawler.status import clock
from crawler.testing.contract.world import AT_ONCE, Crawl, hosts, pages
from tests.contract.world import MemoryWorld, ServerWorld

TABLES = tomllib.loads((Path(__file__).parent / "decisions.toml").read_text())
HOST = "a.example"
HOUR = 3_600_000  # ms
PACE = Pace(delay=0.0, concurrency=1, **TABLES["settings"])
WHY = Failure("connect", "nobody there")
OUTCOMES: dict[str, Outcome] = {
    "done": Done(),
    "skip": Skip("robots"),
    "step": Step(),
    "release": Release("shutdown"),
    "early": Release("address", turn=20.0),
    "retry": Retry(WHY, 0.0),
    "spent": Dead(WHY, spent=True),
    "dead": Dead(WHY),
}
STATUSES = {"callback": 200, "http_401": 401, "http_403": 403, "http_407": 407, "http_404": 404, "http_503": 503}


def rows(table: str, *, exact: bool | None = None) -> pytest.MarkDecorator:
    """Parametrize a test by the rows of a table: all, or those that are exact, or those that are not."""
    chosen = [row for row in TABLES[table] if exact is None or row.get("exact", False) == exact]
    return pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in chosen])


class Ledger:
    """What the server holds of `HOST`, in seconds of its own clock."""

    def __init__(self, world: ServerWorld, client: Any) -> None:
        self._client = client
        self._key = f"{shard_prefix(world.prefix, shard_of(HOST, world.shards))}host:{HOST}"

    async def now(self) -> int:
        """The server's time in ms."""
        seconds, micros = await self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def set(
        self, *, busy: int = 0, failures: int = 0, since: float = 0, rest: float = 0, cause: str = ""
    ) -> None:
        """Write the ledger with the values of a row."""
        now = await self.now()
        first, end = now - since * 1000 if since else 0, now + rest * 1000 if rest else 0
        fields: dict[Any, Any] = {"busy": busy, "failures": failures, "since": int(first), "rest": int(end)}
        fields["cause"] = cause
        await self._client.hset(self._key, mapping=fields)

    async def ttl(self) -> int:
        """The time until the ledger expires, in ms."""
        return int(await self._client.pttl(self._key))

    async def read(self) -> dict[str, int]:
        """All fields of interest, times in ms."""
        names = ("busy", "failures", "since", "rest", "next")
        values: Any = await self._client.hmget(self._key, names)
        return {name: int(float(value or 0)) for name, value in zip(names, values, strict=True)}


@pytest.fixture
async def ledger(world: ServerWorld) -> AsyncIterator[Ledger]:
    """That of the row's host."""
    async with world.raw() as client:
        yield Ledger(world, client)


async def _on_its_last_try(crawl: Crawl) -> Lease:
    for _ in range(2):
        await crawl.end(await crawl.lease(pace=PACE), Retry(WHY, 0.0), pace=PACE)
    return await crawl.lease(pace=PACE)


@rows("health", exact=False)
async def test_how_a_host_is_after_an_answer(world: ServerWorld, ledger: Ledger, row: dict[str, Any]) -> None:
    await _check_health(world, ledger, row)


@pytest.mark.parametrize("new_world", ["memory", "memory-4-shards"], indirect=True)
@rows("health", exact=True)
async def test_how_a_host_is_at_a_limit(world: ServerWorld, ledger: Ledger, row: dict[str, Any]) -> None:
    """Only where time stands still between two steps; the rows beside these are seconds away from the limit."""
    await _check_health(world, ledger, row)


async def _check_health(world: ServerWorld, ledger: Ledger, row: dict[str, Any]) -> None:
    crawl = await Crawl.create(world)
    await crawl.add(f"http://{HOST}/")
    lease = await (_on_its_last_try(crawl) if row["page"] == "spent" else crawl.lease(pace=PACE))
    retried = await crawl.counter("retried")
    await ledger.set(**row.get("before", {}))
    before, began = await ledger.read(), await ledger.now()
    health, *pause = row["says"]
    await crawl.end(lease, OUTCOMES[row["page"]], pace=PACE, health=health, pause=float(sum(pause)))
    after, ended = await ledger.read(), await ledger.now()

    expected = {name: before[name] for name in ("busy", "failures")} | row.get("after", {})
    assert {name: after[name] for name in expected} == expected
    assert (after["since"] == 0) == row.get("is_well", False)
    if before["since"] and after["since"]:
        assert after["since"] == before["since"]
    if "rest" in row:
        least, most = row["rest"] if isinstance(row["rest"], list) else (row["rest"], row["rest"])
        assert began + least * 1000 <= after["rest"] <= ended + most * 1000 + 1
        assert after["next"] == after["rest"]
        assert HOUR < await ledger.ttl() - (after["rest"] - ended) <= 24 * HOUR + ended - began, "it outlives the rest"
    else:
        assert after["rest"] == before["rest"]
    stats = await crawl.frontier.reading.stats(crawl.job)
    state = {"done": stats.done, "dead": stats.dead, "spared": stats.counters.get("spared", 0)}
    state["retried"] = stats.counters.get("retried", 0) - retried
    assert {name: count for name, count in state.items() if count} == {row["becomes"]: 1}
    named = {name: stats.counters.get(name, 0) for name in ("backoff", "breaker_opened")}
    assert {name for name, count in named.items() if count} == set(row.get("counts", ()))
    assert [pause.why for pause in stats.paused] == ([row["paused"]] if "paused" in row else [])


async def test_rests_are_spread(world: ServerWorld, crawl: Crawl) -> None:
    """Of many hosts that refuse at one moment, not all come back at once."""
    await crawl.add(*hosts(8))
    leases = (await crawl.claim(pace=PACE)).leases
    for lease in leases:
        await crawl.end(lease, OUTCOMES["retry"], pace=PACE, health="busy")
        await world.pass_time(0.0007)
    rests = [view.turn.rest for view in await crawl.frontier.hosts.hosts(crawl.job)]
    assert len(rests) == 8
    least = 7.6 if isinstance(world, MemoryWorld) else 1.0  # elsewhere the times are random
    assert least < max(rests) - min(rests) < 15.0, "a quarter of the rest at most"


@rows("ending")
async def test_what_a_visit_does_to_the_counters(world: ServerWorld, ledger: Ledger, row: dict[str, Any]) -> None:
    crawl = await Crawl.create(world)
    await crawl.add(f"http://{HOST}/")
    lease = await (_on_its_last_try(crawl) if row["page"] == "spent" else crawl.lease(pace=PACE))
    before = (await crawl.frontier.reading.stats(crawl.job)).counters
    if "late" in row:
        await crawl.end(lease, Dead(WHY), pace=PACE)
    await ledger.set(**row.get("host", {}))
    visit = dict(row.get("visit", {}))
    visit["items"] = (b"{}",) * visit.get("items", 0)
    visit["asked_at"] = world.now() if visit.pop("asked", False) else None
    assert await crawl.end(lease, OUTCOMES[row["page"]], pace=PACE, **visit) == ("late" not in row)
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.pending, stats.processing) == (int(row["becomes"] == "pending"), 0)
    assert stats.delayed == 0, "none of these asks for a delay"
    assert (stats.done, stats.dead) == (int(row["becomes"] == "done"), int(row["becomes"] == "dead"))
    raised = {name: count - before.get(name, 0) for name, count in stats.counters.items()}
    assert {name: count for name, count in raised.items() if count} == row["counts"]
    entries = await crawl.outbox.read(crawl.job, {}, 10)
    assert sum(len(entry.items) for entry in entries) == row["counts"].get("items", 0)


@rows("unread")
async def test_what_becomes_of_bytes_that_a_worker_cannot_read(world: ServerWorld, row: dict[str, Any]) -> None:
    crawl = await Crawl.create(world)
    prefix = job_prefix(shard_prefix(world.prefix, shard_of(HOST, world.shards)), crawl.job.name)
    async with world.raw() as client:
        await client.rpush(f"{prefix}pending:0:{HOST}", row["bytes"].encode())
        await client.zadd(f"{prefix}hosts", {HOST: 0})
        for counter in ("known", "admitted", "pending") if row["counted"] else ():
            await client.hincrby(f"{prefix}stats", counter, 1)
    (junk,) = (await crawl.claim()).junk
    if row["becomes"] == "dead":
        assert await crawl.frontier.queue.bury("w1", crawl.job, junk.message, Failure("junk", junk.why))
    else:
        assert await crawl.frontier.queue.set_aside("w1", crawl.job, junk.message, 600.0)
    assert await crawl.counts() == (int(row["becomes"] == "pending"), 0, 0, int(row["becomes"] == "dead"))
    stats = await crawl.frontier.reading.stats(crawl.job)
    assert (stats.counters, sum(stats.later.values())) == (row["counts"], row.get("later", 0))


@rows("reaped")
async def test_what_a_reaper_does_to_a_request(world: ServerWorld, row: dict[str, Any]) -> None:
    crawl = await Crawl.create(world, max_crashes=3)
    await crawl.add(f"http://{HOST}/")
    for _ in range(row.get("crashes", 0)):
        await crawl.lease()
        await world.expire("w1")
        await crawl.frontier.leases.reap()
    lease = await crawl.lease()
    before = (await crawl.frontier.reading.stats(crawl.job)).counters
    if row["seen"]:
        blame = (lease, OUTCOMES[row["blame"]]) if "blame" in row else None
        await crawl.frontier.leases.reap("w1", blame=blame)  # type: ignore[arg-type]
    else:
        await world.expire("w1")
        await crawl.frontier.leases.reap()
    assert await crawl.counts() == (int(row["becomes"] == "pending"), 0, 0, int(row["becomes"] == "dead"))
    counters = (await crawl.frontier.reading.stats(crawl.job)).counters
    raised = {name: count - before.get(name, 0) for name, count in counters.items()}
    assert {name: count for name, count in raised.items() if count} == row["counts"]
    if row["becomes"] == "pending":
        again = decode((await crawl.lease(worker="w2")).message)
        assert {"attempt": again.attempt, "crashes": again.crashes} == row["after"]
        assert again.delivery == lease.delivery + 1


def _hosts(world: ServerWorld) -> dict[str, str]:
    """Letter → host; all in one shard, which counts the pages of a spider by itself."""
    names = (f"h{number}.example" for number in itertools.count())
    return dict(zip("abc", (name for name in names if shard_of(name, world.shards) == 0), strict=False))


@rows("alike")
async def test_when_pages_that_fail_alike_pause_their_host_or_spider(world: ServerWorld, row: dict[str, Any]) -> None:
    crawl = await Crawl.create(world, exploding_share=row.get("share", 0.5), exploding_min=row.get("least", 3))
    letters = _hosts(world)
    leases = []
    for number, page in enumerate(row["pages"].split()):  # all handed out before the first pause
        host, _, route = page.partition(":")[0].partition("/")
        await crawl.add(Request(f"http://{letters[host]}/{route and f'{route}/'}{number}", spider="shop"))
        leases.append(await crawl.lease())
        if page.endswith("+"):
            await crawl.end(leases.pop(), Retry(WHY, 0.0))
            leases.append(await crawl.lease())
    for page, lease in zip(row["pages"].split(), leases, strict=True):
        kind = page.partition(":")[2].rstrip("+")
        outcome = Done() if kind == "done" else Dead(Failure(kind, "it fails", STATUSES.get(kind)))
        assert await crawl.end(lease, outcome, pace=AT_ONCE, status=STATUSES.get(kind, 200))
    stats = await crawl.frontier.reading.stats(crawl.job)
    names = {host: letter for letter, host in letters.items()}
    shown = [f"{pause.what} {names.get(pause.name, pause.name)}: {pause.why}" for pause in stats.paused]
    assert shown == ([f"{row['paused']}, the last one: it fails"] if "paused" in row else [])


async def test_without_a_share_nothing_is_counted(world: ServerWorld) -> None:
    crawl = await Crawl.create(world, exploding_share=1.0, exploding_min=3)
    await crawl.add(*pages(2, HOST))
    await crawl.end(await crawl.lease(), Dead(Failure("http_403", "no", 403)), status=403)
    await crawl.end(await crawl.lease(), status=200)
    prefix = job_prefix(shard_prefix(world.prefix, shard_of(HOST, world.shards)), crawl.job.name)
    async with world.raw() as client:
        assert [await client.exists(f"{prefix}{name}") for name in ("recent", "served")] == [0, 0]


async def test_how_many_that_fail_are_remembered(world: ServerWorld) -> None:
    """With one more than ten thousand, the script forgets all; the key expires."""
    crawl = await Crawl.create(world, exploding_share=0.5, exploding_min=3)
    await crawl.add(*pages(2, HOST))
    prefix = job_prefix(shard_prefix(world.prefix, shard_of(HOST, world.shards)), crawl.job.name)
    async with world.raw() as client:
        await client.hset(f"{prefix}recent", mapping={f"host {number}": "1 1 callback" for number in range(9_998)})
        for remembered in (10_000, 10_000):  # the host and its spider, which are then known
            await crawl.end(await crawl.lease(), Dead(Failure("crash", "it fails")), status=200)
            assert await client.hlen(f"{prefix}recent") == remembered
            assert 0 < await client.pttl(f"{prefix}recent") <= 24 * HOUR
        await crawl.add(*pages(3, HOST))
        await client.hdel(f"{prefix}recent", f"host {HOST}")
        await client.hset(f"{prefix}recent", "host another", "1 1 callback")
        await crawl.end(await crawl.lease(), Dead(Failure("crash", "it fails")), status=200)
        assert await client.hlen(f"{prefix}recent") == 2


async def test_how_many_routes_and_hosts_that_are_served_are_remembered(world: ServerWorld) -> None:
    """Of a host whose list is full, any route may have been served; with more than ten thousand hosts, the script
    forgets all; the key expires."""
    crawl = await Crawl.create(world, exploding_share=0.5, exploding_min=3)
    prefix = job_prefix(shard_prefix(world.prefix, shard_of(HOST, world.shards)), crawl.job.name)

    async def visit(*paths: str, outcome: Outcome) -> None:
        await crawl.add(*(f"http://{HOST}{path}" for path in paths))
        for _ in paths:
            await crawl.end(await crawl.lease(), outcome, pace=AT_ONCE, status=403 if outcome != Done() else 200)

    async with world.raw() as client:
        await client.hset(f"{prefix}served", mapping={f"host{number}": " / " for number in range(9_999)})
        await visit("/", outcome=Done())
        assert await client.hlen(f"{prefix}served") == 10_000
        await client.hdel(f"{prefix}served", HOST)
        await client.hset(f"{prefix}served", "another", " / ")
        await visit("/again", "/and-again", outcome=Done())
        assert await client.hgetall(f"{prefix}served") == {HOST.encode(): b" / "}
        assert 0 < await client.pttl(f"{prefix}served") <= 24 * HOUR
        await visit("/so-on/1", "/so-on/2", outcome=Done())
        assert await client.hget(f"{prefix}served", HOST) == b" / /so-on "
        await visit(*(f"/{number:02}{'x' * 40}/x" for number in range(20)), outcome=Done())
        full = await client.hget(f"{prefix}served", HOST)
        assert 256 < len(full) < 256 + 40
        assert {len(route) for route in full.split()[2:]} == {1 + 32}
        almost_full = f" /{'x' * 253} "
        await client.hset(f"{prefix}served", HOST, almost_full)
        await visit("/last/x", "/late/x", outcome=Done())
        assert (await client.hget(f"{prefix}served", HOST)).split()[1:] == [b"/last"], "256 bytes are not full yet"
        refused = Dead(Failure("http_403", "no", 403))
        await client.hset(f"{prefix}served", HOST, almost_full)
        await visit(*(f"/user/{number}" for number in range(3)), outcome=refused)
        assert (await crawl.frontier.reading.stats(crawl.job)).paused == ()
        await client.hset(f"{prefix}served", HOST, full)
        await visit("/user/3", outcome=refused)
    assert [pause.name for pause in (await crawl.frontier.reading.stats(crawl.job)).paused] == [HOST]


async def test_a_failure_that_puts_no_host_to_rest_is_no_news(crawl: Crawl) -> None:
    await crawl.add(*pages(2, HOST))
    with capture_logs() as logs:
        await crawl.end(await crawl.lease(), OUTCOMES["retry"], health="down")
        await crawl.end(await crawl.lease(), health="ok")
    assert logs == []


async def test_a_rest_and_its_end_are_one_log_line_each(world: ServerWorld) -> None:
    crawl = await Crawl.create(world)
    await crawl.add(*pages(4, HOST))
    leases = (await crawl.claim(3)).leases
    busy = Retry(Failure("http_503", "busy", 503), 0.0)
    began = time.time()
    with capture_logs() as logs:
        for lease in leases[:2]:
            await crawl.end(lease, busy, status=503, health="busy")
        await crawl.end(leases[2], health="ok")  # asked before the rest began
        await world.end_rest(crawl.job.name, HOST, 75.0)
        for _ in range(2):
            await crawl.end(await crawl.lease(), health="ok")
    told = [(one["event"], one["host"], one.get("why")) for one in logs]
    assert told == [("host_rests", HOST, "answered 503 (1st time)"), ("host_is_back", HOST, None)]
    assert logs[0]["next_try"] in {clock(began, seconds) for seconds in range(60, 90)}


@rows("drift")
async def test_drift(world: ServerWorld, row: dict[str, Any]) -> None:
    """The last page of a window is committed; the past and the other pages are written into the server."""
    crawl = await Crawl.create(world, drift_share=row.get("share", 0.5), drift_min=50)
    prefix = job_prefix(shard_prefix(world.prefix, shard_of(HOST, world.shards)), crawl.job.name)
    (before, items), (now, window) = row["before"], row["now"]
    record = {"items": items, "pages": items, "others": 0, "fields": {"price": f"{before} 3 0"}}
    filled = [int(number < now) for number in range(window)]
    others = [b'{"items":1,"fields":{"price":%d}}\n\n[1,0,0,0,0,"http://a.example/"' % one for one in filled[:-1]]
    async with world.raw() as client:
        await client.hset(f"{prefix}coverage", "shop.parse\tdict", msgspec.json.encode(record))
        await client.rpush(f"{prefix}window:shop.parse\tdict", *others)
    await crawl.add(Request(f"http://{HOST}/", spider="shop"))
    last = (Filled("shop.parse", "dict", 1, {"price": filled[-1]}),)
    await crawl.end(await crawl.lease(), items=(b"{}",), filled=last)
    assert bool((await crawl.frontier.reading.stats(crawl.job)).paused) == row["drifts"]
    (one,) = await crawl.frontier.reading.coverage(crawl.job)
    assert (one.items, one.fields["price"].filled) == (items + window, before + now)
