"""Small values that the fleet shares, such as robots.txt verdicts: one process stores them, all read them."""

from __future__ import annotations

import asyncio

from crawler.testing.contract.world import Crawl, World


async def test_a_value_that_nobody_has_put(crawl: Crawl) -> None:
    assert await crawl.frontier.asking.get_shared("robots:a.example") is None


async def test_what_one_puts_all_can_get(world: World, crawl: Crawl) -> None:
    value = bytes(range(256))
    await crawl.frontier.asking.put_shared("robots:http://a.example:80", value, 60.0)
    assert await (await world.client()).asking.get_shared("robots:http://a.example:80") == value
    assert await crawl.frontier.asking.get_shared("robots:other") is None


async def test_an_empty_value_is_a_value(crawl: Crawl) -> None:
    await crawl.frontier.asking.put_shared("k", b"", 60.0)
    assert await crawl.frontier.asking.get_shared("k") == b""


async def test_many_are_read_together_each_by_whom_asked_for_it(crawl: Crawl) -> None:
    asking = crawl.frontier.asking
    for number in range(0, 20, 2):
        await asking.put_shared(f"k{number}", b"%d" % number, 60.0)
    reading = [asyncio.create_task(asking.get_shared(f"k{number}")) for number in range(20)]
    await asyncio.sleep(0)
    reading[4].cancel()  # the others get theirs all the same
    values = await asyncio.gather(*reading, return_exceptions=True)
    assert isinstance(values.pop(4), asyncio.CancelledError)
    assert values == [None if n % 2 else b"%d" % n for n in range(20) if n != 4]


async def test_the_last_value_counts(crawl: Crawl) -> None:
    await crawl.frontier.asking.put_shared("k", b"old", 0.05)
    await crawl.frontier.asking.put_shared("k", b"new", 60.0)
    assert await crawl.frontier.asking.get_shared("k") == b"new"


async def test_values_expire(world: World, crawl: Crawl) -> None:
    await crawl.frontier.asking.put_shared("k", b"v", 0.05)
    await world.pass_time(0.05)
    assert await crawl.frontier.asking.get_shared("k") is None
