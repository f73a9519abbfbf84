"""The decisions of the frontier, row by row: see `decisions.toml`."""

from __future__ import annotations

import itertools
import tomllib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import redis.asyncio

from crawler.frontier.redis.keys import shard_of, shard_prefix
from crawler.interfaces import Pace
from crawler.model import Dead, Done, Failure, Lease, Outcome, Request, Retry
from tests.contract.world import AT_ONCE, Crawl, World
from tests.valkey import Valkey

TABLES = tomllib.loads((Path(__file__).parent / "decisions.toml").read_text())
HOST = "a.example"
PACE = Pace(delay=0.0, concurrency=1, **TABLES["settings"])
WHY = Failure("connect", "nobody there")
OUTCOMES: dict[str, Outcome] = {
    "done": Done(),
    "retry": Retry(WHY, 0.0),
    "spent": Dead(WHY, spent=True),
    "dead": Dead(WHY),
}
LEAST = 3
STATUSES = {"callback": 200, "http_403": 403, "http_404": 404, "http_503": 503}


def rows(table: str) -> pytest.MarkDecorator:
    """One test for each."""
    return pytest.mark.parametrize("row", [pytest.param(row, id=row["name"]) for row in TABLES[table]])


@pytest.fixture(params=["redis", "redis-4-shards"])
async def world(request: pytest.FixtureRequest, valkey_server: Valkey) -> AsyncIterator[World]:
    """Only the kinds with a server: a row begins with a ledger that somebody else has written."""
    made = World(request.param, valkey_server)
    yield made
    await made.close()


class Ledger:
    """What the server holds of `HOST`, in seconds of its own clock."""

    def __init__(self, world: World, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._key = f"{shard_prefix(world.prefix, shard_of(HOST, world.shards))}host:{HOST}"

    async def now(self) -> int:
        """In ms."""
        seconds, micros = await self._client.time()
        return int(seconds) * 1000 + int(micros) // 1000

    async def set(self, *, busy: int = 0, failures: int = 0, since: float = 0, rest: float = 0) -> None:
        """As the rows say it."""
        now = await self.now()
        first, end = now - since * 1000 if since else 0, now + rest * 1000 if rest else 0
        fields: dict[Any, Any] = {"busy": busy, "failures": failures, "since": int(first), "rest": int(end)}
        await self._client.hset(self._key, mapping=fields)

    async def read(self) -> dict[str, int]:
        """All fields of interest, times in ms."""
        names = ("busy", "failures", "since", "rest", "next")
        values: Any = await self._client.hmget(self._key, names)
        return {name: int(float(value or 0)) for name, value in zip(names, values, strict=True)}


@pytest.fixture
async def ledger(world: World) -> AsyncIterator[Ledger]:
    """That of the row's host."""
    client = redis.asyncio.Redis.from_url(world.server.url)
    yield Ledger(world, client)
    await client.aclose()


async def _on_its_last_try(crawl: Crawl) -> Lease:
    for _ in range(2):
        await crawl.end(await crawl.lease(pace=PACE), Retry(WHY, 0.0), pace=PACE)
    return await crawl.lease(pace=PACE)


@rows("health")
async def test_how_a_host_is_after_an_answer(world: World, ledger: Ledger, row: dict[str, Any]) -> None:
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
    else:
        assert after["rest"] == before["rest"]
    stats = await crawl.frontier.stats(crawl.job)
    state = {"done": stats.done, "dead": stats.dead, "spared": stats.counters.get("spared", 0)}
    state["retried"] = stats.counters.get("retried", 0) - retried
    assert {name: count for name, count in state.items() if count} == {row["becomes"]: 1}
    named = {name: stats.counters.get(name, 0) for name in ("backoff", "breaker_opened")}
    assert {name for name, count in named.items() if count} == set(row.get("counts", ()))
    assert [pause.why for pause in stats.paused] == ([row["paused"]] if "paused" in row else [])


def _hosts(world: World) -> dict[str, str]:
    """Letter → host; all in one shard, which counts the pages of a spider by itself."""
    names = (f"h{number}.example" for number in itertools.count())
    return dict(zip("abc", (name for name in names if shard_of(name, world.shards) == 0), strict=False))


@rows("alike")
async def test_when_pages_that_fail_alike_pause_their_host_or_spider(world: World, row: dict[str, Any]) -> None:
    crawl = await Crawl.create(world, exploding_share=row.get("share", 0.5), exploding_min=LEAST)
    hosts = _hosts(world)
    leases = []
    for number, page in enumerate(row["pages"].split()):  # all handed out before the first pause
        await crawl.add(Request(f"http://{hosts[page[0]]}/{number}", spider="shop"))
        leases.append(await crawl.lease())
        if page.endswith("+"):
            await crawl.end(leases.pop(), Retry(WHY, 0.0))
            leases.append(await crawl.lease())
    for page, lease in zip(row["pages"].split(), leases, strict=True):
        kind = page[2:].rstrip("+")
        outcome = Done() if kind == "done" else Dead(Failure(kind, "it fails", STATUSES[kind]))
        assert await crawl.end(lease, outcome, pace=AT_ONCE, status=STATUSES.get(kind, 200))
    stats = await crawl.frontier.stats(crawl.job)
    names = {host: letter for letter, host in hosts.items()}
    shown = [f"{pause.what} {names.get(pause.name, pause.name)}: {pause.why}" for pause in stats.paused]
    assert shown == ([row["paused"]] if "paused" in row else [])
