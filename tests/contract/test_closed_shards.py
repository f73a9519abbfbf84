"""The word of a closing goes from shard to shard: a late one closes no job that was opened since, and heals one that
was opened in some shards only."""

from __future__ import annotations

from typing import Any

import pytest

from crawler.frontier.redis.keys import job_prefix
from crawler.model import Lease, Limits
from crawler.testing.contract.closing import state
from crawler.testing.contract.world import AT_ONCE, Crawl, hosts
from tests.contract.world import RedisWorld


@pytest.fixture
async def crawl(redis_world: RedisWorld) -> Crawl:
    """A job with many hosts, in each shard."""
    made = await Crawl.create(redis_world)
    await made.add(*hosts(40))
    return made


async def say(crawl: Crawl, shard: int, reason: str = "", word: str = "") -> tuple[str, int]:
    """Run the script in one shard; return its `closed`, and how often it was opened."""
    world: Any = crawl.world
    stats = f"{job_prefix(world.prefixes()[shard], crawl.job.name)}stats"
    server: Any = crawl.frontier.closing._server  # type: ignore[attr-defined]
    closed, opened = await server.run("close", stats, crawl.job.epoch, reason, word)
    return (closed or b"").decode(), int(opened or 0)


async def test_a_shard_repeats_the_words_of_another(crawl: Crawl) -> None:
    word, opened = await say(crawl, 0, reason="enough")
    assert (word.split()[0], word.split()[2:], opened) == ("0", ["enough"], 0)
    assert await say(crawl, 0, word=word) == (word, 0)
    assert await say(crawl, 0, reason="another") == (word, 0)
    last = crawl.world.shards - 1
    assert await say(crawl, last, word=word) == (word, 0)


async def test_a_word_from_before_it_was_opened_closes_nothing(crawl: Crawl) -> None:
    old, _ = await say(crawl, 0, reason="enough")
    assert await say(crawl, 0, word="1") == ("", 1)
    assert await say(crawl, 0, word=old) == ("", 1)
    assert await say(crawl, 0, word="1") == ("", 1)
    new, opened = await say(crawl, 0, reason="again")
    assert (new.split()[0], opened) == ("1", 1)
    assert await say(crawl, 0, word=old) == (new, 1)


async def test_opening_it_late_does_not_undo_a_later_closing(crawl: Crawl) -> None:
    await say(crawl, 0, word="1")
    word, _ = await say(crawl, 0, reason="enough")
    assert await say(crawl, 0, word="1") == (word, 1)
    assert await say(crawl, 0, word="0") == (word, 1)
    assert await say(crawl, 0, word="2") == ("", 2)


async def test_a_closing_that_reached_one_shard_reaches_all(crawl: Crawl) -> None:
    await say(crawl, crawl.world.shards - 1, reason="enough")
    assert (await state(crawl))[0] == "enough"
    for _ in range(2):
        await crawl.finish((await crawl.claim()).leases)
    assert await state(crawl) == ("enough", True)
    for shard in range(crawl.world.shards):
        assert (await say(crawl, shard, word="0"))[0].endswith(" enough")


async def test_who_has_spread_a_closing_does_not_hear_of_it_again(
    crawl: Crawl, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each claim would close all shards once more."""
    await say(crawl, crawl.world.shards - 1, reason="enough")
    await crawl.finish((await crawl.claim()).leases)
    server: Any = crawl.frontier.closing._server  # type: ignore[attr-defined]
    run, scripts = server.run, []

    async def noted(script: str, *arguments: Any, **options: Any) -> Any:
        scripts.append(script)
        return await run(script, *arguments, **options)

    monkeypatch.setattr(server, "run", noted)
    assert (await crawl.claim()).idle == "closed"
    assert set(scripts) == {"claim"}


async def test_the_budget_s_shard_tells_all_that_the_job_is_closed(crawl: Crawl) -> None:
    """Of a limited job, whoever is about to claim asks there first."""
    await crawl.frontier.closing.limit(crawl.job, Limits(pages=1000))
    await crawl.finish((await crawl.claim(1)).leases)
    word, _ = await say(crawl, 0, reason="enough")
    for _ in range(crawl.world.shards):
        assert (await crawl.claim()).leases == ()
    assert [(await say(crawl, shard, word="0"))[0] for shard in range(crawl.world.shards)] == [
        word
    ] * crawl.world.shards


async def test_an_opening_that_reached_some_shards_reaches_all(crawl: Crawl) -> None:
    """Whoever claims where it is still closed compares with the others."""
    await crawl.frontier.closing.close(crawl.job, "enough")
    for shard in range(crawl.world.shards - 1):
        await say(crawl, shard, word="1")
    other = await crawl.world.client()
    leases: list[Lease] = []
    for _ in range(4):
        leases += (await other.queue.claim("w2", 100, [crawl.job], AT_ONCE)).leases
    if crawl.world.shards > 1:
        assert len(leases) == 40
        assert await state(crawl) == ("", False)
    else:
        assert leases == []
